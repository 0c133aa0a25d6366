"""How much a file may ask of whoever reads it: what no honest file comes near, so that no other one costs more.

Together they keep every reader within the file's size plus 300 MB of memory, and within two seconds beyond a few times
what reading the bytes takes; ``docs/robustness.md`` has the table, ``tests/files/test_bounds.py`` the files that try.
"""

TEXT = 2**24
"""Bytes of a definition, a JSON text, a list of names. SENet-154's definition has 0.3 MB; one wide character makes a
text four times as large in memory."""

MARKS = 1_000_000
"""Brackets, commas and strings in a JSON text; two can take 200 bytes in memory. SENet-154's header has 25,000."""

DEPTH = 32
"""Lists and objects inside each other; ours have five."""

DIGITS = 64
"""Characters of a whole number; the largest that any field takes has 20."""

NUMBER = 1100
"""Characters of any other number; the exact decimals of a double are 1,075 at most."""

BLOCKS = 2_000
"""Residual units in the record of a network; the deepest that was published has 500."""

TENSORS = 10_000
"""Tensors in a file, groups and datasets in an HDF5 file. SENet-154 has 1,400, a training checkpoint of it 6,000."""

FIELDS = 60_000
"""Fields in a protobuf message and in a definition, with all that is inside; SENet-154 has 12,000."""

STEPS = 500_000
"""Instructions of a pickle; a training checkpoint of SENet-154 has 200,000. Each makes an object of up to 100 bytes."""

DIRECTORY = 2**22
"""Bytes of a zip archive's directory; an entry takes 50 and as an object 600. SENet-154's has 0.1 MB."""

CHUNKS = 100_000
"""Pieces that a dataset of HDF5 is cut into."""

JOURNAL = 2**26
"""Bytes of a journal; one of ImageNet's 50,000 photographs for validation, one at a time, has 5 million."""

BATCHES = 200_000
"""Batches in a journal: 6 million photographs, 32 at a time. Reading one takes 12 microseconds."""

COPIES = 200_000_000
"""Bytes of values that cannot be views of the file: packed, in pieces, or of types that are converted. Of a larger
file they may be twice its size, as those of bfloat16 are."""

DOWNLOAD = 2**31
"""Bytes that are fetched of a file whose size nobody has published; SENet-154 has 440 MB."""

PIXELS = 28_000_000
"""Pixels of a photograph. Decoding takes up to 10 bytes for each (progressive JPEG)."""

STREAM = 2**28
"""Bytes of a photograph that comes by standard input, which has no size before it ends."""

PIECES = 500_000
"""Reads of a photograph's parser, of a microsecond or two each; a PNG of 28 million pixels in pieces of 8 kB takes
50,000."""

PLAIN_PIXELS = 2**23
"""Bytes of a photograph that has its pixels as words (plain PPM); a word takes a fifth of a microsecond."""

LIST = 100_000
"""Numbers in a field of TIFF or EXIF, each of which becomes an object; a photograph in strips has one for each."""

SCANS = 100
"""Passes over a progressive JPEG; encoders write ten. A file of many small ones would take hours."""


def copies(size: int) -> int:
    """How many bytes of values may be copies, of a file of ``size`` bytes."""
    return max(COPIES, 2 * size)
