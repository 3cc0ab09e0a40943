"""The map store: attribution maps of millions of pictures in Parquet, with memory for a few rows.

A store is a folder of immutable shards `part-<n>.parquet`, a row a picture, compressed with zstd. If a
picture occurs in several shards, the one with the highest number counts. The columns:

    sample_id                  string        id of the picture in its data set
    file_bytes                 int64         size of the picture file when it was explained
    class_ids, class_names     lists         the C classes
    scores                     list<float>   class scores of the unperturbed picture
    image_height, image_width  int32         size of the picture in pixels
    maps, maps_shape           binary, list  float16, shape (C, h, w)
    steps, steps_shape         binary, list  float16, shape (C, S, h, w); null unless recorded
    step_scores, step_scores_shape           float32, shape (C, S); null unless recorded

Binary columns hold little-endian numbers in C order, `np.frombuffer(row.maps, "<f2").reshape(row.maps_shape)`
reads them. The schema carries the version of this format as metadata (`advcam_maps`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from advcam.errors import RunError, one_line
from advcam.store.files import remove_leftovers, replacing
from advcam.types import Attribution, FloatArray

FORMAT_VERSION = "1"
_VERSION_KEY = b"advcam_maps"
_ROW_GROUP = 8  # rows decoded at once, which bounds the memory of reading
_SHARD_NAME = re.compile(r"part-(\d+)\.parquet")
_SHAPE = pa.list_(pa.int32())
_SCHEMA = pa.schema(
    {
        "sample_id": pa.string(),
        "file_bytes": pa.int64(),
        "class_ids": pa.list_(pa.int32()),
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
    },
    metadata={_VERSION_KEY: FORMAT_VERSION.encode()},
)


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


@dataclass(frozen=True, slots=True)
class RowKey:
    """What a stored row was computed for.

    Args:
        file_bytes: Size of the picture file in bytes.
        class_ids: The classes that have maps.
    """

    file_bytes: int
    class_ids: tuple[int, ...]


class MapStore:
    """A folder of maps that is appended to by one process at a time and can be read meanwhile.

    As a context manager it writes the pending rows on exit, also when the block ends in an error or an
    interrupt. Reading writes them first, too, so what was appended is always seen.

    Args:
        folder: Need not exist.
        shard_rows: Rows in memory before they are written as one shard.

    Raises:
        RunError: The folder is a file.
    """

    def __init__(self, folder: Path, shard_rows: int = 64) -> None:
        if folder.exists() and not folder.is_dir():
            raise RunError(f"maps need a folder, but {folder} is a file; choose another --out")
        self.folder = folder
        self.shard_rows = shard_rows
        self._pending: dict[str, StoredMaps] = {}
        self._shard_of: dict[str, Path] | None = None
        remove_leftovers(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def append(self, row: StoredMaps) -> None:
        """Add a picture, or newer maps of one.

        Raises:
            RunError: A shard was due and cannot be written.
        """
        self._pending.pop(row.sample_id, None)
        self._pending[row.sample_id] = row
        if len(self._pending) >= self.shard_rows:
            self.flush()

    def flush(self) -> None:
        """Write the pending rows as one new shard; does nothing if there are none.

        Raises:
            RunError: The shard cannot be written; the rows stay pending.
        """
        if not self._pending:
            return
        table = pa.Table.from_pylist([_encode(row) for row in self._pending.values()], schema=_SCHEMA)
        number = max((_number(shard) for shard in self._shards()), default=-1) + 1
        with replacing(self.folder / f"part-{number:06d}.parquet") as file:
            pq.write_table(
                table,
                file,
                row_group_size=_ROW_GROUP,
                compression="zstd",
                use_dictionary=False,
                write_statistics=["sample_id"],
                write_page_checksum=True,
            )
        self._pending.clear()
        self._shard_of = None

    def __iter__(self) -> Iterator[StoredMaps]:
        """Every picture once, newest shard first; memory for a few rows, and for the ids.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        self.flush()
        seen: set[str] = set()
        for shard in reversed(self._shards()):
            with _reading(shard) as file:
                for group in range(file.num_row_groups):
                    for record in file.read_row_group(group).to_pylist():
                        if record["sample_id"] not in seen:
                            seen.add(record["sample_id"])
                            yield _decode(record)

    def index(self) -> dict[str, RowKey]:
        """What is stored, by sample id; reads the light columns only.

        Raises:
            RunError: A shard is damaged or of an unknown format version.
        """
        self.flush()
        index: dict[str, RowKey] = {}
        for shard in self._shards():
            with _reading(shard) as file:
                columns = file.read(columns=["sample_id", "file_bytes", "class_ids"]).to_pydict()
                keys = map(RowKey, columns["file_bytes"], map(tuple, columns["class_ids"]))
                index.update(zip(columns["sample_id"], keys, strict=True))
        return index

    def get(self, sample_id: str) -> StoredMaps:
        """The newest row of one picture.

        Raises:
            RunError: There is none, or a shard is damaged or of an unknown format version.
        """
        self.flush()
        if self._shard_of is None:
            self._shard_of = self._locate()
        if sample_id not in self._shard_of:
            raise RunError(f"{self.folder} holds no maps of {sample_id}; run the command that makes them first")
        with _reading(self._shard_of[sample_id]) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["sample_id"])["sample_id"].to_pylist()
                if sample_id in ids:
                    row = file.read_row_group(group).slice(ids.index(sample_id), 1)
                    return _decode(row.to_pylist()[0])
            raise KeyError(sample_id)

    def _locate(self) -> dict[str, Path]:
        """The newest shard of each sample."""
        located: dict[str, Path] = {}
        for shard in self._shards():
            with _reading(shard) as file:
                located.update(dict.fromkeys(file.read(columns=["sample_id"])["sample_id"].to_pylist(), shard))
        return located

    def _shards(self) -> list[Path]:
        """The shards, oldest first."""
        try:
            files = list(self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(
                f"{self.folder} cannot be listed ({error.strerror}); change its permissions or choose another --out"
            ) from error
        return sorted((path for path in files if _SHARD_NAME.fullmatch(path.name)), key=_number)


def _number(shard: Path) -> int:
    return int(shard.stem.removeprefix("part-"))


@contextmanager
def _reading(shard: Path) -> Iterator[Any]:
    """The shard as an open `pyarrow.parquet.ParquetFile` of a known version; any failure is a `RunError`."""
    try:
        with pq.ParquetFile(shard, page_checksum_verification=True) as file:
            version = (file.schema_arrow.metadata or {}).get(_VERSION_KEY, b"unknown").decode()
            if version != FORMAT_VERSION:
                raise RunError(
                    f"{shard} has map format {version}, but this version of advcam reads format "
                    f"{FORMAT_VERSION}; use the version that wrote it or choose another --out"
                )
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk; pyarrow reports damage without a number
            raise RunError(
                f"{shard} cannot be read ({error.strerror}); change its permissions or mend the disk, then "
                "run the same command again"
            ) from error
        raise RunError(f"{shard} is damaged ({one_line(error)}); delete it and run the same command again") from error


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


def _decode(record: dict[str, Any]) -> StoredMaps:
    maps = _unpack(record, "maps", "<f2")
    if maps is None:
        raise ValueError("a row without maps")
    attribution = Attribution(
        tuple(record["class_ids"]),
        tuple(record["class_names"]),
        maps,
        (record["image_height"], record["image_width"]),
        np.array(record["scores"], dtype=np.float32),
        _unpack(record, "steps", "<f2"),
    )
    step_scores = _unpack(record, "step_scores", "<f4")
    return StoredMaps(record["sample_id"], record["file_bytes"], attribution, step_scores)


def _pack(name: str, array: FloatArray | None, dtype: str) -> dict[str, Any]:
    """An array as a binary column and its shape column."""
    if array is None:
        return {name: None, f"{name}_shape": None}
    return {name: array.astype(dtype).tobytes(), f"{name}_shape": array.shape}


def _unpack(record: dict[str, Any], name: str, dtype: str) -> FloatArray | None:
    if record[name] is None:
        return None
    return np.frombuffer(record[name], dtype).reshape(record[f"{name}_shape"]).astype(np.float32)
