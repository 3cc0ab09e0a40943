"""Generated PASCAL VOC 2012: pictures, XML, masks with a void border, and lists, as in VOCdevkit/VOC2012."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
from PIL import Image

from advcam.datasets.synthetic.scenes import Instance, Scene, draw_scene
from advcam.datasets.synthetic.writing import write_index_png, write_jpeg, write_lines
from advcam.datasets.voc import VOC_CLASSES
from advcam.types import IGNORE, Box, Mask

#: Aeroplane, cat, person and sofa: one of each shape.
_CLASSES = (0, 7, 14, 17)
_BOTTLE, _PERSON = 4, 14
_TINY_SIDE = 16


def voc_scenes(pictures: int = 12, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of the generated data set.

    Picture n, counted from 1, is 2007_00000n and `draw_scene(1000 * seed + n, classes)`: the class n % 4 of aeroplane,
    cat, person and sofa; the same once more where n % 5 is 0; the next class where n % 3 is not 1. It is 96 x 80 for an
    odd n, else 80 x 96. Where n % 6 is 1, a tiny bottle lies over the top left corner.
    """
    for number in range(1, pictures + 1):
        first, following = (_CLASSES[(number + step) % 4] for step in (0, 1))
        classes = (first,) * (2 if number % 5 == 0 else 1) + (following,) * (number % 3 != 1)
        scene = draw_scene(1000 * seed + number, classes, (96, 80) if number % 2 else (80, 96))
        yield f"2007_{number:06d}", _with_tiny_bottle(scene, seed) if number % 6 == 1 else scene


def write_voc2012(root: Path, pictures: int = 12, seed: int = 0, sbd: bool = False) -> None:
    """Write ROOT/VOCdevkit/VOC2012.

    Every third picture is in `val`, the others in `train`, except those with n % 6 = 5: these are in `trainaug` and in
    the main lists only and have no mask in SegmentationClass. The bottle, and each further object of a class, is
    difficult. A person has a <part>, its head.

    Args:
        root: The folder above VOCdevkit; created.
        pictures: How many.
        seed: Of the scenes.
        sbd: Also write SegmentationClassAug: greyscale, without the void border, for every picture.

    Raises:
        RunError: A file cannot be written.
    """
    home = root / "VOCdevkit" / "VOC2012"
    lists: dict[str, list[str]] = {"train": [], "val": [], "unmasked": []}
    for number, (id_, scene) in enumerate(voc_scenes(pictures, seed), 1):
        role = "val" if number % 3 == 0 else "unmasked" if number % 6 == 5 else "train"
        lists[role].append(id_)
        write_jpeg(home / "JPEGImages" / f"{id_}.jpg", scene.picture)
        write_lines(home / "Annotations" / f"{id_}.xml", [_annotate(id_, scene, segmented=role != "unmasked")])
        if role != "unmasked":
            write_index_png(home / "SegmentationClass" / f"{id_}.png", _with_border(scene.label_mask))
        if sbd:
            write_index_png(home / "SegmentationClassAug" / f"{id_}.png", scene.label_mask, palette=False)
    _write_lists(home / "ImageSets", **lists)


def _write_lists(folder: Path, train: list[str], val: list[str], unmasked: list[str]) -> None:
    widened = sorted(train + unmasked)
    write_lines(folder / "Segmentation" / "train.txt", train)
    write_lines(folder / "Segmentation" / "val.txt", val)
    write_lines(folder / "Segmentation" / "trainval.txt", sorted(train + val))
    write_lines(folder / "Segmentation" / "trainaug.txt", widened)
    write_lines(folder / "Main" / "train.txt", widened)
    write_lines(folder / "Main" / "val.txt", val)
    write_lines(folder / "Main" / "trainval.txt", sorted(widened + val))


def _with_tiny_bottle(scene: Scene, seed: int) -> Scene:
    """The scene with a bottle of a few pixels over its top left corner."""
    patch = draw_scene(seed, (_BOTTLE,), (_TINY_SIDE, _TINY_SIDE))
    stencil = patch.instances[0].pixels
    covered = np.zeros_like(scene.instances[0].pixels)
    covered[:_TINY_SIDE, :_TINY_SIDE] = stencil
    pixels = np.array(scene.picture)
    pixels[covered] = np.asarray(patch.picture)[stencil]
    rest = [Instance(instance.class_id, instance.pixels & ~covered) for instance in scene.instances]
    visible = [instance for instance in rest if instance.pixels.any()]
    return Scene(Image.fromarray(pixels), (*visible, Instance(_BOTTLE, covered)))


def _with_border(mask: Mask) -> Mask:
    """The mask with 255 on the background pixels that touch an object."""
    objects = (mask > 0).astype(np.uint8)
    border = (cv2.dilate(objects, np.ones((3, 3), np.uint8)) > 0) & (mask == 0)
    return np.where(border, IGNORE, mask).astype(np.int32)


def _annotate(id_: str, scene: Scene, segmented: bool) -> str:
    """The XML of a picture, indented by tabs as the original."""
    annotation = ET.Element("annotation")
    _add(annotation, folder="VOC2012", filename=f"{id_}.jpg")
    _add(ET.SubElement(annotation, "source"), database="generated scenes")
    width, height = scene.picture.size
    _add(ET.SubElement(annotation, "size"), width=width, height=height, depth=3)
    _add(annotation, segmented=int(segmented))
    seen: set[int] = set()
    for instance in scene.instances:
        difficult = instance.class_id == _BOTTLE or instance.class_id in seen
        seen.add(instance.class_id)
        _add_object(annotation, instance.box, difficult)
    ET.indent(annotation, "\t")
    return ET.tostring(annotation, encoding="unicode")


def _add_object(annotation: ET.Element, box: Box, difficult: bool) -> None:
    element = ET.SubElement(annotation, "object")
    _add(element, name=VOC_CLASSES[box.class_id], pose="Unspecified", truncated=0, difficult=int(difficult))
    _add_bounds(element, box.x0, box.y0, box.x1, box.y1)
    if box.class_id == _PERSON:
        head = ET.SubElement(element, "part")
        _add(head, name="head")
        _add_bounds(head, box.x0, box.y0, box.x1, box.y0 + max(1, (box.y1 - box.y0) // 3))


def _add_bounds(element: ET.Element, x0: int, y0: int, x1: int, y1: int) -> None:
    """From 0-based and half open to VOC's 1-based corners, both inside."""
    _add(ET.SubElement(element, "bndbox"), xmin=x0 + 1, ymin=y0 + 1, xmax=x1, ymax=y1)


def _add(parent: ET.Element, **texts: str | int) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = str(text)
