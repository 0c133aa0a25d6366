"""Caffe's messages as classes of Google's protobuf: an independent reader to compare with."""

from functools import cache
from typing import Any

import pytest

from weights.caffe.schema import MESSAGES


@cache
def message_class(name: str) -> Any:
    """The class for a message of Caffe; names are bytes (they need not be UTF-8), legacy dimensions 64 bits wide."""
    factory = pytest.importorskip("google.protobuf.message_factory")
    return factory.GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


@cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    kinds = {"enum": "int32", "string": "bytes"}
    proto = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = proto.message_type.add(name=name)
        for known in fields.values():
            kind = "int64" if name == "BlobProto" and known.number < 5 else kinds.get(known.kind, known.kind)
            added = message.field.add(
                name=known.name,
                number=known.number,
                type=getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}"),
                type_name=f".caffe.{known.message}" if known.message else None,
                label=3 if known.repeated else 1,
            )
            if known.packed:
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return pool
