"""Generated Oxford-IIIT Pet: one animal a picture, trimaps and lists."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from advcam.datasets.pets import PET_BREEDS
from advcam.datasets.synthetic.scenes import Scene, draw_scene
from advcam.datasets.synthetic.writing import write_index_png, write_jpeg, write_lines
from advcam.types import Mask

#: Abyssinian, american_bulldog, american_pit_bull_terrier and Bombay: two cats, two dogs, one of each shape.
_BREEDS = (0, 1, 2, 7)
_HEADER = ("#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", "#SPECIES: 1:Cat 2:Dog")


def pet_scenes(pictures: int = 12, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Ids and scenes of the generated data set.

    Picture n, counted from 1, is `draw_scene(1000 * seed + n, (breed,))` with the breed n % 4 of Abyssinian,
    american_bulldog, american_pit_bull_terrier and Bombay, and the name BREED_n. It is 96 x 80 for an odd n, else
    80 x 96.
    """
    for number in range(1, pictures + 1):
        breed = _BREEDS[number % 4]
        size = (96, 80) if number % 2 else (80, 96)
        yield f"{PET_BREEDS[breed]}_{number}", draw_scene(1000 * seed + number, (breed,), size)


def write_pets(root: Path, pictures: int = 12, seed: int = 0) -> None:
    """Write ROOT/images and ROOT/annotations; every third picture is in `test`, the others in `trainval`.

    In the trimaps the outermost pixels of the animal are the border, so that the box of 1 and 3 is that of the animal.

    Args:
        root: Created.
        pictures: How many.
        seed: Of the scenes.

    Raises:
        RunError: A file cannot be written.
    """
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for number, (id_, scene) in enumerate(pet_scenes(pictures, seed), 1):
        lines["trainval" if number % 3 else "test"].append(_line(id_))
        write_jpeg(root / "images" / f"{id_}.jpg", scene.picture)
        write_index_png(root / "annotations" / "trimaps" / f"{id_}.png", _trimap(scene), palette=False)
    for split, entries in lines.items():
        write_lines(root / "annotations" / f"{split}.txt", sorted(entries))
    write_lines(root / "annotations" / "list.txt", [*_HEADER, *sorted(lines["trainval"] + lines["test"])])


def _line(id_: str) -> str:
    """NAME CLASS-ID SPECIES BREED-ID; the last is counted within the species."""
    breed = id_.rpartition("_")[0]
    cat = breed[0].isupper()
    siblings = [name for name in PET_BREEDS if name[0].isupper() == cat]
    return f"{id_} {PET_BREEDS.index(breed) + 1} {1 if cat else 2} {siblings.index(breed) + 1}"


def _trimap(scene: Scene) -> Mask:
    """(H, W): 1 animal, 2 background, 3 border."""
    animal = (scene.label_mask > 0).astype(np.uint8)
    core = cv2.erode(animal, np.ones((3, 3), np.uint8))
    return np.where(core > 0, 1, np.where(animal > 0, 3, 2)).astype(np.int32)
