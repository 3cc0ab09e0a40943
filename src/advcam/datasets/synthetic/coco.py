"""Generated COCO instances: pictures and a JSON, as in the downloads of 2014 and 2017."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from advcam.datasets.synthetic.scenes import Instance, Scene, draw_scene
from advcam.datasets.synthetic.writing import write_jpeg, write_lines

#: Category ids and names of the generated classes: genuine ones, with gaps as there.
CATEGORIES = {1: "person", 3: "car", 17: "cat", 18: "dog", 44: "bottle", 90: "toothbrush"}
#: Objects of one class in a picture that are annotated as one crowd region instead of one by one.
CROWD = 3


def coco_scenes(pictures: int = 12, seed: int = 0, split: str = "val2017") -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of a generated split.

    Picture n, counted from 0, is `draw_scene(1000 * seed + n, classes)`: no object where n % 6 is 5, else 1, 2 (of
    different classes), 3 (two of one class) or 4 objects (three of one class) as n % 4 is 0, 1, 2 or 3. It is 96 x 80
    for an even n, else 80 x 96.
    """
    for number in range(pictures):
        first, second = number % len(CATEGORIES), (number + 1) % len(CATEGORIES)
        classes = ((first,), (second, first), (second, first, first), (first, first, second, first))[number % 4]
        size = (80, 96) if number % 2 else (96, 80)
        scene = draw_scene(1000 * seed + number, () if number % 6 == 5 else classes, size)
        yield f"{split}/{_file_name(split, number)}", scene


def write_coco(root: Path, pictures: int = 12, seed: int = 0, split: str = "val2017") -> None:
    """Write ROOT/annotations/instances_SPLIT.json and ROOT/SPLIT/*.jpg.

    Masks and boxes are those of the scenes to the pixel: an object that is a whole rectangle is a polygon, which on
    whole pixels is exact; every other one is in run lengths, compressed and not in turn (genuine files keep polygons,
    which round its outline). Three or more objects of a class in a picture are one crowd region.

    Args:
        root: The folder above `annotations`; created.
        pictures: How many.
        seed: Of the scenes.
        split: Name of the split; call again with another one to add it.

    Raises:
        RunError: A file cannot be written.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (id_, scene) in enumerate(coco_scenes(pictures, seed, split)):
        image_id = _image_id(number)
        write_jpeg(root / id_, scene.picture)
        images.append(
            {
                "license": 1,
                "file_name": _file_name(split, number),
                "height": scene.picture.height,
                "width": scene.picture.width,
                "date_captured": "2013-11-14 00:00:00",
                "id": image_id,
            }
        )
        for annotation in _annotate(scene):
            annotations.append({**annotation, "image_id": image_id, "id": 1000 + 7 * len(annotations)})
    content = {
        "info": {"description": "generated", "version": "1.0", "year": 2017},
        "licenses": [{"id": 1, "name": "generated", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [{"supercategory": "thing", "id": id_, "name": name} for id_, name in CATEGORIES.items()],
    }
    write_lines(root / "annotations" / f"instances_{split}.json", [json.dumps(content)])


def _image_id(number: int) -> int:
    """Ids of pictures have gaps, as in the genuine files."""
    return 139 + 146 * number


def _file_name(split: str, number: int) -> str:
    """The years 2014 and 2017 name their files differently."""
    prefix = f"COCO_{split}_" if split.endswith("2014") else ""
    return f"{prefix}{_image_id(number):012d}.jpg"


def _annotate(scene: Scene) -> Iterator[dict[str, Any]]:
    """Annotations of a scene: crowd regions, then single objects."""
    times = Counter(instance.class_id for instance in scene.instances)
    crowds = [class_id for class_id, count in times.items() if count >= CROWD]
    for class_id in crowds:
        pixels = np.any([item.pixels for item in scene.instances if item.class_id == class_id], axis=0)
        yield _annotation(Instance(class_id, pixels), _runs(pixels), crowd=True)
    singles = [instance for instance in scene.instances if instance.class_id not in crowds]
    for number, instance in enumerate(singles):
        yield _annotation(instance, _segment(instance, compressed=number % 2 == 0), crowd=False)


def _annotation(instance: Instance, segmentation: object, crowd: bool) -> dict[str, Any]:
    box = instance.box
    return {
        "segmentation": segmentation,
        "area": float(instance.pixels.sum()),
        "iscrowd": int(crowd),
        "bbox": [float(side) for side in (box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0)],
        "category_id": list(CATEGORIES)[instance.class_id],
    }


def _segment(instance: Instance, compressed: bool) -> object:
    """A polygon for a whole rectangle, run lengths for any other shape."""
    box = instance.box
    if instance.pixels[box.y0 : box.y1, box.x0 : box.x1].all():
        return [[float(v) for v in (box.x0, box.y0, box.x1, box.y0, box.x1, box.y1, box.x0, box.y1)]]
    return _compressed_runs(instance.pixels) if compressed else _runs(instance.pixels)


def _runs(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    """Lengths of the runs of 0 and 1 in turn, column by column."""
    flat = np.concatenate([[False], pixels.flatten(order="F")])
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]), [pixels.size]])
    return {"size": list(pixels.shape), "counts": [int(count) for count in np.diff(starts)]}


def _compressed_runs(pixels: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(pixels, dtype=np.uint8))
    return {"size": list(pixels.shape), "counts": encoded["counts"].decode("ascii")}
