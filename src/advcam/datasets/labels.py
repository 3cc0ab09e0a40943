"""Labels of pictures: from the names of their folders, from a CSV table, or left to the classifier.

The table has a header with the columns `image` and `labels`; several labels are separated by `;`, and an
empty cell says that the picture shows no class:

    image,labels
    a/cat.jpg,cat;sofa
    street.jpg,
"""

import csv
import io
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from advcam import untrusted
from advcam.datasets.pictures import absolute
from advcam.errors import LabelError, one_line
from advcam.types import Sample

Labels = tuple[str, ...]
_NAMED_IN_WARNING = 5


@dataclass(frozen=True)
class LabelledSamples:
    """Samples with their labels, and what did not work out.

    Args:
        samples: Ready to be explained, in the order given; `labels` is None where the classifier decides.
        unlabelled: Samples that the table has no row for, to be reported as skipped.
        warnings: One line each.
        lines: Of the table, in which the labels of a picture stand, by its id; counted from 1.
    """

    samples: tuple[Sample, ...]
    unlabelled: tuple[Sample, ...] = ()
    warnings: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    labels: Labels
    line: int


def read_label_table(path: Path) -> dict[str, Labels]:
    """Read a CSV of labels.

    Args:
        path: CSV in UTF-8 (with or without byte order mark) with the columns `image` and `labels`.

    Returns:
        Labels by picture as the table writes it, each label once, in the order of the rows.

    Raises:
        LabelError: The file is missing, empty, not UTF-8, malformed, or contradicts itself.
    """
    return {image: row.labels for image, row in _read_rows(path).items()}


def _read_rows(path: Path) -> dict[str, _Row]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if not {"image", "labels"} <= set(header):
            raise LabelError(f"{path} needs the columns image,labels in its first line; it has {','.join(header)}")
        if header.count("image") > 1 or header.count("labels") > 1:
            raise LabelError(f"{path} has a column twice ({','.join(header)}); keep one column image and one labels")
        table: dict[str, _Row] = {}
        for row in reader:
            if row:
                _add_row(table, header, row, path, reader.line_num)
    except csv.Error as error:
        raise LabelError(
            f"{path}, line {reader.line_num}: not valid CSV ({one_line(error)}); mend the quotes of the line"
        ) from error
    return table


def label_samples(samples: Sequence[Sample], source: str | Path) -> LabelledSamples:
    """Give every sample its labels.

    Args:
        samples: As `find_pictures` returns them.
        source: "folders" takes the name of the folder that a picture lies in, "predicted" leaves the labels
            to the classifier, anything else is the path of a CSV (see `read_label_table`). A row of it names
            a picture by id, by path (absolute, or relative to the working directory or to the CSV), by file
            name, or by file name without extension; the first of these that fits counts.

    Raises:
        LabelError: The table cannot be read, a row fits several pictures, or two rows contradict each other.
    """
    if source == "predicted":
        return LabelledSamples(tuple(replace(sample, labels=None) for sample in samples))
    if source == "folders":
        return LabelledSamples(tuple(replace(sample, labels=(_folder(sample),)) for sample in samples))
    return _label_from_table(samples, Path(source))


def _read_text(path: Path) -> str:
    try:
        text = untrusted.read_text(path)
    except FileNotFoundError as error:
        raise LabelError(
            f'{path} does not exist; labels come from "folders", "predicted" or the path of a CSV file'
        ) from error
    except OSError as error:
        raise LabelError(f"{path} cannot be read ({error.strerror}); name a readable CSV file") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise LabelError(f"{path}, line {line}: not UTF-8 text; save the file as CSV in UTF-8") from error
    except ValueError as error:
        raise LabelError(f"{path} has {error}; split the table") from error
    if not text.strip():
        raise LabelError(f"{path} is empty; it needs the header image,labels and a row a picture")
    return text


def _add_row(table: dict[str, _Row], header: list[str], row: list[str], path: Path, line: int) -> None:
    where = f"{path}, line {line}"
    if len(row) != len(header):
        raise LabelError(
            f"{where}: {len(row)} fields, but the header has {len(header)}; separate labels by ; and put "
            "names that hold a comma into quotes"
        )
    fields = dict(zip(header, row, strict=True))
    image = fields["image"].strip()
    if not image:
        raise LabelError(f"{where}: names no picture; fill in the column image or remove the line")
    labels = tuple(dict.fromkeys(label.strip() for label in fields["labels"].split(";") if label.strip()))
    if set(table.setdefault(image, _Row(labels, line)).labels) != set(labels):
        raise LabelError(f"{where}: {image} is listed before with other labels; keep one of the lines")


def _folder(sample: Sample) -> str:
    """Name of the folder that holds a picture, the real one at the top level of the data set."""
    name = PurePath(sample.id).parent.name or sample.path.parent.resolve().name
    if not name:
        raise LabelError(f"{sample.path} lies in no folder that could be its label; give the labels as CSV")
    return name


def _label_from_table(samples: Sequence[Sample], path: Path) -> LabelledSamples:
    """Match rows to samples, one way of naming a picture after the other."""
    rows = _read_rows(path)
    ways: list[tuple[Callable[[Sample], str], Callable[[str], str]]] = [
        (lambda sample: sample.id, lambda row: row),
        (lambda sample: str(absolute(sample.path)), lambda row: str(absolute(Path(row)))),
        (lambda sample: str(absolute(sample.path)), lambda row: str(absolute(path.parent / row))),
        (lambda sample: sample.path.name, lambda row: row),
        (lambda sample: sample.path.stem, lambda row: row),
    ]
    found: dict[str, _Row] = {}
    for sample_key, row_key in ways:
        unmatched = {}
        pictures = _group(samples, sample_key) if rows else {}
        for image, row in rows.items():
            fits = pictures.get(_normal(row_key(PurePath(image).as_posix())), [])
            if not fits:
                unmatched[image] = row
                continue
            sample = _only(fits, image, path)
            if set(found.setdefault(sample.id, row).labels) != set(row.labels):
                raise LabelError(f"{path}: two rows give {sample.id} different labels; keep one of them")
        rows = unmatched
    labelled = tuple(replace(s, labels=found[s.id].labels) for s in samples if s.id in found)
    unlabelled = tuple(s for s in samples if s.id not in found)
    lines = {id_: row.line for id_, row in found.items()}
    return LabelledSamples(labelled, unlabelled, _warn(list(rows), path), lines)


def _group(samples: Sequence[Sample], key: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    groups = defaultdict(list)
    for sample in samples:
        groups[_normal(key(sample))].append(sample)
    return groups


def _normal(name: str) -> str:
    """One spelling of accented letters: macOS takes them apart in file names, editors do not."""
    return unicodedata.normalize("NFC", name)


def _only(fits: list[Sample], row: str, path: Path) -> Sample:
    if len(fits) > 1:
        named = ", ".join(sample.id for sample in fits[:2]) + ", .." * (len(fits) > 2)
        raise LabelError(
            f"{path}: {row} fits {len(fits)} pictures ({named}); "
            f"write the path relative to the root, such as {fits[0].id}"
        )
    return fits[0]


def _warn(rows: list[str], path: Path) -> tuple[str, ...]:
    if not rows:
        return ()
    named = ", ".join(rows[:_NAMED_IN_WARNING]) + ", .." * (len(rows) > _NAMED_IN_WARNING)
    return (f"{path}: no picture for {len(rows)} row{'s' * (len(rows) > 1)}: {named}",)
