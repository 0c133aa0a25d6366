"""What a file does not state, given by who knows it: preprocessing and class names. What it states is not overruled."""

from collections.abc import Sequence
from dataclasses import replace

from weights.errors import InputError
from weights.params import Checkpoint, Params, Preprocessing, check_class_names


def with_preprocessing(checkpoint: Checkpoint, preprocessing: Preprocessing) -> Checkpoint:
    """The same checkpoint with a preprocessing that was not known, or only assumed; it is then no longer assumed.

    Raises:
        InputError: the checkpoint states another one.
    """
    spec, params = checkpoint
    info = params.info
    if not isinstance(preprocessing, Preprocessing):
        raise InputError(f"preprocessing: expected a weights.Preprocessing, found {preprocessing!r:.100}")
    if info.preprocessing not in (None, preprocessing) and "preprocessing" not in info.assumed:
        raise InputError(f"states its preprocessing itself ({info.preprocessing}); leave out preprocessing")
    assumed = tuple(name for name in info.assumed if name != "preprocessing")
    return Checkpoint(spec, Params(params, replace(info, preprocessing=preprocessing, assumed=assumed)))


def with_class_names(checkpoint: Checkpoint, names: Sequence[str]) -> Checkpoint:
    """The same checkpoint with names for its classes; an order of ImageNet's classes that was only assumed is gone.

    Args:
        checkpoint: of a network with a classifier.
        names: one for each output, in their order.

    Raises:
        InputError: names that are no texts, empty, the same or not as many as classes; or the checkpoint states other
            ones, or that its classes are ImageNet's.
    """
    spec, params = checkpoint
    info = params.info
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InputError(f"class names: expected a list of texts, found {names!r:.100}")
    if info.class_names not in ((), tuple(names)):
        raise InputError(f"states its class names itself ({', '.join(info.class_names)[:100]}); leave out class_names")
    if info.labels and "labels" not in info.assumed:
        raise InputError(f"states that its classes are ImageNet's in {info.labels} order; leave out class_names")
    assumed = tuple(name for name in info.assumed if name != "labels")
    stated = replace(info, class_names=tuple(names), labels=None, assumed=assumed)
    check_class_names(stated, spec.classes)
    return Checkpoint(spec, Params(params, stated))
