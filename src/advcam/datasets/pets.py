"""Oxford-IIIT Pet: cats and dogs of 37 breeds, one animal a picture, with trimaps.

Source: Parkhi et al., Cats and Dogs, CVPR 2012. The boxes that the data set publishes (annotations/xmls) are of the
HEAD only and are never used; the boxes here are of the whole animal, computed from the trimaps.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from advcam.datasets.dataset import Dataset
from advcam.datasets.truth import foreign_number
from advcam.errors import DatasetError, SettingError
from advcam.store.reading import inside, numbered_lines, read_index_png
from advcam.types import IGNORE, Box, Mask, Sample

PetClasses = Literal["breeds", "species"]
#: In the order of the data set's class numbers; a capital first letter means cat.
PET_BREEDS = (
    *("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle", "Bengal", "Birman"),
    *("Bombay", "boxer", "British_Shorthair", "chihuahua", "Egyptian_Mau", "english_cocker_spaniel"),
    *("english_setter", "german_shorthaired", "great_pyrenees", "havanese", "japanese_chin", "keeshond"),
    *("leonberger", "Maine_Coon", "miniature_pinscher", "newfoundland", "Persian", "pomeranian", "pug", "Ragdoll"),
    *("Russian_Blue", "saint_bernard", "samoyed", "scottish_terrier", "shiba_inu", "Siamese", "Sphynx"),
    *("staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier"),
)
_SPECIES = ("cat", "dog")
_LISTS = {"trainval": "trainval.txt", "test": "test.txt", "all": "list.txt"}
_NAME = re.compile(r"(\w+)_\d+", re.ASCII)
_ANIMAL, _BACKGROUND, _BORDER = 1, 2, 3


class OxfordPets(Dataset):
    """Oxford-IIIT Pet by breed or by species.

    An id is the name of a picture, such as Abyssinian_1; the breed is read from it.

    Args:
        root: The folder that holds images and annotations.
        classes: "breeds" (37) or "species" (cat and dog).

    Raises:
        SettingError: `classes` is neither of the two words.
        DatasetError: The root holds no Oxford-IIIT Pet.
    """

    layout = "pets"
    title = "Oxford-IIIT Pet"
    landmarks = ("images", "annotations/trimaps")

    def __init__(self, root: Path, *, classes: PetClasses = "breeds") -> None:
        super().__init__(root)
        if classes not in get_args(PetClasses):
            raise SettingError(f'the classes of {self.title} are "breeds" or "species", not {classes!r}')
        self.classes = classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The breeds as the pictures are named, or cat and dog."""
        return PET_BREEDS if self.classes == "breeds" else _SPECIES

    @property
    def splits(self) -> tuple[str, ...]:
        """`trainval` and `test` as published, and `all`, the list.txt of every picture."""
        return tuple(split for split, name in _LISTS.items() if (self.root / "annotations" / name).is_file())

    def ids(self, split: str) -> Iterator[str]:
        """Names of the pictures of a split, in the order of its list.

        A line is NAME CLASS-ID SPECIES BREED-ID; lines that start with # are comments.

        Raises:
            SettingError: There is no such split.
            DatasetError: A line is malformed, or its numbers contradict the name of the picture.
        """
        self.check_split(split)
        lines = numbered_lines(self.root / "annotations" / _LISTS[split])
        return (_read_name(where, line) for where, line in lines if not line.startswith("#"))

    def sample(self, id_: str) -> Sample:
        """One picture with the one class that it shows.

        Raises:
            DatasetError: The id names no breed.
        """
        path = inside(self.root, f"images/{id_}.jpg")
        return Sample(id_, path, (self.class_names[self._class_of(id_)],))

    def mask(self, id_: str) -> Mask | None:
        """Label mask (H, W): 0 background, class number + 1 the animal, 255 the border of the trimap.

        Raises:
            DatasetError: The trimap cannot be read, or holds other numbers than 1, 2 and 3.
        """
        number = self._class_of(id_) + 1
        trimap = self._trimap(id_)
        if trimap is None:
            return None
        return np.array([0, number, 0, IGNORE], dtype=np.int32)[trimap]

    def boxes(self, id_: str) -> tuple[Box, ...] | None:
        """The tight box of animal and border of the trimap: of the whole animal, unlike the published head boxes.

        Raises:
            DatasetError: As `mask`.
        """
        class_id = self._class_of(id_)
        trimap = self._trimap(id_)
        if trimap is None:
            return None
        animal = trimap != _BACKGROUND
        rows, columns = np.flatnonzero(animal.any(axis=1)), np.flatnonzero(animal.any(axis=0))
        if not rows.size:
            return ()
        return (Box(class_id, int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1, 1.0),)

    def _class_of(self, id_: str) -> int:
        breed = _breed_of(id_, self.title)
        return breed if self.classes == "breeds" else _species_of(breed)

    def _trimap(self, id_: str) -> Mask | None:
        """(H, W) of 1 animal, 2 background, 3 border; None where there is no file."""
        path = inside(self.root, f"annotations/trimaps/{id_}.png")
        if not path.is_file():
            return None
        trimap = read_index_png(path)
        foreign = foreign_number(trimap, {_ANIMAL, _BACKGROUND, _BORDER})
        if foreign is not None:
            raise DatasetError(f"{path} holds the number {foreign}; a trimap holds 1, 2 and 3; restore the file")
        return trimap


def _breed_of(name: str, where: str) -> int:
    match = _NAME.fullmatch(name)
    if not match or match[1] not in PET_BREEDS:
        raise DatasetError(f"{where}: {name!r} is no BREED_NUMBER such as Abyssinian_1; correct the name")
    return PET_BREEDS.index(match[1])


def _species_of(breed: int) -> int:
    return 0 if PET_BREEDS[breed][0].isupper() else 1


def _read_name(where: str, line: str) -> str:
    """The name of the picture that a line lists; its class and species must be those of the name."""
    fields = line.split()
    if len(fields) != 4:
        raise DatasetError(f"{where}: {line!r} has {len(fields)} fields; expected NAME CLASS-ID SPECIES BREED-ID")
    breed = _breed_of(fields[0], where)
    numbers = [str(breed + 1), str(_species_of(breed) + 1)]
    if fields[1:3] != numbers:
        raise DatasetError(
            f"{where}: {fields[0]} has class {fields[1]} and species {fields[2]}, but its name says class {numbers[0]} "
            f"and species {numbers[1]}; correct the line"
        )
    return fields[0]
