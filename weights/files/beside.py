"""The names of second files, which hold the values. Compare ``weights.caffe.notes.prototxt_of``."""

from pathlib import Path


def bin_of(path: Path) -> Path:
    """Of OpenVINO IR: x.xml -> x.bin."""
    return path.with_suffix(".bin")


def data_of(path: Path) -> Path:
    """Of an ONNX file of 2 GB or more: x.onnx -> x.onnx.data."""
    return path.with_name(f"{path.name}.data")
