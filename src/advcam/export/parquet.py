"""Masks and objects as one Parquet table, for pandas, DuckDB, Polars, Spark and Hugging Face datasets.

`masks.parquet`, a row a picture:

    id             string        path of the picture
    name           string        of its files in other exports
    height, width  int32         in pixels
    mask           binary        PNG: 0 background, class numbers, 255 undecided
    labels         list<string>  classes that it is known to show
    objects        list<struct>  the largest of a class first:
                   class         string
                   number        int32: of the class in the mask
                   box           list<int32>: x0, y0, x1, y1, half open
                   counts        string: run lengths of its pixels as COCO compresses them, of size (height, width)
                   score         double, 0 to 1

and beside it `classes.json`, `{"1": "cat"}`, which name each number has. The schema carries the version of this format
as metadata (`advcam_masks`). Specification of tables: parquet.apache.org; of run lengths: pycocotools.
"""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from advcam.errors import DatasetError, PictureError, one_line
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.class_names import check_named, read_class_names, write_class_names
from advcam.export.format import Format, Writer
from advcam.store.masks import mask_bytes, parse_mask, run_lengths
from advcam.types import Instance
from advcam.untrusted import check_regular

MASKS = "masks.parquet"
_VERSION = "1"
_OBJECT = {
    "class": pa.string(),
    "number": pa.int32(),
    "box": pa.list_(pa.int32()),
    "counts": pa.string(),
    "score": pa.float64(),
}
_COLUMNS = {
    "id": pa.string(),
    "name": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "mask": pa.binary(),
    "labels": pa.list_(pa.string()),
    "objects": pa.list_(pa.struct(list(_OBJECT.items()))),
}
_ROWS = 256  # that are kept in memory, and read at once


class ParquetWriter(Writer):
    """Writes the table, some hundred rows at a time."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        self._rows: list[dict[str, Any]] = []
        self._schema = pa.schema(list(_COLUMNS.items()), metadata={"advcam_masks": _VERSION})
        self._table = pq.ParquetWriter(folder / MASKS, self._schema, compression="zstd")

    def add(self, picture: AnnotatedPicture) -> None:
        """One row."""
        height, width = picture.size
        self._rows.append(
            {
                "id": picture.id,
                "name": picture.name,
                "height": height,
                "width": width,
                "mask": mask_bytes(picture.mask),
                "labels": [self.classes[number] for number in picture.labels],
                "objects": [self._object(one) for one in picture.objects],
            }
        )
        if len(self._rows) == _ROWS:
            self._flush()

    def finish(self) -> None:
        """The last rows, and the names of the classes."""
        self._flush()
        write_class_names(self.folder, self.classes)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._table.close()

    def _flush(self) -> None:
        self._table.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def _object(self, one: Instance) -> dict[str, Any]:
        x, y, width, height = cv2.boundingRect(one.mask.astype(np.uint8))
        number = one.class_id + 1
        return {
            "class": self.classes[number],
            "number": number,
            "box": [x, y, x + width, y + height],
            "counts": run_lengths(one.mask)["counts"],
            "score": one.score,
        }


class Parquet(Format):
    """One table."""

    name = "parquet"
    title = "Parquet"
    summary = "pandas, DuckDB, Polars, Spark, Hugging Face datasets: one table, masks as PNG inside"

    def writer(self, folder: Path, classes: Classes) -> ParquetWriter:
        """What writes the table."""
        return ParquetWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """The masks of the column `mask`; the other columns, but for `id`, are not looked at.

        Args:
            folder: Of the export, or the table in it; `classes.json` lies beside.
            classes: Not needed.
        """
        path = folder / MASKS if folder.is_dir() else folder
        names = read_class_names(path.parent)
        for id_, content in _rows_of(path):
            where = f"the mask of {id_} in {path}"
            try:
                mask = parse_mask(BytesIO(content), where)
            except PictureError as error:
                raise DatasetError(str(error)) from error
            check_named(mask, names, where)
            yield ImportedMask(id_, mask, names)


def _rows_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Id and mask of each row."""
    try:
        check_regular(path)
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_ROWS, columns=["id", "mask"]):
                yield from map(_row, batch.to_pylist())
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DatasetError(
            f"{path} cannot be read as a table with the columns id and mask ({one_line(error)}); name the folder of "
            "an export in the format parquet, or its table"
        ) from error


def _row(row: Mapping[str, Any]) -> tuple[str, bytes]:
    id_, mask = row.get("id"), row.get("mask")
    if isinstance(mask, dict):  # as Hugging Face datasets writes pictures
        mask = mask.get("bytes")
    if not isinstance(id_, str) or not isinstance(mask, bytes):
        raise ValueError("a row without a text as id or without bytes as mask")
    return id_, mask
