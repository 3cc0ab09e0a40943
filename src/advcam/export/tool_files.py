"""Files of annotation tools: copies of the pictures, and what lies in the folder that a tool left."""

import shutil
from pathlib import Path
from typing import Any

from advcam.errors import DatasetError, PictureError, SettingError
from advcam.export.annotated import AnnotatedPicture
from advcam.export.labels import holds
from advcam.store.reading import inside
from advcam.untrusted import MOST_PIXELS

#: Says what made an export; no tool wrote it.
_MARKER = "advcam-export.json"


def copy_picture(picture: AnnotatedPicture, folder: Path) -> str:
    """Copy a picture under the name of its files, with its own extension.

    Args:
        picture: Its bytes are not changed, so an orientation in its EXIF data stays.
        folder: Of the copies.

    Returns:
        Path of the copy in the folder, with `/`.

    Raises:
        PictureError: The picture cannot be read.
        SettingError: Its name has control characters.
    """
    name = picture.name + picture.path.suffix.lower()
    if not holds(name):
        raise SettingError(
            f"the name of {picture.path} has control characters, which tools cannot hold; rename the file"
        )
    copy = inside(folder, name)
    try:
        source = picture.path.open("rb")
    except OSError as error:
        raise PictureError(f"cannot read {picture.path} ({error.strerror}); the format holds copies") from error
    copy.parent.mkdir(parents=True, exist_ok=True)
    with source, copy.open("wb") as file:
        shutil.copyfileobj(source, file)
    return name


def json_files(folder: Path, title: str) -> list[Path]:
    """The JSON files in a folder and below it, in order; or the one file that was named instead.

    Raises:
        DatasetError: There are none.
    """
    if not folder.is_dir():
        return [folder]
    found = sorted(path for path in folder.rglob("*.json") if path.name != _MARKER)
    if not found:
        raise DatasetError(f"{folder} holds no .json file; name the folder or the file of an export of {title}")
    return found


def picture_size(height: Any, width: Any, where: str) -> tuple[int, int]:  # noqa: ANN401, whatever a file holds
    """(H, W) of a picture as a file says it.

    Raises:
        DatasetError: It is none.
    """
    if not all(type(side) is int and 1 <= side <= MOST_PIXELS for side in (height, width)):
        raise DatasetError(
            f"{where}: the picture is {width!r} wide and {height!r} high; both are whole numbers from 1 to "
            f"{MOST_PIXELS:,}"
        )
    if height * width > MOST_PIXELS:
        raise DatasetError(
            f"{where}: the picture has {height * width:,} pixels; the most that is read is {MOST_PIXELS:,}"
        )
    return height, width
