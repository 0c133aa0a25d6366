"""Files that hurt a reader once, or stand for those that do, are read or refused in one line, again and again."""

import time
from pathlib import Path

import pytest
from corpus import CORPUS, LARGEST, files, placed
from crafted import READERS

from weights import InputError

SECONDS = 2  # of the processor, for any one file


@pytest.mark.filterwarnings("ignore::weights.errors.InputWarning")
@pytest.mark.parametrize("reader", [reader for reader in READERS if files(reader)])
def test_file_of_the_corpus_is_read_or_refused(tmp_path: Path, reader: str) -> None:
    for file in files(reader):
        path = placed(reader, file.read_bytes(), tmp_path)
        start, message = time.process_time(), f"{path}: read"
        try:
            READERS[reader].read(path)
        except InputError as error:
            message = str(error)
        assert message.startswith(str(path)), file.name
        assert time.process_time() - start < SECONDS, file.name


def test_corpus_is_small() -> None:
    sizes = [file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()]
    assert sum(sizes) < 300_000
    assert max(sizes) < LARGEST
