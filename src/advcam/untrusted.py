"""Files from elsewhere: a limit before anything is read whole, and JSON that cannot do harm by its shape.

What is wrong with a content is a ValueError of one line, a file that cannot be opened an OSError; the rooms turn both
into errors of theirs, with advice.
"""

import errno
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

#: Bytes of a JSON or text file that is read whole, unless its reader knows better.
MOST_BYTES = 256 * 2**20
#: Pixels of a picture or mask, judged by its header; just below the limit at which Pillow itself refuses them.
MOST_PIXELS = 178_000_000
#: Characters of a line of a text list or a table.
MOST_LINE = 1_000_000

#: An escape for half of a character beyond 16 bits; alone it is no text that can be written.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class LineTooLongError(ValueError):
    """A line of a text file is longer than `MOST_LINE`."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: A regular file.
        most: Bytes that it may have.

    Raises:
        OSError: It is missing, no regular file, or may not be read.
        ValueError: It has more bytes.
    """
    check_regular(path)
    if path.stat().st_size > most:
        raise ValueError(f"more than {most:,} bytes, which is the most that is read")
    return path.read_bytes()


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file in UTF-8, with or without byte order mark.

    Raises:
        OSError: As `read_bytes`.
        ValueError: It has too many bytes, or is no UTF-8 (a UnicodeDecodeError).
    """
    return read_bytes(path, most).decode("utf-8-sig")


def read_json(path: Path, most: int = MOST_BYTES) -> Any:  # noqa: ANN401, whatever the file holds
    """The content of a JSON file.

    Raises:
        OSError: As `read_bytes`.
        ValueError: It has too many bytes, or as `parse_json`.
    """
    return parse_json(read_bytes(path, most))


def parse_json(content: bytes) -> Any:  # noqa: ANN401, whatever the text holds
    """A JSON value.

    NaN and infinity, which the standard does not know, are read as such: exporters write them.

    Raises:
        ValueError: The text is cut off, nests too deeply, has an integer of thousands of digits, or half a character.
    """
    text = content.decode(json.detect_encoding(content))
    try:
        value = json.loads(text)
        if _HALF.search(text):  # rare, since pairs of them are only emoji and the like
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("lists or objects nest too deeply") from error
    return value


def limited_lines(file: TextIO) -> Iterator[str]:
    """The lines of a text, each with its end.

    Raises:
        LineTooLongError: A line is longer than `MOST_LINE`.
    """
    while line := file.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise LineTooLongError(f"a line of more than {MOST_LINE:,} characters, which is the most that is read")
        yield line


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe or a device, which may never end or never begin."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
