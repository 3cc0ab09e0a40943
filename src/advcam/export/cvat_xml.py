"""The XML of CVAT, picture by picture: it may be large, and its archive much smaller than what comes out of it."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from advcam.errors import DatasetError, one_line
from advcam.untrusted import check_regular

_CHUNK = 2**20
_MOST_BYTES = 2**30
_MOST_SHAPES = 100_000


def read_images(path: Path) -> Iterator[ET.Element]:
    """The <image> elements of a file, or of annotations.xml in an archive, with the shapes right below them.

    Raises:
        DatasetError: The file cannot be read, is too large, is no complete XML or none of CVAT, or declares a document
            type: entities can blow up or name other files.
    """
    images = _Images(path)
    parser = ET.XMLParser(target=images)  # noqa: S314, its target refuses every declaration of entities
    try:
        for chunk in _chunks(path):
            parser.feed(chunk)
            yield from images.take()
        parser.close()
    except DatasetError:  # a ValueError, like those of the parser below
        raise
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that Python does not know
        raise DatasetError(f"{path} is no complete XML ({one_line(error)}); export it again") from error


def _chunks(path: Path) -> Iterator[bytes]:
    """The text, piece by piece."""
    try:
        check_regular(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open("annotations.xml") as file:
                yield from _limited(file, path)
        else:
            with path.open("rb") as file:
                yield from _limited(file, path)
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is missing; name the folder, the .xml or the .zip of an export of CVAT") from error
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(
            f'{path} cannot be read ({one_line(error)}); export as "CVAT for images 1.1", which has an annotations.xml'
        ) from error


def _limited(file: IO[bytes], path: Path) -> Iterator[bytes]:
    for number, chunk in enumerate(iter(lambda: file.read(_CHUNK), b"")):
        if number * _CHUNK >= _MOST_BYTES:
            raise DatasetError(f"{path} has more than {_MOST_BYTES:,} bytes of XML; export fewer pictures at once")
        yield chunk


class _Images:
    """Keeps the pictures with their shapes, and nothing else of the tree."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._image: ET.Element | None = None
        self._whole: list[ET.Element] = []

    def take(self) -> list[ET.Element]:
        """The pictures that are complete, each given once."""
        whole, self._whole = self._whole, []
        return whole

    def doctype(self, name: str, _public: str | None, _system: str | None) -> None:
        """Called before the first entity is read."""
        raise DatasetError(f"{self._path} declares the document type {name!r}; annotations have none; remove it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if (self._depth == 0 and tag != "annotations") or (self._depth == 1 and tag == "track"):
            raise DatasetError(f'{self._path} holds <{tag}>, not pictures; export as "CVAT for images 1.1"')
        if self._depth == 1 and tag == "image":
            self._image = ET.Element(tag, attributes)
        elif self._depth == 2 and self._image is not None:
            self._image.append(ET.Element(tag, attributes))
            if len(self._image) > _MOST_SHAPES:
                raise DatasetError(f"{self._path}: {self._image.get('name')} has more than {_MOST_SHAPES:,} shapes")
        self._depth += 1

    def end(self, _tag: str) -> None:
        """An element ends."""
        self._depth -= 1
        if self._depth == 1 and self._image is not None:
            self._whole.append(self._image)
            self._image = None

    def close(self) -> None:
        """The text ends."""
