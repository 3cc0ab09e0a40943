"""Files that are whole or absent: written under a temporary name beside the target, then renamed.

A writer holds an advisory lock on its temporary file while it lives, so the leftovers of writers that were
killed can be told from files that are being written, and removed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image

from advcam.errors import RunError, SettingError, one_line

if sys.platform != "win32":
    import fcntl

PARTIAL = ".partial"
"""Added to the name of a file while it is being written."""
_PICTURE_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends without an error.

    Parent folders are created. On any error, an interrupt included, `path` stays as it was and no temporary
    file is left.

    Raises:
        RunError: The file cannot be written: no space, no permission, a read-only disk.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            try_lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror or one_line(error)}); make room, change the permissions "
            "or choose another --out"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of dead writers in a folder; those of living ones stay."""
    for partial in folder.glob(f"*{PARTIAL}"):
        with suppress(OSError):
            with partial.open("r+b") as file:  # network disks lock only what is open for writing
                dead = try_lock(file)
            if dead:
                partial.unlink()


def try_lock(file: IO[bytes]) -> bool:
    """Take the exclusive advisory lock of an open file; False if another holder lives.

    The lock ends when the file is closed or its process dies. True as well where there are no such locks
    (Windows, some network disks).
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        RunError: The file cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture as JPEG (quality 90, RGB) or PNG, by the extension of the path.

    Raises:
        SettingError: The extension is neither of JPEG nor of PNG.
        RunError: The file cannot be written.
    """
    file_format = _PICTURE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise SettingError(f"pictures are written as .jpg, .jpeg or .png; got {path.name}")
    if file_format == "JPEG":
        picture = picture.convert("RGB")
    with replacing(path) as file:
        picture.save(file, format=file_format, quality=90)
