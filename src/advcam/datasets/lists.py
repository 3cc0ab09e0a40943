"""Text lists of data sets, line by line, each line with its place in the file for the errors that it may cause."""

from collections.abc import Iterator
from pathlib import Path

from advcam.errors import DatasetError
from advcam.store.reading import numbered_lines


def read_fields(path: Path, *names: str) -> Iterator[tuple[str, list[str]]]:
    """The fields of each line, separated by white space.

    Args:
        path: Of the list.
        names: What the fields of a line are; a line must have as many.

    Yields:
        Place of the line and its fields.

    Raises:
        DatasetError: The file cannot be read, or a line has another number of fields.
    """
    for where, line in numbered_lines(path):
        fields = line.split()
        if len(fields) != len(names):
            raise DatasetError(f"{where}: {line!r} has {len(fields)} fields; expected {' '.join(names)}; mend the line")
        yield where, fields


def read_class_names(path: Path) -> tuple[str, ...]:
    """The class names of a list with one name a line; its order is that of the class numbers.

    Raises:
        DatasetError: The file cannot be read, holds no name, or one twice.
    """
    names: dict[str, None] = {}
    for where, name in numbered_lines(path):
        if name in names:
            raise DatasetError(f"{where}: the class {name!r} is listed before; keep one of the lines")
        names[name] = None
    if not names:
        raise DatasetError(f"{path} names no class; write one name a line or remove the file")
    return tuple(names)
