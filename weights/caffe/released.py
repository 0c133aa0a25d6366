"""What the released Caffe networks expect of their input and answer: a .caffemodel itself states neither.

Known by its sha256, a file is a released one: its preprocessing and label order are facts. A file of the same network
with other bytes may have been trained anew, with anything: the release's conventions are only assumed of it. Of every
other network nothing is known. The original ResNet-50/101/152, for one, have other means and the sorted order.
"""

from dataclasses import replace

from weights.networks.models import MODELS
from weights.networks.spec import Spec
from weights.params import CAFFE, Info, Labels, Preprocessing

CHECKSUMS = {
    "72880fde3bd29b324bb302c80f49a098b8970597494c56525fd410a8d2ed5993": "se-resnet-50",
    "09777ce1202087954ee34ae2566cf611d03d2d8195ced0fe51b612ebf951d729": "se-resnet-101",
    "bbe7fc5b5068b7cd4b12ce1bb78f61bd3f48238a372e70ab9c0724afa778e5d1": "se-resnet-152",
    "f12c6b53c2dcd0f38f388d3d5f98cbfc039357e84842e661f28a49719dd52219": "se-resnext-50",
    "78dc95c9b768fdb32a0a3981a686edaf655df82973b051d818bae523c9a93c90": "se-resnext-101",
    "0660aa2b867f7353794d3ac02081d9178ac0709e8d8d75c29290dba4bc10ce03": "se-bn-inception",
}
"""sha256 of the released files. None of SENet-154's was published anywhere that we found."""

RELEASED = tuple(MODELS[name] for name in (*CHECKSUMS.values(), "senet-154"))
"""The seven released networks."""


def expectations(spec: Spec, sha256: str, size: tuple[int, int] | None = None) -> Info:
    """The preprocessing and label order of a Caffe file, as far as they are known of it.

    Args:
        spec: what the file was recognised as.
        sha256: of the file.
        size: height and width of the input, where the definition states them.

    Returns:
        Both stated for a released file, both assumed for another file of exactly a released network, and neither for
        anything else. What is assumed has the crop and the margin scaled to the size.
    """
    labels: Labels | None = "devkit" if spec.classes == 1000 else None  # a definition may leave out the classifier
    if sha256 in CHECKSUMS:
        return Info(preprocessing=CAFFE, labels=labels)
    if any(spec == replace(known, name=spec.name) for known in RELEASED):
        return Info(preprocessing=_scaled(size), labels=labels, assumed=("preprocessing", "labels"))
    return Info()


def _scaled(size: tuple[int, int] | None) -> Preprocessing:
    """The release's preprocessing for images of another size."""
    if size is None or size[0] != size[1] or size[0] < 32:  # a placeholder, or no square
        return CAFFE
    return replace(CAFFE, crop=size[0], resize=round(size[0] * CAFFE.resize / CAFFE.crop))
