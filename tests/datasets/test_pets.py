"""Oxford-IIIT Pet, hand-written: lists, breeds and species, trimaps, and what can be wrong with them."""

import numpy as np
import pytest
from PIL import Image

from advcam.datasets.pets import PET_BREEDS, OxfordPets
from advcam.errors import DatasetError, SettingError
from advcam.types import Box


@pytest.fixture
def root(tmp_path):
    """Two pictures in trainval."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations/trimaps").mkdir(parents=True)
    write_list(tmp_path, "trainval", "Abyssinian_1 1 1 1", "yorkshire_terrier_100 37 2 25")
    return tmp_path


def write_list(root, name, *lines):
    (root / f"annotations/{name}.txt").write_text("\n".join(lines) + "\n")


def write_trimap(root, id_, numbers):
    Image.fromarray(np.array(numbers, dtype=np.uint8)).save(root / f"annotations/trimaps/{id_}.png")


def test_classes(root):
    breeds, species = OxfordPets(root), OxfordPets(root, classes="species")
    assert breeds.class_names == PET_BREEDS
    assert len(PET_BREEDS) == 37
    assert list(PET_BREEDS) == sorted(PET_BREEDS, key=str.lower)
    assert sum(name[0].isupper() for name in PET_BREEDS) == 12  # cat breeds, by the paper
    assert species.class_names == ("cat", "dog")
    with pytest.raises(SettingError, match=r'^the classes of Oxford-IIIT Pet are "breeds" or "species", not \'race\'$'):
        OxfordPets(root, classes="race")


def test_no_pets_here(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match=r"holds no Oxford-IIIT Pet: annotations/trimaps is missing below it$"):
        OxfordPets(tmp_path)
    assert not OxfordPets.fits(tmp_path)


def test_splits_and_ids(root):
    write_list(root, "list", "#Image CLASS-ID SPECIES BREED ID", "# a note", "", "pug_7 26 2 18", "pug_7 26 2 18")
    write_list(root, "test")
    dataset = OxfordPets(root)
    assert dataset.splits == ("trainval", "test", "all")
    assert list(dataset.ids("trainval")) == ["Abyssinian_1", "yorkshire_terrier_100"]
    assert list(dataset.ids("test")) == []
    assert list(dataset.ids("all")) == ["pug_7", "pug_7"]
    with pytest.raises(SettingError, match=r"has no split 'val'; its splits are: trainval, test, all$"):
        dataset.ids("val")


def test_samples_by_breed_and_by_species(root):
    breeds, species = OxfordPets(root), OxfordPets(root, classes="species")
    assert [sample.labels for sample in breeds.samples("trainval")] == [("Abyssinian",), ("yorkshire_terrier",)]
    assert [sample.labels for sample in species.samples("trainval")] == [("cat",), ("dog",)]
    sample = breeds.sample("Abyssinian_1")
    assert (sample.id, sample.path) == ("Abyssinian_1", root / "images/Abyssinian_1.jpg")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pug_7 26 2", "'pug_7 26 2' has 3 fields; expected NAME CLASS-ID SPECIES BREED-ID"),
        ("pug_7 25 2 18", "pug_7 has class 25 and species 2, but its name says class 26 and species 2; correct the"),
        ("pug_7 26 1 18", "pug_7 has class 26 and species 1, but its name says class 26 and species 2; correct the"),
        ("pug_7 x 2 18", "pug_7 has class x and species 2, but"),
        ("Pug_7 26 2 18", "'Pug_7' is no BREED_NUMBER such as Abyssinian_1; correct the name"),
        ("pug 26 2 18", "'pug' is no BREED_NUMBER"),
        ("../pug_7 26 2 18", "'../pug_7' is no BREED_NUMBER"),
    ],
)
def test_malformed_line(root, line, message):
    write_list(root, "trainval", "Abyssinian_1 1 1 1", "", line)
    with pytest.raises(DatasetError) as caught:
        list(OxfordPets(root).ids("trainval"))
    assert str(caught.value).startswith(f"{root}/annotations/trainval.txt, line 3: {message}")


@pytest.mark.parametrize("call", ["sample", "mask", "boxes"])
def test_id_of_no_breed(root, call):
    with pytest.raises(DatasetError, match=r"^Oxford-IIIT Pet: 'tiger_1' is no BREED_NUMBER"):
        getattr(OxfordPets(root), call)("tiger_1")


def test_trimap_becomes_mask_and_box(root):
    # an animal of columns 1 to 3 and rows 1 and 2, border counted; a 3 on its own row makes the box taller
    write_trimap(root, "pug_7", [[2, 2, 2, 2, 2], [2, 3, 1, 3, 2], [2, 1, 1, 1, 2], [2, 2, 3, 2, 2]])
    breeds, species = OxfordPets(root), OxfordPets(root, classes="species")
    pug = PET_BREEDS.index("pug")
    number = pug + 1
    mask = breeds.mask("pug_7")
    assert mask.dtype == np.int32
    assert mask.tolist() == [
        [0, 0, 0, 0, 0],
        [0, 255, number, 255, 0],
        [0, number, number, number, 0],
        [0, 0, 255, 0, 0],
    ]
    assert breeds.boxes("pug_7") == (Box(pug, 1, 1, 4, 4, 1.0),)
    assert (species.mask("pug_7") == np.where(mask == number, 2, mask)).all()
    assert species.boxes("pug_7") == (Box(1, 1, 1, 4, 4, 1.0),)


def test_head_boxes_are_not_used(root):
    write_trimap(root, "pug_7", [[1, 1], [1, 1]])
    (root / "annotations/xmls").mkdir()
    head = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>"
    (root / "annotations/xmls/pug_7.xml").write_text(
        f"<annotation><object><name>dog</name>{head}</object></annotation>"
    )
    assert OxfordPets(root).boxes("pug_7") == (Box(25, 0, 0, 2, 2, 1.0),)


def test_trimap_without_an_animal_and_no_trimap(root):
    write_trimap(root, "pug_7", [[2, 2]])
    assert OxfordPets(root).boxes("pug_7") == ()
    assert OxfordPets(root).boxes("pug_8") is None
    assert OxfordPets(root).mask("pug_8") is None


@pytest.mark.parametrize("number", [0, 4, 255])
@pytest.mark.parametrize("call", ["mask", "boxes"])
def test_number_that_no_trimap_holds(root, call, number):
    write_trimap(root, "pug_7", [[1, 2, 3, number]])
    with pytest.raises(DatasetError) as caught:
        getattr(OxfordPets(root), call)("pug_7")
    assert str(caught.value) == (
        f"{root}/annotations/trimaps/pug_7.png holds the number {number}; a trimap holds 1, 2 and 3; restore the file"
    )


def test_damaged_trimap(root):
    (root / "annotations/trimaps/pug_7.png").write_bytes(b"\x89PNG")
    with pytest.raises(DatasetError, match=r"cannot be read as a mask"):
        OxfordPets(root).mask("pug_7")
