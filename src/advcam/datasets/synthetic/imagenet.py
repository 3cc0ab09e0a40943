"""Generated ImageNet: pictures, lists, XMLs and solution CSVs, as in the download of ILSVRC 2012."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from advcam.datasets.synthetic.scenes import Scene, draw_scene
from advcam.datasets.synthetic.writing import write_jpeg, write_lines
from advcam.types import Box

#: Genuine synsets and names, in order; two pairs share their first name.
SYNSETS = {
    "n01440764": "tench, Tinca tinca",
    "n02012849": "crane",
    "n02123045": "tabby, tabby cat",
    "n03126707": "crane",
    "n03710637": "maillot",
    "n03710721": "maillot, tank suit",
}
_SPLITS = ("train", "val")


def imagenet_scenes(split: str, pictures: int = 12, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of a generated split.

    Picture n, counted from 1, is `draw_scene(1000 * seed + 500 * (split is val) + n, classes)`: one object of class
    n % 6, or two of it where n % 3 is 0.
    """
    for number in range(1, pictures + 1):
        class_id = number % len(SYNSETS)
        first = 1000 * seed + 500 * _SPLITS.index(split)
        yield _id(split, number), draw_scene(first + number, (class_id,) * (2 if number % 3 == 0 else 1))


def write_imagenet(root: Path, pictures: int = 12, seed: int = 0) -> None:
    """Write ROOT/ILSVRC, ROOT/LOC_synset_mapping.txt and the two solution CSVs.

    All of val and every picture of train with an odd number have boxes, in an XML and in the CSV.

    Args:
        root: The folder above ILSVRC; created.
        pictures: How many in each of train and val, 499 at most.
        seed: Of the scenes.

    Raises:
        RunError: A file cannot be written.
    """
    home = root / "ILSVRC"
    write_lines(root / "LOC_synset_mapping.txt", [f"{synset} {names}" for synset, names in SYNSETS.items()])
    for split in _SPLITS:
        listed: list[str] = []
        boxed: list[str] = []
        rows = ["ImageId,PredictionString"]
        for number, (id_, scene) in enumerate(imagenet_scenes(split, pictures, seed), 1):
            name = id_.removeprefix(f"{split}/").removesuffix(".JPEG")
            write_jpeg(home / "Data/CLS-LOC" / id_, scene.picture)
            listed.append(f"{name} {number}")
            if split == "val" or number % 2:
                boxed.append(f"{name} {len(boxed) + 1}")
                rows.append(f"{Path(name).name},{_prediction(scene)}")
                write_lines(home / "Annotations/CLS-LOC" / split / f"{name}.xml", [_annotate(name, scene)])
        write_lines(root / f"LOC_{split}_solution.csv", rows)
        write_lines(home / "ImageSets/CLS-LOC" / ("val.txt" if split == "val" else "train_cls.txt"), listed)
        if split == "train":
            write_lines(home / "ImageSets/CLS-LOC/train_loc.txt", boxed)


def _id(split: str, number: int) -> str:
    if split == "val":
        return f"val/ILSVRC2012_val_{number:08d}.JPEG"
    synset = list(SYNSETS)[number % len(SYNSETS)]
    return f"train/{synset}/{synset}_{10026 + number}.JPEG"


def _corners(box: Box) -> tuple[int, int, int, int]:
    """As ILSVRC writes a box: both corners inside."""
    return box.x0, box.y0, box.x1 - 1, box.y1 - 1


def _prediction(scene: Scene) -> str:
    """A row of a solution CSV, which genuinely ends with a blank."""
    boxes = [instance.box for instance in scene.instances]
    return "".join(f"{list(SYNSETS)[box.class_id]} {' '.join(map(str, _corners(box)))} " for box in boxes)


def _annotate(name: str, scene: Scene) -> str:
    root = ET.Element("annotation")
    _put(root, folder=Path(name).parent.name or "val", filename=Path(name).name)
    _put(ET.SubElement(root, "source"), database="ILSVRC_2012")
    _put(ET.SubElement(root, "size"), width=scene.picture.width, height=scene.picture.height, depth=3)
    _put(root, segmented=0)
    for box in (instance.box for instance in scene.instances):
        entry = ET.SubElement(root, "object")
        _put(entry, name=list(SYNSETS)[box.class_id], pose="Unspecified", truncated=0, difficult=0)
        _put(ET.SubElement(entry, "bndbox"), **dict(zip(("xmin", "ymin", "xmax", "ymax"), _corners(box), strict=True)))
    return ET.tostring(root, encoding="unicode")


def _put(parent: ET.Element, **texts: object) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = str(text)
