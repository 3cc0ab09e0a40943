"""The store of predictions: what is known of a picture beside the mask that a segmentation network made of it.

The columns behind those that all stores begin with (see `advcam.store.shards`), where `class_ids` are the classes that
the picture might show:

    image_height, image_width  int32         size of the picture in pixels
    mask                       string        digest of the mask, to notice that its file is another
    classes                    list<struct>  class_id, pixels, share, confidence of each class in the mask
    boxes                      list<struct>  class_id, x0, y0, x1, y1, score; 0-based, half open, in pixels

The schema carries the version of this format as metadata (`advcam_predictions`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from advcam.store.places import Place
from advcam.store.shards import Format, ShardStore
from advcam.types import Box

_AREA = {"class_id": pa.int32(), "pixels": pa.int64(), "share": pa.float64(), "confidence": pa.float64()}
_BOX = {"class_id": pa.int32(), **dict.fromkeys(("x0", "y0", "x1", "y1"), pa.int32()), "score": pa.float64()}
_COLUMNS = {
    "image_height": pa.int32(),
    "image_width": pa.int32(),
    "mask": pa.string(),
    "classes": pa.list_(pa.struct(list(_AREA.items()))),
    "boxes": pa.list_(pa.struct(list(_BOX.items()))),
}


@dataclass(frozen=True)
class ClassArea:
    """A class in a mask.

    Args:
        class_id: Counted from 0.
        pixels: Of the class.
        share: Of the picture, in (0, 1].
        confidence: Mean probability over its pixels, in [0, 1].
    """

    class_id: int
    pixels: int
    share: float
    confidence: float


@dataclass(frozen=True)
class StoredPrediction:
    """One row: what is known of a picture, and what tells whether that is still valid.

    Args:
        sample_id: Id of the picture.
        file_bytes: Size of the picture file in bytes, to notice that it was changed.
        class_ids: Classes that it might show, counted from 0; None: all.
        image_size: Height and width in pixels.
        mask: See `mask_digest`.
        classes: Those in the mask.
        boxes: Around the connected parts of each class, the largest first.
    """

    sample_id: str
    file_bytes: int
    class_ids: tuple[int, ...] | None
    image_size: tuple[int, int]
    mask: str
    classes: tuple[ClassArea, ...]
    boxes: tuple[Box, ...]


def mask_digest(mask: NDArray[np.integer]) -> str:
    """Equal for equal masks (H, W) of class numbers."""
    size = np.array(mask.shape, dtype="<u4").tobytes()
    return hashlib.blake2b(size + mask.astype("<u2").tobytes(), digest_size=16).hexdigest()


def _encode(row: StoredPrediction) -> dict[str, Any]:
    return {
        "sample_id": row.sample_id,
        "file_bytes": row.file_bytes,
        "class_ids": row.class_ids,
        "image_height": row.image_size[0],
        "image_width": row.image_size[1],
        "mask": row.mask,
        "classes": [asdict(one) for one in row.classes],
        "boxes": [asdict(one) for one in row.boxes],
    }


def _decode(record: Mapping[str, Any]) -> StoredPrediction:
    class_ids = record["class_ids"]
    return StoredPrediction(
        record["sample_id"],
        record["file_bytes"],
        None if class_ids is None else tuple(class_ids),
        (record["image_height"], record["image_width"]),
        record["mask"],
        tuple(ClassArea(**one) for one in record["classes"]),
        tuple(Box(**one) for one in record["boxes"]),
    )


PREDICTIONS = Format("advcam_predictions", "1", _COLUMNS, _encode, _decode)
"""The format of the store."""


class PredictionStore(ShardStore[StoredPrediction]):
    """A folder of predictions.

    Args:
        folder: Local, or at a URL; need not exist.

    Raises:
        RunError: The folder is a file.
    """

    def __init__(self, folder: Place) -> None:
        super().__init__(folder, PREDICTIONS)
