"""The map store: attribution maps of millions of pictures in Parquet shards (see `advcam.store.shards`).

The columns behind those that all stores begin with:

    class_names                list          of the C classes in `class_ids`
    scores                     list<float>   class scores of the unperturbed picture
    image_height, image_width  int32         size of the picture in pixels
    maps, maps_shape           binary, list  float16, shape (C, h, w)
    steps, steps_shape         binary, list  float16, shape (C, S, h, w); null unless recorded
    step_scores, step_scores_shape           float32, shape (C, S); null unless recorded

Binary columns hold little-endian numbers in C order, `np.frombuffer(row.maps, "<f2").reshape(row.maps_shape)`
reads them. The schema carries the version of this format as metadata (`advcam_maps`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from advcam.store.places import Place
from advcam.store.shards import Format, ShardStore
from advcam.types import Attribution, FloatArray, checked_stored

_SHAPE = pa.list_(pa.int32())
_COLUMNS = {
    "class_names": pa.list_(pa.string()),
    "scores": pa.list_(pa.float32()),
    "image_height": pa.int32(),
    "image_width": pa.int32(),
    "maps": pa.large_binary(),
    "maps_shape": _SHAPE,
    "steps": pa.large_binary(),
    "steps_shape": _SHAPE,
    "step_scores": pa.large_binary(),
    "step_scores_shape": _SHAPE,
}


@dataclass(frozen=True, eq=False)
class StoredMaps:
    """One row: the maps of a picture and what tells whether they are still valid.

    Args:
        sample_id: Id of the picture in its data set.
        file_bytes: Size of the picture file in bytes, to notice that it was changed.
        attribution: Maps and steps, rounded to float16 by the store; trajectories are not stored.
        step_scores: Score of the class after each step of its climb, (C, S), float32; None unless recorded.
    """

    sample_id: str
    file_bytes: int
    attribution: Attribution
    step_scores: FloatArray | None = None


def _encode(row: StoredMaps) -> dict[str, Any]:
    attribution = row.attribution
    return {
        "sample_id": row.sample_id,
        "file_bytes": row.file_bytes,
        "class_ids": attribution.class_ids,
        "class_names": attribution.class_names,
        "scores": attribution.scores.tolist(),
        "image_height": attribution.image_size[0],
        "image_width": attribution.image_size[1],
        **_pack("maps", attribution.maps, "<f2"),
        **_pack("steps", attribution.steps, "<f2"),
        **_pack("step_scores", row.step_scores, "<f4"),
    }


def _decode(record: Mapping[str, Any]) -> StoredMaps:
    maps = _unpack(record, "maps", "<f2")
    if maps is None:
        raise ValueError("a row without maps")
    attribution = checked_stored(
        Attribution(
            tuple(record["class_ids"]),
            tuple(record["class_names"]),
            maps,
            (record["image_height"], record["image_width"]),
            np.array(record["scores"], dtype=np.float32),
            _unpack(record, "steps", "<f2"),
        )
    )
    step_scores = _unpack(record, "step_scores", "<f4")
    return StoredMaps(record["sample_id"], record["file_bytes"], attribution, step_scores)


def _pack(name: str, array: FloatArray | None, dtype: str) -> dict[str, Any]:
    """An array as a binary column and its shape column."""
    if array is None:
        return {name: None, f"{name}_shape": None}
    return {name: array.astype(dtype).tobytes(), f"{name}_shape": array.shape}


def _unpack(record: Mapping[str, Any], name: str, dtype: str) -> FloatArray | None:
    if record[name] is None:
        return None
    return np.frombuffer(record[name], dtype).reshape(record[f"{name}_shape"]).astype(np.float32)


MAPS = Format("advcam_maps", "2", _COLUMNS, _encode, _decode)
"""The format of the map store."""


class MapStore(ShardStore[StoredMaps]):
    """A folder of maps.

    Args:
        folder: Local, or at a URL; need not exist.

    Raises:
        RunError: The folder is a file.
    """

    def __init__(self, folder: Place) -> None:
        super().__init__(folder, MAPS)
