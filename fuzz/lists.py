"""Text lists: names of classes, splits, and the lists of VOC, CUB, ImageNet, Oxford-IIIT Pet and the WSOL benchmark."""

from pathlib import Path

from advcam.classifiers.names import read_class_names
from advcam.datasets import lists
from advcam.errors import AdvcamError
from fuzz.mutation import of_text
from fuzz.target import Target, check_words, dataset_files, dataset_reader, file_reader

_VOC = ("VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt",)
_CUB = ("bounding_boxes.txt", "classes.txt", "image_class_labels.txt", "images.txt", "train_test_split.txt")
_IMAGENET = ("LOC_synset_mapping.txt", "ILSVRC/ImageSets/CLS-LOC/val.txt")
_PETS = ("annotations/list.txt", "annotations/trainval.txt")
_WSOL = tuple(f"metadata/SHAPES/test/{name}.txt" for name in ("class_labels", "image_ids", "localization"))
_SIZES = (*_WSOL, "metadata/SHAPES/test/image_sizes.txt")


def _read_names(path: Path) -> None:
    """Both lists of class names, and labels that are looked for among them."""
    lists.read_class_names(path)
    index = read_class_names(path)
    for label in (*path.read_text(encoding="utf-8").split("\n")[:4], "cat"):
        try:
            index.find(label)
        except AdvcamError as error:
            check_words(str(error))


TARGETS = (
    Target(
        "class-names", file_reader("classes.txt", _read_names), lambda _: [b"cat\ndog\n\xc3\xa9t\xc3\xa9\n"], of_text
    ),
    Target("voc-list", dataset_reader("voc2012", *_VOC), dataset_files("voc2012", *_VOC), of_text),
    Target("cub-lists", dataset_reader("cub200", *_CUB), dataset_files("cub200", *_CUB), of_text),
    Target("imagenet-lists", dataset_reader("imagenet", *_IMAGENET), dataset_files("imagenet", *_IMAGENET), of_text),
    Target("pets-lists", dataset_reader("pets", *_PETS), dataset_files("pets", *_PETS), of_text),
    Target("wsol-lists", dataset_reader("wsol", *_SIZES), dataset_files("wsol", *_SIZES), of_text),
    Target("wsol-mask-lists", dataset_reader("openimages30k", *_WSOL), dataset_files("openimages30k", *_WSOL), of_text),
)
