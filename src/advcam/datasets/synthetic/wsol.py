"""Generated WSOL benchmark: pictures and metadata in the format of clovaai/wsolevaluation, with boxes or with masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from advcam.datasets.synthetic.scenes import Instance, Scene, draw_scene
from advcam.datasets.synthetic.writing import write_index_png, write_jpeg, write_lines

#: Number of generated classes, one for each shape.
CLASSES = 4
_SPLITS = ("train", "val", "test")
_Lists = dict[str, list[str]]


def wsol_scenes(split: str, pictures: int = 8, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of a generated split.

    Picture n, counted from 0, shows one object of class n % 4, or two of it where n % 3 is 0; it is
    `draw_scene(1000 * seed + 300 * k + n, classes)` with k = 0, 1, 2 for train, val, test.
    """
    for number in range(pictures):
        class_id, first = number % CLASSES, 1000 * seed + 300 * _SPLITS.index(split)
        classes = (class_id,) * (2 if number % 3 == 0 else 1)
        yield f"{split}/{class_id}/{number:04d}.jpg", draw_scene(first + number, classes)


def write_wsol(
    root: Path, pictures: int = 8, seed: int = 0, truth: Literal["boxes", "masks"] = "boxes", name: str = "SHAPES"
) -> None:
    """Write ROOT/metadata/NAME/{train,val,test}/*.txt and the pictures in ROOT/dataset/NAME.

    train has class labels only, and a proxy list of every second picture. With masks, there are no image sizes (as in
    OpenImages30k), masks lie beside the pictures, and the last of two objects has no mask: its box is the ignore region
    (that is empty where there is one object only).

    Args:
        root: The folder above `metadata` and `dataset`; created.
        pictures: How many in each split, 300 at most.
        seed: Of the scenes.
        truth: What val and test are annotated with.
        name: Of the data set.

    Raises:
        RunError: A file cannot be written.
    """
    home = root / "dataset" / name
    for split in _SPLITS:
        lists: _Lists = {"image_ids": [], "class_labels": []}
        for id_, scene in wsol_scenes(split, pictures, seed):
            write_jpeg(home / id_, scene.picture)
            lists["image_ids"].append(id_)
            lists["class_labels"].append(f"{id_},{scene.class_ids[0]}")
            if truth == "boxes":
                lists.setdefault("image_sizes", []).append(f"{id_},{scene.picture.width},{scene.picture.height}")
            if split != "train":
                lines = _boxes(id_, scene) if truth == "boxes" else _masks(home, id_, scene)
                lists.setdefault("localization", []).extend(lines)
        if split == "train":
            lists["image_ids_proxy"] = lists["image_ids"][::2]
        for kind, lines in lists.items():
            write_lines(root / "metadata" / name / split / f"{kind}.txt", lines)


def ignored_instance(scene: Scene) -> Instance | None:
    """The object that has no mask and whose box is ignored: the last one, where there are several."""
    return scene.instances[-1] if len(scene.instances) > 1 else None


def _boxes(id_: str, scene: Scene) -> list[str]:
    """A line for each box, both corners inside."""
    boxes = [instance.box for instance in scene.instances]
    return [f"{id_},{box.x0},{box.y0},{box.x1 - 1},{box.y1 - 1}" for box in boxes]


def _masks(home: Path, id_: str, scene: Scene) -> list[str]:
    """A line for each mask, the first one with the ignore region; writes the masks."""
    stem, ignored = id_.removesuffix(".jpg"), ignored_instance(scene)
    region = np.zeros((scene.picture.height, scene.picture.width), dtype=np.uint8)
    if ignored is not None:
        region[ignored.box.y0 : ignored.box.y1, ignored.box.x0 : ignored.box.x1] = 255
    write_index_png(home / f"{stem}_ignore.png", region, palette=False)
    lines: list[str] = []
    for number, instance in enumerate(item for item in scene.instances if item is not ignored):
        path = f"{stem}_m{instance.class_id}_{number:08x}.png"
        write_index_png(home / path, instance.pixels * np.uint8(255), palette=False)
        lines.append(f"{id_},{path},{'' if lines else f'{stem}_ignore.png'}")
    return lines
