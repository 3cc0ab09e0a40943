"""The rows of a label table, CSV or Parquet, read one after the other."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from advcam import untrusted
from advcam.errors import DatasetError, one_line

_REQUIRED = ("image", "labels")
_COLUMNS = (*_REQUIRED, "split", "mask", "boxes")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        where: Its place, for errors.
        image: Path of the picture below the root, with `/`.
        labels: Class names as the row lists them, each once.
        split: "all" where the table has no such column.
        mask: Path of the mask below the root, or None.
        boxes: JSON text, or None.
    """

    where: str
    image: str
    labels: tuple[str, ...]
    split: str
    mask: str | None
    boxes: str | None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table.

    Args:
        path: CSV in UTF-8 with a header, or Parquet (`.parquet`), with the columns image and labels and any of
            split, mask and boxes; other columns are not read. Labels are text separated by `;`, in Parquet also a
            list of texts; an empty cell says that the picture shows no class.

    Raises:
        DatasetError: The file is missing or malformed, a column is missing, a cell is of another type, or a row names
            no picture or no split.
    """
    records = _parquet_records(path) if path.suffix == ".parquet" else _csv_records(path)
    return (_read_row(where, record) for where, record in records)


def _read_row(where: str, record: dict[str, Any]) -> Row:
    image, split = _text(where, record, "image"), _text(where, record, "split")
    if image is None:
        raise DatasetError(f"{where}: names no picture; fill in the column image or remove the row")
    if "split" in record and split is None:
        raise DatasetError(f"{where}: {image!r} is in no split; fill in the column split in every row or remove it")
    labels = _labels(where, record)
    mask, boxes = _text(where, record, "mask"), _text(where, record, "boxes")
    return Row(where, PurePosixPath(image).as_posix(), labels, split or "all", mask, boxes)


def _labels(where: str, record: dict[str, Any]) -> tuple[str, ...]:
    cell = record["labels"]
    if not isinstance(cell, list):
        cell = (_text(where, record, "labels") or "").split(";")
    if not all(isinstance(label, str) for label in cell):
        raise DatasetError(f"{where}: labels is {cell!r}; it holds texts, or one text separated by ;")
    return tuple(dict.fromkeys(label.strip() for label in cell if label.strip()))


def _text(where: str, record: dict[str, Any], column: str) -> str | None:
    """A cell without the blanks around it; None where it is empty or the column is missing."""
    cell = record.get(column)
    if cell is not None and not isinstance(cell, str):
        raise DatasetError(f"{where}: {column} is {cell!r}; it holds text; convert the column")
    return cell.strip() or None if cell else None


def _csv_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        untrusted.check_regular(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(untrusted.limited_lines(file), strict=True)
            header = _check_header(path, [column.strip() for column in next(reader, [])])
            for fields in reader:
                where = f"{path}, line {reader.line_num}"
                if fields and len(fields) != len(header):
                    raise DatasetError(
                        f"{where}: {len(fields)} fields, but the header has {len(header)}; separate labels by ; and "
                        "put cells that hold a comma into quotes"
                    )
                if fields:
                    cells = zip(header, fields, strict=True)
                    yield where, {name: cell for name, cell in cells if name in _COLUMNS}
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; save the table as CSV in UTF-8") from error
    except untrusted.LineTooLongError as error:
        raise DatasetError(f"{path} has {error}; save the table as CSV with a line for each picture") from error
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {reader.line_num}: not valid CSV ({one_line(error)}); mend the quotes"
        ) from error


def _parquet_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    try:
        with pq.ParquetFile(path) as table:
            header = _check_header(path, table.schema_arrow.names)
            columns = [name for name in header if name in _COLUMNS]
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=columns):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", record
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _check_header(path: Path, header: list[str]) -> list[str]:
    missing = [column for column in _REQUIRED if column not in header]
    if missing:
        raise DatasetError(
            f"{path} has no column {missing[0]}; it needs image and labels, and may have split, mask and boxes; its "
            f"columns are {', '.join(header) or 'none'}"
        )
    twice = [column for column in _COLUMNS if header.count(column) > 1]
    if twice:
        raise DatasetError(f"{path} has the column {twice[0]} twice; keep one of them")
    return header


def _unreadable(path: Path, error: Exception) -> DatasetError:
    reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
    return DatasetError(f"{path} cannot be read ({reason}); restore the table or check its permissions")
