"""What a target is: a reader, valid files to begin with, and a way to change them that keeps their structure."""

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from advcam.datasets.catalogue import LAYOUTS
from advcam.datasets.check import check_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import AdvcamError

#: Characters of an error; more is no text for people.
LONGEST_ERROR = 8_000

#: Changes a file without losing its structure; the random numbers decide how.
Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Args:
        name: For the command line.
        prepare: Called once with an empty folder; returns a function that reads the content of one file.
        seeds: Valid files, made by the project's own writers in an empty folder.
        mutate: How files of this format are changed.
    """

    name: str
    prepare: Callable[[Path], Callable[[bytes], object]]
    seeds: Callable[[Path], list[bytes]]
    mutate: Mutate

    def __call__(self, content: bytes) -> bool:
        """Read a file; whether it was accepted.

        Any error but our own passes through, and so does one of ours that cannot be shown to people.
        """
        try:
            self._read(content)
        except AdvcamError as error:
            check_words(str(error))
            return False
        return True

    @cached_property
    def corpus(self) -> list[bytes]:
        """The valid files."""
        return self.seeds(_empty_folder())

    @cached_property
    def _read(self) -> Callable[[bytes], object]:
        return self.prepare(_empty_folder())


def check_words(words: str) -> None:
    """Raise unless a message can be printed and is short enough to be read."""
    words.encode()
    if len(words) > LONGEST_ERROR:
        raise AssertionError(f"a message of {len(words):,} characters: {words[:200]}")


def file_reader(name: str, read: Callable[[Path], object]) -> Callable[[Path], Callable[[bytes], object]]:
    """`prepare` for a reader of one file.

    Args:
        name: Of the file.
        read: Reads it.
    """

    def prepare(folder: Path) -> Callable[[bytes], object]:
        path = folder / name

        def of(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return of

    return prepare


def dataset_reader(layout: str, *names: str) -> Callable[[Path], Callable[[bytes], object]]:
    """`prepare` for files of a data set that is otherwise whole: each of them is replaced, and everything is read.

    Args:
        layout: Of the data set.
        names: The files, each replaced alone.
    """

    def prepare(folder: Path) -> Callable[[bytes], object]:
        root = folder / layout
        write_dataset(layout, root, pictures=2)
        kept = {name: (root / name).read_bytes() for name in names}

        def of(content: bytes) -> None:
            for name in names:
                (root / name).write_bytes(content)
                try:
                    _walk(layout, root)
                except AdvcamError as error:
                    check_words(str(error))
                finally:
                    (root / name).write_bytes(kept[name])

        return of

    return prepare


def dataset_files(layout: str, *names: str) -> Callable[[Path], list[bytes]]:
    """`seeds` for files of a data set."""

    def seeds(folder: Path) -> list[bytes]:
        write_dataset(layout, folder / layout, pictures=3)
        return [(folder / layout / name).read_bytes() for name in names]

    return seeds


def _walk(layout: str, root: Path) -> None:
    """Read everything that a data set holds, as `advcam data check` does."""
    for report in check_dataset(LAYOUTS[layout](root)).values():
        for findings in (report.problems, report.notes):
            for words in findings.named.values():
                check_words(" ".join(words))


def _empty_folder() -> Path:
    """A folder of this process; who starts the process says by TMPDIR where, and removes it."""
    return Path(tempfile.mkdtemp(prefix="advcam-fuzz-"))
