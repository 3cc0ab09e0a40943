"""COCO segmentations to pixels, whatever a file holds: polygons and run lengths, and objects laid over each other.

Polygons are rasterised by pycocotools. Run lengths are decoded here: its C code reads beyond the end of a string that
was cut off, and an annotation file must not be able to do that. The tests hold both against each other.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from advcam.errors import DatasetError
from advcam.types import IGNORE, Mask
from advcam.untrusted import MOST_PIXELS

#: Bits of a run length in its text form; no picture has more pixels, and no text is so long that sums overflow.
_MAX_SHIFT = 30


def segment_pixels(segmentation: object, height: int, width: int, where: str) -> NDArray[np.bool_]:
    """The pixels of one annotation, (H, W).

    Args:
        segmentation: As in the JSON: a list of polygons [x, y, x, y, ...], or run lengths {"size": [H, W], "counts":
            a list of integers or the compressed text}.
        height: Of the picture.
        width: Of the picture.
        where: File and annotation, for errors.

    Raises:
        DatasetError: It is neither, is damaged, or belongs to a picture of another size.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, height, width, where)
    if isinstance(segmentation, list) and segmentation:
        return _from_polygons(segmentation, height, width, where)
    raise DatasetError(f"{where}: the segmentation is neither polygons nor run lengths; mend or remove the annotation")


def paint(parts: Iterable[tuple[int, NDArray[np.bool_]]], size: tuple[int, int]) -> Mask:
    """A label mask of objects that may overlap: the one of fewer pixels lies above, of equal ones the later.

    What is undecided lies below all objects.

    Args:
        parts: Number in the mask, and pixels (H, W), of each object.
        size: (H, W).
    """
    mask = np.zeros(size[0] * size[1], dtype=np.int32)
    undecided = mask.size + 1
    # The size of the object that a pixel shows: the order is that of sizes, but one object is held at a time.
    shown = np.full(mask.size, undecided, dtype=np.int32)
    for number, pixels in parts:
        places = np.flatnonzero(pixels)
        count = undecided if number == IGNORE else len(places)
        above = places[shown[places] >= count]
        mask[above], shown[above] = number, count
    return mask.reshape(size)


def _from_polygons(polygons: list[Any], height: int, width: int, where: str) -> NDArray[np.bool_]:
    for polygon in polygons:
        _check_polygon(polygon, height, width, where)
    merged = rle.merge(rle.frPyObjects(polygons, height, width))
    return np.asarray(rle.decode(merged), dtype=np.bool_)


def _check_polygon(polygon: object, height: int, width: int, where: str) -> None:
    """Refuse what the rasteriser would take for something else, or would need endless memory for."""
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        raise DatasetError(f"{where}: a polygon is a list of numbers x, y, x, y; mend or remove the annotation")
    if len(polygon) < 6 or len(polygon) % 2:
        raise DatasetError(
            f"{where}: a polygon has {len(polygon)} numbers; it needs x and y of at least 3 points; mend or remove it"
        )
    if not _is_near(polygon, height, width):
        raise DatasetError(
            f"{where}: a polygon lies far outside the picture of {width} x {height} pixels; mend or remove it"
        )


def _is_near(polygon: list[float], height: int, width: int) -> bool:
    """Whether all corners lie in the picture or not further outside than its width and height."""
    try:
        corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    except OverflowError:  # an integer of hundreds of digits
        return False
    return bool((np.abs(corners / (width, height) - 0.5) <= 1.5).all())


def _from_runs(runs: dict[str, Any], height: int, width: int, where: str) -> NDArray[np.bool_]:
    if runs.get("size") != [height, width]:
        raise DatasetError(
            f"{where}: run lengths of size {runs.get('size')!r} in a picture of height {height} and width {width}; "
            "annotate the picture as it is stored"
        )
    counts = runs.get("counts")
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    if isinstance(counts, str):
        counts = _unpack(counts, where)
    if not isinstance(counts, list) or not all(type(count) is int and 0 <= count <= MOST_PIXELS for count in counts):
        raise DatasetError(
            f"{where}: run lengths are integers from 0 to {MOST_PIXELS:,}; mend or remove the annotation"
        )
    if sum(counts) != height * width:
        raise DatasetError(
            f"{where}: the run lengths cover {sum(counts)} of {height * width} pixels; mend or remove the annotation"
        )
    return _expand(counts).reshape((height, width), order="F")


def _expand(counts: Sequence[int]) -> NDArray[np.bool_]:
    """Runs of False and True in turn, beginning with False."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def _unpack(text: str, where: str) -> list[int]:
    """The run lengths of COCO's compressed text: 5 bits a character, from the third run on as differences.

    Of a character's 6 bits the highest says that the number goes on; that below, in its last character, is the sign.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.append(0, ends + 1)
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes))))
    if not ((codes >= 0) & (codes < 64) & (shifts <= _MAX_SHIFT)).all():
        raise DatasetError(f"{where}: the compressed run lengths are damaged; mend or remove the annotation")
    if starts[-1] < len(codes):
        raise DatasetError(f"{where}: the compressed run lengths end early; mend or remove the annotation")
    if not len(codes):
        return []
    counts = np.add.reduceat((codes & 31) << shifts, starts[:-1])
    counts -= (codes[ends] & 16) << (shifts[ends] + 1)
    counts[1::2], counts[2::2] = np.cumsum(counts[1::2]), np.cumsum(counts[2::2])
    unpacked: list[int] = counts.tolist()
    return unpacked
