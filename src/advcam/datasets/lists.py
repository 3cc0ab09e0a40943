"""Text lists of data sets, line by line, each line with its place in the file for the errors that it may cause."""

from collections.abc import Iterator
from pathlib import Path

from advcam import untrusted
from advcam.errors import DatasetError


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a list that hold something.

    Yields:
        Place ("PATH, line 3") and text of the line, stripped.

    Raises:
        DatasetError: The file is missing, cannot be read, or is not UTF-8 text.
    """
    try:
        untrusted.check_regular(path)
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(untrusted.limited_lines(file), 1):
                if stripped := line.strip():
                    yield f"{path}, line {number}", stripped
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing; restore it or name another root folder") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; replace it by the data set's own list") from error
    except untrusted.LineTooLongError as error:
        raise DatasetError(f"{path} has {error}; replace it by the data set's own list") from error


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
