"""XML of PASCAL VOC and ImageNet, JSON of COCO annotations and results."""

from collections.abc import Callable
from pathlib import Path

from advcam.datasets.coco import COCO
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.evaluation.predictions import CocoResults
from fuzz.mutation import of_json, of_xml
from fuzz.target import Target, dataset_files, dataset_reader

_VOC = "VOCdevkit/VOC2012/Annotations/2007_000001.xml"
_IMAGENET = "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml"
_COCO = "annotations/instances_val2017.json"
_POLYGON = b'"segmentation": [[1, 1, 9, 1, 9, 9]]'
_RESULTS = b'[{"image_id": 139, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5}]'


def _coco_files(folder: Path) -> list[bytes]:
    """The generated JSON, and small ones with each kind of segmentation."""
    one = (
        b'{"images": [{"id": 139, "file_name": "000000000139.jpg", "width": 20, "height": 10}], '
        b'"categories": [{"id": 1, "name": "cat"}], "annotations": [{"id": 7, "image_id": 139, "category_id": 1, '
        b'"iscrowd": 0, "bbox": [1, 1, 8, 8], ' + _POLYGON + b"}]}"
    )
    runs = b'"segmentation": {"size": [10, 20], "counts": [10, 20, 170]}'
    packed = b'"segmentation": {"size": [10, 20], "counts": ":d0Z5"}'
    return [*dataset_files("coco", _COCO)(folder), one, one.replace(_POLYGON, runs), one.replace(_POLYGON, packed)]


def _results(folder: Path) -> Callable[[bytes], object]:
    write_dataset("coco", folder / "coco", pictures=2)
    dataset, path = COCO(folder / "coco"), folder / "results.json"

    def of(content: bytes) -> None:
        path.write_bytes(content)
        predictions = CocoResults(path, dataset)
        for sample in dataset.samples("val2017"):
            name = predictions.name_of(sample)
            if name is not None:
                predictions.boxes(name, sample)

    return of


TARGETS = (
    Target("voc-xml", dataset_reader("voc2012", _VOC), dataset_files("voc2012", _VOC), of_xml),
    Target("imagenet-xml", dataset_reader("imagenet", _IMAGENET), dataset_files("imagenet", _IMAGENET), of_xml),
    Target("coco-json", dataset_reader("coco", _COCO), _coco_files, of_json),
    Target("coco-results", _results, lambda _: [_RESULTS], of_json),
)
