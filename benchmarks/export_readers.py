"""What the readers of others see in exports: the libraries that users of each format have, not our own code.

    python benchmarks/export_readers.py EXPORT [EXPORT ..]

Each EXPORT is a folder that `advcam export` wrote. A reader that is not installed in this environment is left out, so
one runs it in several: some readers pin old versions of others. Nothing of advcam is imported. For each export and
reader one line of JSON is printed: format, reader and its version, pictures, regions, and pixels (or boxes) by class.
Exports of one run in several formats show the same pixels. Line by line, the readers are:

    voc                      Pillow, as torchvision's VOCSegmentation hands masks on
    coco, coco-polygons      pycocotools; supervision
    coco-results             pycocotools
    coco-panoptic            Pillow, as panopticapi decodes it
    yolo, yolo-boxes         supervision
    label-studio             label-studio-sdk: its configuration and task checks, its converter to PNG
    cvat                     datumaro
    labelme                  labelme
    parquet, image-folder    datasets
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
#: (class, pixels) of each region of each picture, in lists.
Seen = Iterator[list[tuple[str, int]]]


def main() -> None:
    """Open, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path, nargs="+")
    for folder in parser.parse_args().exports:
        name = json.loads((folder / "advcam-export.json").read_text())["format"]
        for package, read in READERS.get(name, ()):
            with contextlib.suppress(PackageNotFoundError):
                print(json.dumps(report(folder, name, package, read), ensure_ascii=False), flush=True)


def report(folder: Path, name: str, package: str, read: Callable[[Path], Seen]) -> dict[str, Any]:
    """What one reader sees."""
    facts: dict[str, Any] = {"format": name, "reader": f"{package} {version(package)}"}
    with contextlib.redirect_stdout(io.StringIO()):
        pictures = list(read(folder))
    pixels: Counter[str] = Counter()
    for regions in pictures:
        for label, count in regions:
            pixels[label] += count
    regions_seen = sum(map(len, pictures))
    return facts | {"pictures": len(pictures), "regions": regions_seen, "pixels": dict(sorted(pixels.items()))}


def library(name: str) -> Any:  # noqa: ANN401, a module that this environment may have
    """A module, imported when it is needed."""
    return importlib.import_module(name)


def read_voc(folder: Path) -> Seen:
    """Masks of classes: a palette PNG as numbers."""
    names = [line.split(":")[0] for line in (folder / "labelmap.txt").read_text().splitlines() if line[:1] != "#"]
    for line in (folder / "ImageSets/Segmentation/trainval.txt").read_text().splitlines():
        with Image.open(folder / "SegmentationClass" / f"{line}.png") as image:
            numbers, counts = np.unique(np.asarray(image), return_counts=True)
        pairs = zip(numbers.tolist(), counts.tolist(), strict=True)
        yield [(names[number] if number != 255 else "undecided", count) for number, count in pairs if number]


def read_coco(folder: Path) -> Seen:
    """Instances, decoded."""
    coco = library("pycocotools.coco").COCO(next(folder.glob("annotations/instances*.json")))
    for id_ in coco.imgs:
        found = coco.imgToAnns[id_]
        yield [
            ("undecided" if one["iscrowd"] else coco.cats[one["category_id"]]["name"], int(coco.annToMask(one).sum()))
            for one in found
        ]


def read_results(folder: Path) -> Seen:
    """Results, by the number of their category."""
    mask = library("pycocotools.mask")
    results = json.loads((folder / "results.json").read_text())
    for id_ in sorted({one["image_id"] for one in results}):
        mine = [one for one in results if one["image_id"] == id_]
        yield [(str(one["category_id"]), int(mask.area(one["segmentation"]))) for one in mine]


def read_panoptic(folder: Path) -> Seen:
    """Segments by their colours."""
    path = next(folder.glob("annotations/panoptic*.json"))
    content = json.loads(path.read_text())
    names = {one["id"]: one["name"] for one in content["categories"]}
    for entry in content["annotations"]:
        with Image.open(path.with_suffix("") / entry["file_name"]) as image:
            ids = np.asarray(image.convert("RGB")).astype(np.int64) @ (1, 256, 65536)
        regions = [(names[one["category_id"]], int((ids == one["id"]).sum())) for one in entry["segments_info"]]
        yield [pair for pair in regions if pair[0] != "background"] + [("undecided", int((ids == 0).sum()))]


def read_yolo(folder: Path) -> Seen:
    """Polygons as masks, boxes as boxes."""
    data = library("supervision").DetectionDataset.from_yolo(
        images_directory_path=str(folder / "images"),
        annotations_directory_path=str(folder / "labels"),
        data_yaml_path=str(folder / "data.yaml"),
        force_masks="boxes" not in folder.name,
    )
    yield from _detections(data)


def read_coco_supervision(folder: Path) -> Seen:
    """Instances as supervision decodes them."""
    data = library("supervision").DetectionDataset.from_coco(
        images_directory_path=str(folder),
        annotations_path=str(next(folder.glob("annotations/instances*.json"))),
        force_masks=True,
    )
    yield from _detections(data)


def _detections(data: Any) -> Seen:  # noqa: ANN401, supervision.DetectionDataset
    for found in data.annotations.values():
        areas = [1] * len(found) if found.mask is None else found.mask.sum(axis=(1, 2)).tolist()
        yield [(data.classes[class_id], area) for class_id, area in zip(found.class_id, areas, strict=True)]


def read_label_studio(folder: Path) -> Seen:
    """Tasks whose predictions a person accepted, checked against the labels, and as PNG by the converter."""
    config = (folder / "config.xml").read_text(encoding="utf-8")
    labels = library("label_studio_sdk.label_interface").LabelInterface(config)
    labels.validate()
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    for number, task in enumerate(tasks, 1):
        problems = labels.validate_prediction(task["predictions"][0], return_errors=True)
        if problems:
            raise SystemExit(f"task {number}: {problems}")
        task["annotations"] = [{"id": number, "completed_by": 1, "result": task.pop("predictions")[0]["result"]}]
        task["id"] = number
    with tempfile.TemporaryDirectory() as out:
        path = Path(out, "export.json")
        path.write_text(json.dumps(tasks))
        Path(out, "png").mkdir()
        converter = library("label_studio_sdk.converter").Converter(config, out)
        converter.convert(str(path), str(Path(out, "png")), "BRUSH_TO_PNG", is_dir=False)
        for number in range(1, len(tasks) + 1):
            yield [_brush(png) for png in sorted(Path(out, "png").glob(f"task-{number}-*.png"))]


def _brush(png: Path) -> tuple[str, int]:
    """task-1-annotation-1-by-1-labels-CLASS-0.png."""
    with Image.open(png) as image:
        return png.stem.split("-labels-", 1)[1].rpartition("-")[0], int(np.count_nonzero(np.asarray(image)))


def read_cvat(folder: Path) -> Seen:
    """Masks; datumaro wants the pictures beside the XML, so it gets empty ones."""
    dm = library("datumaro")
    with tempfile.TemporaryDirectory() as copy:
        Path(copy, "annotations.xml").write_bytes((folder / "annotations.xml").read_bytes())
        for image in ET.parse(folder / "annotations.xml").getroot().iterfind("image"):
            path = Path(copy, "images", image.attrib["name"])
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (int(image.attrib["width"]), int(image.attrib["height"]))).save(path)
        data = dm.Dataset.import_from(copy, "cvat")
        labels = data.categories()[dm.AnnotationType.label]
        for item in data:
            yield [(labels[one.label].name, int(one.image.sum())) for one in item.annotations]


def read_labelme(folder: Path) -> Seen:
    """Shapes and pictures as LabelMe loads them."""
    utils = library("labelme.utils")
    library("loguru").logger.disable("labelme")
    for path in sorted(folder.rglob("*.json")):
        if path.name != "advcam-export.json":
            file = library("labelme._label_file").LabelFile(str(path))
            height, width = np.asarray(utils.img_data_to_arr(file.image_data)).shape[:2]
            labels = {one["label"]: 1 for one in file.shapes}
            yield [
                (one["label"], int(utils.shapes_to_label((height, width), [one], labels)[0].sum()))
                for one in file.shapes
            ]


def read_parquet(folder: Path) -> Seen:
    """The table."""
    datasets = library("datasets")
    data = datasets.load_dataset("parquet", data_files=str(folder / "masks.parquet"), split="train", cache_dir=_cache())
    yield from _masks(data.cast_column("mask", datasets.Image()), "mask", folder)


def read_image_folder(folder: Path) -> Seen:
    """The folder."""
    data = library("datasets").load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=_cache())
    yield from _masks(data, "mask", folder)


def _masks(data: Any, column: str, folder: Path) -> Seen:  # noqa: ANN401, datasets.Dataset
    names = json.loads((folder / "classes.json").read_text()) | {"255": "undecided"}
    for row in data:
        numbers, counts = np.unique(np.asarray(row[column]), return_counts=True)
        yield [(names[str(n)], count) for n, count in zip(numbers.tolist(), counts.tolist(), strict=True) if n]


def _cache() -> str:
    return tempfile.mkdtemp(prefix="export-readers-")


READERS: dict[str, tuple[tuple[str, Callable[[Path], Seen]], ...]] = {
    "voc": (("pillow", read_voc),),
    "coco": (("pycocotools", read_coco), ("supervision", read_coco_supervision)),
    "coco-polygons": (("pycocotools", read_coco), ("supervision", read_coco_supervision)),
    "coco-results": (("pycocotools", read_results),),
    "coco-panoptic": (("pillow", read_panoptic),),
    "yolo": (("supervision", read_yolo),),
    "yolo-boxes": (("supervision", read_yolo),),
    "label-studio": (("label-studio-sdk", read_label_studio),),
    "cvat": (("datumaro", read_cvat),),
    "labelme": (("labelme", read_labelme),),
    "parquet": (("datasets", read_parquet),),
    "image-folder": (("datasets", read_image_folder),),
}

if __name__ == "__main__":
    main()
