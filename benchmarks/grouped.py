"""Pictures of Oxford-IIIT Pet or PASCAL VOC 2012 with truth and the maps of an ImageNet classifier that never saw it.

The class of a picture is explained through its group of ImageNet ids, the best-scoring one: for pets 281 to 285 (cats)
and 151 to 268 (dogs), for VOC those of voc_imagenet_groups.json beside ROOT. VOC pictures with a person are left out,
for ImageNet has no such class. What confidence.py and local_affinity.py share.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import advcam
from advcam.attribution.registry import create_method
from advcam.datasets.dataset import Dataset
from advcam.datasets.pets import OxfordPets
from advcam.datasets.pictures import read_picture
from advcam.datasets.voc import VOC2012
from advcam.pipeline.class_match import ClassMatch, Groups, read_groups

SCALES = (0.5, 1.0)
PET_GROUPS: Groups = {"cat": list(range(281, 286)), "dog": list(range(151, 269))}


@dataclass(frozen=True)
class Known:
    """A picture whose truth is known.

    Args:
        picture: RGB.
        attribution: Maps of the classes of the picture, numbered as the data set does.
        probabilities: What the classifier gives each of the classes, (C,).
        truth: (H, W): 0 background, class_id + 1, 255 ignore.
    """

    picture: Image.Image
    attribution: advcam.Attribution
    probabilities: NDArray[np.float64]
    truth: NDArray[np.int32]


def open_known(root: Path) -> tuple[Dataset, str, Groups]:
    """The data set below a root, its split to look at, and the groups of its classes."""
    if OxfordPets.fits(root):
        return OxfordPets(root, classes="species"), "all", PET_GROUPS
    return VOC2012(root), "train", read_groups(root.resolve().parent / "voc_imagenet_groups.json")


def known_pictures(root: Path, method_name: str, limit: int) -> Iterator[Known]:
    """At most `limit` pictures, spread evenly over the split, one after the other."""
    dataset, split, groups = open_known(root)
    classifier = advcam.load_classifier()
    match = ClassMatch(classifier, dataset.class_names, groups)
    method = create_method(method_name, classifier, scales=SCALES)
    ids = [id_ for id_ in dataset.ids(split) if "person" not in (dataset.sample(id_).labels or ())]
    ids = [id_ for id_ in ids if dataset.mask(id_) is not None]
    count = min(limit, len(ids))
    for id_ in (ids[index * len(ids) // count] for index in range(count)):
        sample, truth = dataset.sample(id_), dataset.mask(id_)
        labels = sample.labels or ()
        assert truth is not None
        picture = read_picture(sample.path)
        targets = match.targets(picture, labels)
        (found,) = method([picture], [targets])
        odds = {guess.class_id: guess.probability for guess in classifier.predict(picture, top=1000)}
        numbers = tuple(dataset.class_names.index(label) for label in labels)
        attribution = advcam.Attribution(numbers, labels, found.maps, found.image_size, found.scores)
        yield Known(picture, attribution, np.array([odds[target] for target in targets]), truth)
