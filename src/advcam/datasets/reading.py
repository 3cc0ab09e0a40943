"""Reading annotation files: lists, JSON, XML and index PNGs, with errors that name file, place and remedy."""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from advcam.errors import DatasetError, one_line
from advcam.types import Mask

#: Larger annotation files are refused before they are read (instances_train2014.json has 0.5 GB).
MAX_BYTES = 4 * 2**30
_MASK_FORMATS = ("PNG",)
_DRIVE = re.compile("[A-Za-z]:")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text list, without empty ones, stripped.

    Raises:
        DatasetError: The file is missing or not UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if stripped := line.strip():
                    yield stripped
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; replace it by the data set's own list") from error


def read_json(path: Path) -> Any:  # noqa: ANN401, whatever the file holds
    """The content of a JSON file.

    Raises:
        DatasetError: The file is missing, too large, or ends early.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} has more than {MAX_BYTES // 2**30} GiB; split the annotations")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no complete JSON ({one_line(error)}); download or write it again") from error


def read_xml(path: Path) -> ET.Element:
    """The root element of an XML file.

    Raises:
        DatasetError: The file is missing or not well formed.
    """
    try:
        return ET.fromstring(path.read_bytes())  # noqa: S314, expat limits entity expansion since 2.4.1
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that Python does not know
        raise DatasetError(f"{path} is no complete XML ({one_line(error)}); restore the file") from error


def read_index_png(path: Path) -> Mask:
    """The numbers of a palette or greyscale PNG, (H, W), without any conversion to colours.

    Raises:
        DatasetError: The file is missing, damaged, or a picture of colours.
    """
    try:
        with Image.open(path, formats=_MASK_FORMATS) as image:
            mode, pixels = image.mode, np.asarray(image)
    except FileNotFoundError as error:
        raise _unreadable(path, error) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as a mask ({one_line(error)}); restore the file") from error
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise DatasetError(f"{path} is a picture of mode {mode}; a mask holds numbers, in a palette or greyscale PNG")
    return pixels.astype(np.int32)


def inside(root: Path, name: str) -> Path:
    """A path that an annotation names, below the root.

    Raises:
        DatasetError: It is absolute or leads out of the root.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or _DRIVE.match(name):
        raise DatasetError(f"an annotation of {root} names {name!r}; names are paths inside the data set")
    return root / path


def _unreadable(path: Path, error: OSError) -> DatasetError:
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path} is missing; restore it or name another root folder")
    return DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions")
