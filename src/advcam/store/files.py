"""Files that are whole or absent: written under a temporary name beside the target, then renamed.

A temporary name is its writer's own, as two processes may write the same file: one that was thought dead, and the one
in its place. A writer holds an advisory lock on its temporary file while it lives, so the leftovers of writers that
were killed can be told from files that are being written, and removed.

In an object store an object is whole or absent by itself: what is written is kept in a temporary file of this machine
and sent when it is complete. A kill leaves nothing there but, of objects over 100 MB, parts that nobody sees and that
the store's lifecycle rule for unfinished uploads removes.
"""

import itertools
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image

from advcam.errors import RunError, SettingError, one_line
from advcam.store.places import Place
from advcam.store.remote import RemotePath

if sys.platform != "win32":
    import fcntl

PARTIAL = ".partial"
"""The end of the name of a file while it is being written."""
_numbers = itertools.count()
_PICTURE_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


@contextmanager
def replacing(path: Place) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends without an error.

    Parent folders are created. On any error, an interrupt included, `path` stays as it was and no temporary
    file is left.

    Raises:
        RunError: The file cannot be written: no space, no permission, a read-only disk, a store that is not reached.
    """
    if isinstance(path, RemotePath):
        with _sending(path) as file:
            yield file
        return
    # Not made of the name of the file, which may be as long as names can be.
    partial = path.with_name(f".{platform.node()[:64]}-{os.getpid()}-{next(_numbers)}{PARTIAL}")
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


@contextmanager
def _sending(path: RemotePath) -> Iterator[BinaryIO]:
    """A temporary file that is sent to a store when the block ends without an error."""
    try:
        with tempfile.TemporaryDirectory(prefix="advcam-") as folder:
            complete = Path(folder, path.name)  # the store tells the type of the content by the extension
            with complete.open("wb") as file:
                yield file
            path.upload(complete)
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror or one_line(error)} in {tempfile.gettempdir()}, where it is kept "
            "until it is complete); make room there, or set TMPDIR"
        ) from error


def check_stays(path: Path, root: Path) -> None:
    """Whether something can be written for a run that somebody else may have made, without leaving it.

    Raises:
        RunError: A link leads out of the root.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise RunError(
            f"{path} is a link, or lies behind one, that leads out of {root}; nothing is written there; remove it"
        )


def remove_leftovers(folder: Place, everywhere: bool = False) -> None:
    """Delete the temporary files of dead writers in a folder; those of living ones stay. A store has none.

    Args:
        folder: Need not exist.
        everywhere: In the folders below it as well.
    """
    if isinstance(folder, RemotePath):
        return
    for partial in folder.glob(f"**/*{PARTIAL}" if everywhere else f"*{PARTIAL}"):
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


def write_text(path: Place, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        RunError: The file cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def write_picture(path: Place, picture: Image.Image) -> None:
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
