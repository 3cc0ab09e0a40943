"""Reading annotation files: lists, JSON, XML and index PNGs, with errors that name file, place and remedy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from advcam import untrusted
from advcam.errors import DatasetError, one_line
from advcam.types import Mask
from advcam.untrusted import MOST_PIXELS

#: Larger annotation files are refused before they are read (instances_train2014.json has 0.5 GB).
MAX_BYTES = 4 * 2**30
#: The same for the XML of one picture, which has some thousand bytes.
MAX_XML_BYTES = 16 * 2**20
#: Bytes of a part of a name; file systems take 255, and endings are put to it.
_LONGEST_PART = 250
_LONGEST_NAME = 2000
_DRIVE = re.compile("[A-Za-z]:")


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text list that hold something.

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
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; replace it by the data set's own list") from error
    except untrusted.LineTooLongError as error:
        raise DatasetError(f"{path} has {error}; replace it by the data set's own list") from error


def read_lines(path: Path) -> Iterator[str]:
    """As `numbered_lines`, the texts alone."""
    return (line for _, line in numbered_lines(path))


def read_json(path: Path) -> Any:  # noqa: ANN401, whatever the file holds
    """The content of a JSON file.

    Raises:
        DatasetError: The file is missing, too large, or ends early.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} has more than {MAX_BYTES // 2**30} GiB; split the annotations")
        return untrusted.read_json(path, MAX_BYTES)
    except DatasetError:  # a ValueError, like those of the parser below
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise DatasetError(f"{path} is no complete JSON ({one_line(error)}); download or write it again") from error


def read_xml(path: Path) -> ET.Element:
    """The root element of an XML file.

    Raises:
        DatasetError: The file is missing, too large, not well formed, or declares a document type: annotations have
            none, and entities can blow up or name other files.
    """
    try:
        content = untrusted.read_bytes(path, MAX_XML_BYTES)
        parser = ET.XMLParser(target=_PlainTree(path))  # noqa: S314, its target refuses every declaration of entities
        parser.feed(content)
        root: ET.Element = parser.close()
        return root
    except DatasetError:  # a ValueError, like those of the parser below
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that Python does not know
        raise DatasetError(f"{path} is no complete XML ({one_line(error)}); restore the file") from error


def read_index_png(path: Path) -> Mask:
    """The numbers of a palette or greyscale PNG, (H, W), without any conversion to colours.

    Raises:
        DatasetError: The file is missing, damaged, too large, or a picture of colours.
    """
    with open_png(path) as image:
        mode = image.mode
        if mode not in ("1", "L", "P") and not mode.startswith("I"):
            raise DatasetError(
                f"{path} is a picture of mode {mode}; a mask holds numbers, in a palette or greyscale PNG"
            )
        return np.asarray(image).astype(np.int32)


@contextmanager
def open_png(path: Path) -> Iterator[Image.Image]:
    """A PNG of a mask whose size is known to be possible; whatever fails in the block is damage of the file.

    Raises:
        DatasetError: The file is missing, damaged, or has more than `MOST_PIXELS`.
    """
    try:
        untrusted.check_regular(path)
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DatasetError(f"{path} has more than {MOST_PIXELS:,} pixels; scale the mask down as its picture")
            yield image
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # decoders raise nearly every type on damaged data
        raise DatasetError(f"{path} cannot be read as a mask ({one_line(error)}); restore the file") from error


def inside(root: Path, name: str) -> Path:
    """A path that an annotation names, below the root.

    Raises:
        DatasetError: It is absolute, leads out of the root, is too long for a file system, or is no text.
    """
    path = PurePosixPath(name)
    odd = not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name
    if odd or _DRIVE.match(name):
        raise DatasetError(f"an annotation of {root} names {name!r}; names are paths inside the data set")
    spelt = name.encode("utf-8", "surrogatepass")
    longest = max(len(part) for part in spelt.split(b"/"))
    if len(spelt) > _LONGEST_NAME or longest > _LONGEST_PART:
        raise DatasetError(
            f"an annotation of {root} names a file by {len(spelt):,} bytes; a name has at most {_LONGEST_NAME}, and "
            f"{_LONGEST_PART} between two slashes; shorten it"
        )
    return root / path


class _PlainTree(ET.TreeBuilder):
    """Builds elements, and refuses a document type as soon as it begins."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def doctype(self, name: str, _public: str | None, _system: str | None) -> None:
        """Called before the first entity is read."""
        raise DatasetError(f"{self._path} declares the document type {name!r}; annotations have none; remove it")


def _unreadable(path: Path, error: OSError) -> DatasetError:
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path} is missing; restore it or name another root folder")
    return DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions")
