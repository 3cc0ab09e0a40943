"""Generated own data: a folder for each class, or a table of labels, with masks and boxes."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from advcam.datasets.synthetic.scenes import Scene, draw_scene
from advcam.datasets.synthetic.writing import write_bytes, write_index_png, write_jpeg
from advcam.errors import SettingError
from advcam.types import Box

#: Named after the shape of the class; sorted, so that they need no classes.txt.
SHAPE_CLASSES = ("ellipse", "rectangle", "triangle", "wheel")


def folder_scenes(pictures: int = 12, seed: int = 0, splits: bool = True) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of `write_class_folders`.

    Picture n, counted from 1, is `draw_scene(1000 * seed + n, (n % 4,))`, 96 x 80 for an odd n, else 80 x 96. Every
    third one is in val, the others in train.
    """
    for number in range(1, pictures + 1):
        parent = ("train/" if number % 3 else "val/") if splits else ""
        size = (96, 80) if number % 2 else (80, 96)
        yield f"{parent}{SHAPE_CLASSES[number % 4]}/{number}.jpg", draw_scene(1000 * seed + number, (number % 4,), size)


def table_scenes(pictures: int = 12, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of `write_label_table`.

    Picture n, counted from 1, is `draw_scene(1000 * seed + n, classes)`: the class n % 4 where n % 5 is not 0, the next
    one where n % 3 is 0, so that some pictures show two classes and some none.
    """
    for number in range(1, pictures + 1):
        classes = (number % 4,) * (number % 5 > 0) + ((number + 1) % 4,) * (number % 3 == 0)
        yield f"pictures/{number}.jpg", draw_scene(1000 * seed + number, classes)


def write_class_folders(root: Path, pictures: int = 12, seed: int = 0, splits: bool = True) -> None:
    """Write ROOT/train/CLASS/n.jpg and ROOT/val/CLASS/n.jpg, and masks under ROOT/masks.

    Args:
        root: Created.
        pictures: How many.
        seed: Of the scenes.
        splits: False leaves out the level of train and val.

    Raises:
        RunError: A file cannot be written.
    """
    for id_, scene in folder_scenes(pictures, seed, splits):
        write_jpeg(root / id_, scene.picture)
        write_index_png((root / "masks" / id_).with_suffix(".png"), scene.label_mask)


def write_label_table(root: Path, pictures: int = 12, seed: int = 0, kind: str = "csv") -> None:
    """Write ROOT/labels.csv or labels.parquet with all columns, the pictures, and masks under ROOT/truth.

    Every third picture is in val, the others in train.

    Args:
        root: Created.
        pictures: How many.
        seed: Of the scenes.
        kind: "csv" or "parquet".

    Raises:
        SettingError: `kind` is neither of the two words.
        RunError: A file cannot be written.
    """
    if kind not in ("csv", "parquet"):
        raise SettingError(f'a table of labels is "csv" or "parquet", not {kind!r}')
    rows = []
    for number, (id_, scene) in enumerate(table_scenes(pictures, seed), 1):
        mask = f"truth/{PurePosixPath(id_).stem}.png"
        write_jpeg(root / id_, scene.picture)
        write_index_png(root / mask, scene.label_mask)
        labels = [SHAPE_CLASSES[class_id] for class_id in scene.class_ids]
        boxes = json.dumps([_entry(instance.box) for instance in scene.instances])
        split = "train" if number % 3 else "val"
        rows.append({"image": id_, "labels": labels, "split": split, "mask": mask, "boxes": boxes})
    write_bytes(root / f"labels.{kind}", _csv(rows) if kind == "csv" else _parquet(rows))


def _entry(box: Box) -> list[str | int]:
    return [SHAPE_CLASSES[box.class_id], box.x0, box.y0, box.x1, box.y1]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ("image", "labels", "split", "mask", "boxes"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"labels": ";".join(row["labels"])} for row in rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    texts = [(name, pa.string()) for name in ("image", "split", "mask", "boxes")]
    schema = pa.schema([*texts, ("labels", pa.list_(pa.string()))])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue()
