"""PASCAL VOC: masks of classes and of objects as palette PNG, and the boxes of the objects as XML.

    SegmentationClass/NAME.png      0 background, class numbers, 255 undecided, in the VOC colours
    SegmentationObject/NAME.png     0 background, objects from 1 on in the order of the XML, 255 undecided
    Annotations/NAME.xml            class and box of each object, pixels counted from 1, both corners inside
    ImageSets/{Segmentation,Main}/trainval.txt      the names
    labelmap.txt                    name:red,green,blue:: of each class, as CVAT and Datumaro have it; undecided
                                    pixels are a label "undecided" there

The pictures are not copied: for tools that want JPEGImages, put or link them there under the names of the masks.
Specification: VOCdevkit 2012, and docs.cvat.ai on Pascal VOC for labelmap.txt.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from advcam.colours import voc_palette
from advcam.errors import DatasetError, SettingError
from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.format import Format, Writer
from advcam.export.labels import UNDECIDED, check_labels, holds
from advcam.export.numbering import BACKGROUND, names_by_number, number_names, renumber
from advcam.export.regions import Region, regions
from advcam.store.masks import mask_bytes
from advcam.store.reading import inside, numbered_lines, open_png
from advcam.types import IGNORE, Mask

MASKS = "SegmentationClass"
LABEL_MAP = "labelmap.txt"
_COLOUR = re.compile(r"\s*(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})\s*", re.ASCII)


class VocWriter(Writer):
    """Writes two masks and an XML a picture."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        super().__init__(folder, classes)
        self._names: list[str] = []
        self._labels = {0: BACKGROUND[0], **classes}

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the files of a picture."""
        if not holds(picture.id) or not holds(picture.name):
            raise SettingError("its name has control characters, which XML and lists cannot hold; rename the file")
        found = list(regions(picture))
        _write(self.folder / MASKS, f"{picture.name}.png", mask_bytes(picture.mask))
        _write(self.folder / "SegmentationObject", f"{picture.name}.png", mask_bytes(_object_mask(picture, found)))
        _write(self.folder / "Annotations", f"{picture.name}.xml", _annotation(picture, found, self.classes))
        self._names.append(picture.name)
        if found and found[0].number == IGNORE:
            self._labels[IGNORE] = UNDECIDED

    def finish(self) -> None:
        """Write the list of names and the map of labels."""
        for task in ("Segmentation", "Main"):
            _write(self.folder / "ImageSets" / task, "trainval.txt", "".join(f"{n}\n" for n in self._names).encode())
        colours = voc_palette().tolist()
        rows = (f"{name}:{','.join(map(str, colours[number]))}::\n" for number, name in self._labels.items())
        _write(self.folder, LABEL_MAP, ("# label:color_rgb:parts:actions\n" + "".join(rows)).encode())


class Voc(Format):
    """PASCAL VOC."""

    name = "voc"
    title = "PASCAL VOC"
    summary = "MMSegmentation, torchvision, CVAT and most code on weak supervision; masks and boxes"

    def check(self, classes: Classes) -> None:
        """Names that labelmap.txt or XML cannot hold, and more classes than a palette has colours."""
        check_labels(classes, self.title)
        if max(classes, default=0) >= IGNORE:
            raise SettingError(
                f"{self.title} holds class numbers up to {IGNORE - 1}, but the run has {max(classes)}; export to "
                "coco-panoptic"
            )
        for name in classes.values():
            if ":" in name or name.startswith("#") or name == BACKGROUND[0]:
                raise SettingError(
                    f"{self.title} cannot hold the name of class {name!r}: labelmap.txt separates by ':', begins notes "
                    "with '#', and has a background already; rename it"
                )

    def writer(self, folder: Path, classes: Classes) -> Writer:
        """What writes the masks and the XML."""
        return VocWriter(folder, classes)

    def read(self, folder: Path, classes: Classes) -> Iterator[ImportedMask]:
        """Masks of SegmentationClass, in the order of their names.

        Masks of colours or with a palette are read by the colours of labelmap.txt; without that file palettes count by
        number, and numbers and VOC colours are those of the run. Greyscale holds lines of labelmap.txt, from 0 on.
        """
        masks = folder / MASKS if (folder / MASKS).is_dir() else folder
        paths = sorted(masks.rglob("*.png"))
        if not paths:
            raise DatasetError(
                f"{folder} holds no {MASKS} with masks as PNG; name the folder that the tool has written"
            )
        labels = _read_labels(folder / LABEL_MAP, classes)
        for path in paths:
            name = path.relative_to(masks).with_suffix("").as_posix()
            yield ImportedMask(name, labels.read(path), labels.names)


@dataclass(frozen=True)
class _Labels:
    """What the pixels of masks stand for.

    Args:
        numbers: In the mask, by what a greyscale pixel holds.
        colours: Number in the mask by colour, 65536 R + 256 G + B.
        names: Of the classes by number in the mask.
        mapped: Whether a map of labels says so; then a palette counts by its colours.
    """

    numbers: Mapping[int, int]
    colours: Mapping[int, int]
    names: Classes
    mapped: bool

    def read(self, path: Path) -> Mask:
        """A mask (H, W).

        Raises:
            DatasetError: It cannot be read, or a pixel stands for nothing.
        """
        with open_png(path) as image:
            mode, pixels = image.mode, np.asarray(image)
            palette = np.array(image.getpalette("RGB") or (), dtype=np.uint8).reshape(-1, 3)
        if mode not in ("L", "P", "RGB", "RGBA"):
            raise DatasetError(f"{path} is a picture of mode {mode}; masks are PNG of 8 bits a channel; write it again")
        if mode == "L" or (mode == "P" and not self.mapped):
            return renumber(pixels, self.numbers, path, "number {}", LABEL_MAP)
        if mode == "P" and int(pixels.max()) >= len(palette):
            raise DatasetError(f"{path} has a pixel {pixels.max()}, but {len(palette)} colours; write it again")
        packed = _pack(palette)[pixels] if mode == "P" else _pack(pixels[..., :3])
        return renumber(packed, self.colours, path, "colour #{:06x}", LABEL_MAP)


def _read_labels(path: Path, classes: Classes) -> _Labels:
    """The map of labels; the numbers and colours of the run where there is none."""
    mapped = path.is_file()
    if mapped:
        rows = list(_label_rows(path))
        named = number_names((name for name, _ in rows), classes)
        numbers = {place: named[name] for place, (name, _) in enumerate(rows)}
        colours = {colour: named[name] for name, colour in rows}
        names = names_by_number(named)
    else:
        numbers = {0: 0, **{number: number for number in classes}}
        colours = {int(_PALETTE[number]): number for number in numbers if number < IGNORE}
        names = classes
    return _Labels({IGNORE: IGNORE, **numbers}, {int(_PALETTE[IGNORE]): IGNORE, **colours}, names, mapped)


def _label_rows(path: Path) -> Iterator[tuple[str, int]]:
    """Name and packed colour of each line."""
    for where, line in numbered_lines(path):
        if line.startswith("#"):
            continue
        name, *rest = line.rsplit(":", 3)
        colour = _COLOUR.fullmatch(rest[0]) if len(rest) == 3 else None
        if colour is None or max(values := tuple(map(int, colour.groups()))) > 255:
            raise DatasetError(f"{where}: {line!r} is no label; a line is name:red,green,blue:parts:actions")
        yield name, values[0] << 16 | values[1] << 8 | values[2]


def _pack(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Colours (.., 3) as numbers, 65536 R + 256 G + B."""
    wide = colours.astype(np.int32)
    packed: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


_PALETTE = _pack(voc_palette())


def _object_mask(picture: AnnotatedPicture, found: Sequence[Region]) -> Mask:
    """Number of the object at each pixel, (H, W)."""
    mask = np.where(picture.mask == IGNORE, IGNORE, 0).astype(np.int32)
    for place, region in enumerate(_objects(found), 1):
        height, width = region.pixels.shape
        number = place + (place >= IGNORE)  # 255 is taken
        mask[region.y : region.y + height, region.x : region.x + width][region.pixels] = number
    return mask


def _annotation(picture: AnnotatedPicture, found: Sequence[Region], classes: Classes) -> bytes:
    """The XML of a picture."""
    path, (height, width) = PurePosixPath(picture.file_name), picture.size
    root = ET.Element("annotation")
    _put(root, folder="" if path.parent == PurePosixPath() else path.parent, filename=path.name)
    _put(ET.SubElement(root, "source"), database="advcam")
    _put(ET.SubElement(root, "size"), width=width, height=height, depth=3)
    _put(root, segmented=1)
    for region in _objects(found):
        rows, columns = region.pixels.shape
        element = ET.SubElement(root, "object")
        _put(element, name=classes[region.number], pose="Unspecified", truncated=0, difficult=0)
        box = {"xmin": region.x + 1, "ymin": region.y + 1, "xmax": region.x + columns, "ymax": region.y + rows}
        _put(ET.SubElement(element, "bndbox"), **box)
    ET.indent(root)
    return f"{ET.tostring(root, 'unicode')}\n".encode()


def _put(element: ET.Element, **values: object) -> None:
    """Add children that hold a text each."""
    for tag, value in values.items():
        ET.SubElement(element, tag).text = str(value)


def _objects(found: Sequence[Region]) -> Iterator[Region]:
    return (region for region in found if region.number != IGNORE)


def _write(folder: Path, name: str, content: bytes) -> None:
    path = inside(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
