"""Finding and decoding pictures: inputs on the command line become samples, a file becomes an RGB picture.

Every way in which a file can fail to be a usable picture ends in a `PictureError` of one line that names the
file and what to do. The size is judged by the header alone, before anything is decoded.
"""

import difflib
import glob
import os
import threading
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION

from advcam import untrusted
from advcam.errors import PictureError, one_line
from advcam.types import Sample

MAX_PIXELS = untrusted.MOST_PIXELS
"""Larger pictures are refused undecoded; just below the limit at which Pillow itself refuses them."""
MIN_SIDE = 16
"""Pixels on the shorter side below which a class activation map says nothing."""
MAX_ASPECT = 32
"""Longer side divided by the shorter one, at most."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)

_header_lock = threading.Lock()


def read_picture(path: Path, least_side: int | None = None) -> Image.Image:
    """Decode a picture as a person sees it.

    The EXIF orientation is applied, transparency is laid over white, more than 8 bits a channel are scaled to
    8 (float values by the smallest of the ranges 0 to 1, 0 to 255 and 0 to 65535 that holds them), and of an
    animation the first frame is taken.

    Args:
        path: A file in one of `FORMATS`, whatever its extension.
        least_side: Pixels a side that suffice: a JPEG is decoded at a half, a quarter or an eighth of its size where
            both sides still have so many, in a fraction of the time. None: every pixel.

    Returns:
        The picture in mode RGB, between `MIN_SIDE` pixels a side and `MAX_PIXELS` in all.

    Raises:
        PictureError: The file is missing, not readable, not a picture, damaged, too small, too large or too
            elongated.
    """
    with _open_file(path) as file:
        picture = _read_header(path, file)
        _check_size(path, *picture.size)
        try:
            if least_side is not None:
                picture.draft(None, (least_side, least_side))  # None keeps the mode
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            return _to_rgb(picture)
        except Exception as error:  # decoders raise nearly every type on damaged data
            raise PictureError(
                f"{path} cannot be decoded ({one_line(error)}): it is truncated or damaged; replace or remove it"
            ) from error


def find_pictures(inputs: Sequence[str | Path]) -> list[Sample]:
    """Collect the pictures that files, folders and patterns name.

    A folder is searched recursively for files with one of `EXTENSIONS` in any case; what is hidden (its name
    starts with a dot) is left out, links to folders are followed, and each folder is entered once. A pattern
    (`photos/**/*.jpg`) names files; a path that exists is never read as a pattern. A file named as such is
    taken whatever its extension.

    Args:
        inputs: Files, folders and patterns.

    Returns:
        Unlabelled samples sorted by id, each file once. The id is the path relative to the folder if that is
        the only input, otherwise relative to the common parent folder of all pictures found.

    Raises:
        PictureError: An input does not exist, or holds or matches no picture.
    """
    if not inputs:
        raise PictureError("no pictures asked for: name at least one file, folder or pattern")
    real_folder = lru_cache(maxsize=1024)(Path.resolve)
    found: dict[str, str] = {}  # as text, which takes a fifth of the memory of paths
    for item in inputs:
        for path in _expand(item):
            found.setdefault(str(real_folder(path.parent) / path.name), str(path))
    root = absolute(Path(inputs[0]))
    if len(inputs) > 1 or not root.is_dir():
        root = Path(os.path.commonpath([absolute(Path(path).parent) for path in found.values()]))
    samples = [Sample(_id(Path(path), root), Path(path)) for path in found.values()]
    return sorted(samples, key=lambda sample: sample.id)


def absolute(path: Path) -> Path:
    """The path from the root of the file system without `..`; links are kept, unlike in `Path.resolve`."""
    return Path(os.path.abspath(path))  # noqa: PTH100, Path.absolute keeps the `..`


def _open_file(path: Path) -> BinaryIO:
    """Open a regular file that holds something."""
    try:
        if path.is_file() and path.stat().st_size:
            return path.open("rb")
        missing, folder, regular = not path.exists(), path.is_dir(), path.is_file()
    except PermissionError as error:
        raise PictureError(f"{path} may not be read (permission denied); change its permissions") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if missing:
        raise PictureError(f"{path} does not exist; check the path")
    if folder:
        raise PictureError(f"{path} is a folder, not a picture; name a file in it")
    if not regular:
        raise PictureError(f"{path} is not a regular file; copy the picture into one")
    raise PictureError(f"{path} is empty (0 bytes); replace or remove it")


def _read_header(path: Path, file: BinaryIO) -> Image.Image:
    """Identify the format and size; nothing is decoded yet."""
    Image.init()
    try:
        # What Pillow warns of here is refused or harmless to the pixels. The lock keeps two threads from
        # restoring each other's warning filters.
        with _header_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        file.seek(0)
        raise PictureError(
            f"{path} is damaged or in no format that can be read ({', '.join(FORMATS)}): it starts with "
            f"{file.read(12)!r}; replace it or convert it to JPEG or PNG"
        ) from error
    except Exception as error:  # parsers raise nearly every type on damaged headers
        raise PictureError(f"{path} has a damaged header ({one_line(error)}); replace or remove it") from error


def _too_large(path: Path) -> PictureError:
    return PictureError(f"{path} has more than {MAX_PIXELS:,} pixels; scale it down or cut it into tiles")


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(path)
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{path} is {width} x {height} pixels; a picture needs at least {MIN_SIDE} on each side; leave it out"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(
            f"{path} is {width} x {height} pixels; the longer side may be {MAX_ASPECT} times the shorter one "
            "at most; cut it into pieces"
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Any mode of Pillow to RGB; transparent parts turn white."""
    if picture.mode[0] in "IF":
        return Image.fromarray(_to_8_bits(picture)).convert("RGB")
    if picture.has_transparency_data:
        canvas = Image.new("RGBA", picture.size, "white")
        canvas.alpha_composite(picture.convert("RGBA"))
        return canvas.convert("RGB")
    return picture.convert("RGB")


def _to_8_bits(picture: Image.Image) -> NDArray[np.uint8]:
    """Grey levels of 16 bits, 32 bits or float, (H, W), scaled to 0 to 255 from the range of their depth."""
    levels = np.nan_to_num(np.asarray(picture, dtype=np.float32), nan=0, posinf=0, neginf=0)
    tags = getattr(picture, "tag_v2", {})
    if picture.mode.startswith("I;"):
        full = 2.0 ** tags.get(BITSPERSAMPLE, (16,))[0] - 1
    else:
        ranges = (1.0, 255.0, 65535.0) if picture.mode == "F" else (65535.0, 2.0**31)
        full = next((top for top in ranges if levels.max() <= top), float(levels.max()))
    scaled = np.rint(np.clip(levels / full, 0, 1) * 255).astype(np.uint8)
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 0:  # white is zero, which Pillow inverts for 8 bits only
        scaled = 255 - scaled
    return np.where(levels == picture.info.get("transparency", np.nan), np.uint8(255), scaled)


def _expand(item: str | Path) -> list[Path]:
    """The pictures that one input names."""
    path = Path(item)
    try:
        if path.is_dir():
            return _search(path)
        if path.exists():
            return [path]
        if glob.has_magic(str(item)):
            return _match(str(item))
        raise _missing(path)
    except OSError as error:
        raise PictureError(
            f"{error.filename or path} cannot be searched ({error.strerror}); check the path and its permissions"
        ) from error


def _search(folder: Path) -> list[Path]:
    files = [path for _, inside in _walk(folder) for path in inside]
    pictures = [path for path in files if _is_picture(path)]
    if not pictures:
        raise PictureError(
            f"{folder} holds no picture: looked for {' '.join(EXTENSIONS)}, found {_describe(files)}; name "
            "the folder that holds the pictures"
        )
    return pictures


def _match(pattern: str) -> list[Path]:
    matches = list(_glob(pattern))
    pictures = [path for path in matches if _is_picture(path) and not path.is_dir()]
    if not pictures:
        raise PictureError(
            f"no picture matches {pattern}: looked for {' '.join(EXTENSIONS)}, found {_describe(matches)}; "
            "mind small and capital letters, and write ** for folders at any depth"
        )
    return pictures


def _glob(pattern: str) -> Iterator[Path]:
    """`glob.glob`, except that `**` enters each folder once, so that links in a circle end."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from sorted(Path(match) for match in glob.glob(pattern))  # noqa: PTH207, leaves hidden files out
        return
    depth = parts.index("**")
    for base in _glob(str(Path(*parts[:depth]))):
        for folder, _ in _walk(base) if base.is_dir() else ():
            yield from _glob(str(Path(glob.escape(str(folder)), *(parts[depth + 1 :] or ("*",)))))


def _walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder below (and with) the root once, with the files in it; nothing hidden.

    Links come last: a folder that is reached both directly and by a link keeps its direct path.
    """
    pending = deque([root])
    entered: set[tuple[int, int]] = set()
    while pending:
        folder = pending.popleft()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        files = []
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
        for entry in visible:
            if entry.is_dir(follow_symlinks=False):
                pending.appendleft(Path(entry))
            elif entry.is_symlink() and Path(entry).is_dir():
                pending.append(Path(entry))
            else:
                files.append(Path(entry))
        yield folder, files


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS


def _describe(paths: Iterable[Path]) -> str:
    """What lies there, by extension: `3 .txt, 1 without extension`."""
    kinds = Counter("folders" if p.is_dir() else p.suffix.lower() or "files without extension" for p in paths)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "nothing"


def _missing(path: Path) -> PictureError:
    """The error of a path that does not exist, with the name in its folder that looks most alike."""
    lost = absolute(path)
    while not lost.parent.exists():
        lost = lost.parent
    names = [entry.name for entry in lost.parent.iterdir()]
    alike = difflib.get_close_matches(lost.name, names, n=1)
    advice = f"did you mean {lost.parent / alike[0]}?" if alike else "check the path"
    return PictureError(f"{path} does not exist; {advice}")


def _id(path: Path, root: Path) -> str:
    """Path relative to the root with `/`; bytes that are not UTF-8 are spelt out in hexadecimal."""
    name = absolute(path).relative_to(root).as_posix()
    return os.fsencode(name).decode("utf-8", "backslashreplace")
