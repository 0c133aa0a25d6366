"""Several changes of one checkpoint, each where it is wanted: what ``save`` of each framework and the commands take."""

from collections.abc import Sequence

from weights.change.first_convolution import Convention, rewrite
from weights.change.given import with_class_names, with_preprocessing
from weights.change.label_order import reorder
from weights.params import Checkpoint, Labels, Preprocessing


def with_changes(
    checkpoint: Checkpoint,
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    labels: Labels | None = None,
    convention: Convention | None = None,
) -> Checkpoint:
    """The same checkpoint with what is given; None changes nothing.

    Args:
        checkpoint: of any network.
        preprocessing: what it expects of an image, where it does not say so: ``with_preprocessing``.
        class_names: one for each output, where it has none: ``with_class_names``.
        labels: the order of ImageNet's classes that it is to have: ``reorder``.
        convention: the kind of input that it is to have: ``rewrite``.

    Raises:
        InputError: as these four.
    """
    if preprocessing is not None:
        checkpoint = with_preprocessing(checkpoint, preprocessing)
    if class_names is not None:
        checkpoint = with_class_names(checkpoint, class_names)
    spec, params = checkpoint
    if labels is not None:
        params = reorder(spec, params, labels)
    if convention is not None:
        params = rewrite(spec, params, convention)
    return Checkpoint(spec, params)
