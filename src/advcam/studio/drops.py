"""Pictures that people drop into the page: looked at before they are kept, under names of our own."""

import re
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from advcam.datasets.pictures import EXTENSIONS, FORMATS, read_picture
from advcam.errors import PictureError, one_line
from advcam.store.files import replacing
from advcam.studio.missing import MissingError

#: Dropped pictures that are kept; the oldest go first.
_KEPT = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
#: What people drop instead of a picture, by how it begins, and what to do with it.
_OTHERS = (
    (b"PK\x03\x04", "is a zip archive; unpack it and drop the pictures in it"),
    (b"%PDF", "is a PDF document; export the page as PNG or JPEG"),
    (b"\x1f\x8b", "is a gzip archive; unpack it and drop the pictures in it"),
)


@dataclass(frozen=True)
class Drop:
    """A dropped picture.

    Args:
        id: For addresses.
        name: As the person called it.
        path: Where it is kept.
        width, height: Of the picture as it is seen, in pixels.
    """

    id: str
    name: str
    path: Path
    width: int
    height: int


class Drops:
    """The pictures that were dropped since the server was started; some more are kept.

    Args:
        folder: Where they are kept; created with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._drops: dict[str, Drop] = {}
        self._lock = threading.Lock()

    def keep(self, name: str, content: bytes) -> tuple[Drop, Image.Image]:
        """Keep a picture.

        Args:
            name: As the person calls it; only shown.
            content: The file.

        Returns:
            The drop, and the picture.

        Raises:
            PictureError: It is no picture that can be read, or is none of a usable size.
            RunError: It cannot be written.
        """
        shown = PurePosixPath(name.replace("\\", "/")).name[:120] or "picture"
        _refuse_others(shown, content)
        id_ = secrets.token_hex(8)
        path = self.folder / f"{id_}-{_safe(shown)}"
        with replacing(path) as file:
            file.write(content)
        try:
            picture = read_picture(path)
        except PictureError as error:
            path.unlink(missing_ok=True)
            raise PictureError(one_line(error).replace(str(path), shown)) from error
        drop = Drop(id_, shown, path, picture.width, picture.height)
        with self._lock:
            self._drops[id_] = drop
            self._forget()
        return drop, picture

    def get(self, id_: str) -> Drop:
        """A drop.

        Raises:
            MissingError: There is none of this name.
        """
        drop = self._drops.get(id_)
        if drop is None:
            raise MissingError(f"there is no dropped picture {id_!r} here any more; drop it again")
        return drop

    def _forget(self) -> None:
        """Remove the oldest pictures, those of earlier servers among them."""
        with suppress(OSError):
            found = sorted(self.folder.glob(f"{'?' * 16}-*"), key=lambda path: path.stat().st_mtime)
            for path in found[:-_KEPT]:
                self._drops.pop(path.name[:16], None)
                path.unlink()


def _safe(name: str) -> str:
    """A file name of letters that every disk and shell takes, with the extension of a picture."""
    path = PurePosixPath(name)
    ending = path.suffix.lower() if path.suffix.lower() in EXTENSIONS else ""
    return (_UNSAFE.sub("-", path.stem)[:60].strip("-") or "picture") + ending


def _refuse_others(name: str, content: bytes) -> None:
    """Say what a file is that is often dropped and is no picture of pixels.

    Raises:
        PictureError: It is one of these.
    """
    begin = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<svg" in begin.lower() or begin.startswith(b"<?xml"):
        raise PictureError(f"{name} is an SVG drawing, which has no pixels; export it as PNG or JPEG")
    for start, advice in _OTHERS:
        if begin.startswith(start):
            raise PictureError(f"{name} {advice}")
    if not content:
        raise PictureError(f"{name} is empty; drop a picture ({', '.join(FORMATS)})")
