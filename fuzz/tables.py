"""CSV: tables of labels, tables of samples, the solutions of ImageNet, confidences."""

from pathlib import Path

from advcam.datasets.labels import label_samples, read_label_table
from advcam.pipeline.chain.lesson import lowest_confidence
from advcam.types import Sample
from fuzz.mutation import of_text
from fuzz.target import Target, dataset_files, dataset_reader, file_reader

_LABELS = [b"image,labels\na/cat.jpg,cat;sofa\nstreet.jpg,\n", b'\xef\xbb\xbflabels,image\r\n"a, b;c",x.png\r\n']
_CONFIDENCE = [b"image,class,confidence\na.jpg,cat,0.5\na.jpg,dog,0.25\n"]
_SOLUTION = "LOC_val_solution.csv"


def _read_labels(path: Path) -> None:
    samples = [Sample("a/cat.jpg", path.parent / "a/cat.jpg"), Sample("street.jpg", path.parent / "street.jpg")]
    label_samples(samples, path)
    read_label_table(path)


TARGETS = (
    Target("labels-csv", file_reader("labels.csv", _read_labels), lambda _: _LABELS, of_text),
    Target("sample-table", dataset_reader("table", "labels.csv"), dataset_files("table", "labels.csv"), of_text),
    Target("solution-csv", dataset_reader("imagenet", _SOLUTION), dataset_files("imagenet", _SOLUTION), of_text),
    Target("confidence-csv", file_reader("confidence.csv", lowest_confidence), lambda _: _CONFIDENCE, of_text),
)
