"""Generated CUB-200-2011: one bird a picture, id tables, boxes, and outlines in the grey levels of five annotators."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from advcam.datasets.synthetic.scenes import Scene, draw_scene
from advcam.datasets.synthetic.writing import write_index_png, write_jpeg, write_lines
from advcam.types import Mask

_FOLDERS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "004.Groove_billed_Ani")


def cub_scenes(pictures: int = 12, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of the generated data set, which has the first four classes of the original.

    Picture n, counted from 1, is `draw_scene(1000 * seed + n, (n % 4,))`. It is 96 x 80 for an odd n, else 80 x 96.
    """
    for number in range(1, pictures + 1):
        folder = _FOLDERS[number % 4]
        size = (96, 80) if number % 2 else (80, 96)
        yield f"{folder}/{folder[4:]}_{number:04d}.jpg", draw_scene(1000 * seed + number, (number % 4,), size)


def write_cub200(root: Path, pictures: int = 12, seed: int = 0) -> None:
    """Write the tables, images and segmentations; every third picture is in `test`, the others in `train`.

    Args:
        root: The folder CUB_200_2011; created.
        pictures: How many.
        seed: Of the scenes.

    Raises:
        RunError: A file cannot be written.
    """
    scenes = dict(enumerate(cub_scenes(pictures, seed), 1))
    for id_, scene in scenes.values():
        write_jpeg(root / "images" / id_, scene.picture)
        write_index_png((root / "segmentations" / id_).with_suffix(".png"), _shares(scene), palette=False)
    numbered: dict[str, Mapping[int, object]] = {
        "images.txt": {number: id_ for number, (id_, _) in scenes.items()},
        "classes.txt": dict(enumerate(_FOLDERS, 1)),
        "image_class_labels.txt": {number: int(id_[:3]) for number, (id_, _) in scenes.items()},
        "train_test_split.txt": {number: int(number % 3 > 0) for number in scenes},
        "bounding_boxes.txt": {number: _bounds(scene) for number, (_, scene) in scenes.items()},
    }
    for name, table in numbered.items():
        write_lines(root / name, [f"{number} {value}" for number, value in table.items()])


def _bounds(scene: Scene) -> str:
    """X, y, width and height, written as the original does."""
    box = scene.instances[0].box
    return f"{box.x0:.1f} {box.y0:.1f} {box.x1 - box.x0:.1f} {box.y1 - box.y0:.1f}"


def _shares(scene: Scene) -> Mask:
    """(H, W): 255 and, near the outline, 204 and 153 on the bird; 102 and 51 just beside it."""
    bird = (scene.label_mask > 0).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    outer = sum(cv2.dilate(bird, kernel, iterations=steps).astype(np.int32) for steps in (1, 2))
    inner = sum(cv2.erode(bird, kernel, iterations=steps).astype(np.int32) for steps in (1, 2))
    return np.asarray(51 * (outer + bird + inner), dtype=np.int32)
