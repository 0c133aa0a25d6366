"""What a file is that is not what its name says: the usual accidents, told from the first bytes."""

_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip archive (PyTorch's .pth and Keras' .keras are such): unpack it, or give it its own suffix"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ\x00", "compressed with xz; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x7fELF", "a program"),
)


def looks_like(head: bytes) -> str | None:
    """What a file's first bytes (some 500 of them) say it is; None where they say nothing."""
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return what
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 2:
        return "a Python pickle (an old PyTorch checkpoint?)"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 27:
        return "a safetensors file; give it the suffix .safetensors"
    if head and not head.strip(b"\0"):
        return "a run of zero bytes, as an interrupted download or copy leaves it"
    return _text(head)


def _text(head: bytes) -> str | None:
    words = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if words.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, probably a failed download"
    if words.startswith(b"<?xml"):
        return "an XML document, probably a failed download"
    if not words or any((byte < 32 and byte not in b"\t\n\r\f") or byte == 127 for byte in head):
        return None
    if words.startswith((b"name:", b"layer", b"input", b"#")):
        return "text, a prototxt and not the weights that belong to it"
    return "text"
