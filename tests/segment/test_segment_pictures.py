import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from advcam.errors import LabelError, PictureError, SettingError
from advcam.segment import pictures
from advcam.segment.pictures import MaskedPictures, MaskOf, PairedPictures, survey_masks
from advcam.store.masks import read_mask, write_mask
from advcam.training.augment import Normalisation
from advcam.training.loading import Augmented
from advcam.types import Mask, Sample

NORMALISE = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NAMES = ("cat", "dog", "cow")
WIDTH, HEIGHT = 40, 30


def stored(folder: Path, count: int, prefix: str = "p", labels: Sequence[tuple[str, ...] | None] = ()) -> list[Sample]:
    """Pictures of one colour each, whose red tells their number."""
    folder.mkdir(exist_ok=True)
    samples = []
    for number in range(count):
        name = f"{prefix}{number}.png"
        Image.new("RGB", (WIDTH, HEIGHT), (10 * number, 200, 30)).save(folder / name)
        samples.append(Sample(name, folder / name, labels[number] if labels else None))
    return samples


def number_of(pictures: Tensor) -> int:
    """Which picture an item shows, by its most frequent red."""
    red = (pictures[0] * NORMALISE.std[0] + NORMALISE.mean[0]) * 255
    return round(float(red.median()) / 10)


def halves(_: Sample) -> Mask:
    """Left background, right a class."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    mask[:, WIDTH // 2 :] = 2
    return mask


def blank(_: Sample) -> Mask:
    return np.full((HEIGHT, WIDTH), 255, dtype=np.int32)


def masked(
    samples: Sequence[Sample],
    mask_of: MaskOf = halves,
    crop: int = 16,
    scales: tuple[float, float] = (0.8, 1.2),
    **more: object,
) -> MaskedPictures:
    options = {"num_classes": 4, "normalise": NORMALISE, "seed": 0} | more
    return MaskedPictures(samples, mask_of, crop=crop, scales=scales, **options)


def paired(
    strong: Sequence[Sample], weak: Sequence[Sample], weak_mask_of: MaskOf | None = None, seed: int = 0
) -> PairedPictures:
    return PairedPictures(strong, halves, weak, weak_mask_of, NAMES, 16, (0.8, 1.2), NORMALISE, seed)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def break_file(sample: Sample) -> None:
    sample.path.write_text("this is no picture")


def test_an_item(tmp_path: Path) -> None:
    samples = stored(tmp_path, 3)
    dataset = masked(samples, crop=64, weights={"p1.png": 0.25, "p2.png": 0})
    assert len(dataset) == 3
    assert isinstance(dataset, Augmented)
    for index, weight in enumerate((1, 0.25, 0)):
        item = dataset[index]
        assert item["pictures"].shape == (3, 64, 64)
        assert item["masks"].shape == (64, 64)
        assert item["weights"].shape == ()
        assert [item[name].dtype for name in ("pictures", "masks", "weights")] == [
            torch.float32,
            torch.int64,
            torch.float32,
        ]
        assert float(item["weights"]) == weight
        assert set(item["masks"].unique().tolist()) == {0, 2, 255}
        padded = item["masks"] == 255
        assert item["pictures"][:, padded].abs().max() < 0.02, "the mean colour, rounded to a byte"
        shown = (
            item["pictures"][:, ~padded] * torch.tensor(NORMALISE.std)[:, None] + torch.tensor(NORMALISE.mean)[:, None]
        )
        assert torch.allclose(shown * 255, torch.tensor([[10.0 * index], [200], [30]]), atol=1e-3)
    assert masked(samples)[0]["weights"] == 1


def test_items_depend_on_seed_epoch_and_number_alone(tmp_path: Path) -> None:
    samples = stored(tmp_path, 6)
    dataset, again = masked(samples), masked(samples)
    first = [dataset[index] for index in range(6)]
    torch.manual_seed(9)
    np.random.seed(9)  # noqa: NPY002, what a careless caller does
    assert all(equal(again[index], first[index]) for index in (5, 0, 3, 1, 4, 2))
    dataset.set_epoch(1)
    assert not all(equal(dataset[index], first[index]) for index in range(6))
    assert not all(equal(masked(samples, seed=1)[index], first[index]) for index in range(6))
    dataset.set_epoch(0)
    loader = DataLoader(dataset, None, num_workers=2)
    assert all(equal(item, expected) for item, expected in zip(loader, first, strict=True))


def test_a_picture_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    samples = stored(tmp_path, 5)
    break_file(samples[1])
    break_file(samples[4])
    dataset = masked(samples, weights={sample.id: n for n, sample in enumerate(samples)})
    items = list(DataLoader(dataset, None, num_workers=2))
    assert [number_of(item["pictures"]) for item in items] == [0, 2, 2, 3, 0]
    assert [float(item["weights"]) for item in items] == [0, 2, 2, 3, 0], "the weight is that of what is shown"
    assert list(dataset.unreadable()) == ["p1.png", "p4.png"], "the workers report too"
    assert "p1.png" in dataset.unreadable()["p1.png"]
    assert dataset.undecided() == ()


def test_a_view_without_a_known_pixel_is_drawn_again(tmp_path: Path) -> None:
    """A quarter of the picture is known, so a crop of a few pixels often misses it; ten tries hardly ever do."""
    samples = stored(tmp_path, 2)

    def corner(sample: Sample) -> Mask:
        mask = blank(sample)
        mask[:15, :20] = 1
        return mask

    dataset = masked(samples, corner, crop=4)
    for epoch in range(20):
        dataset.set_epoch(epoch)
        assert all((dataset[index]["masks"] == 1).any() for index in range(2))


def test_a_mask_that_knows_nothing_is_replaced(tmp_path: Path) -> None:
    samples = stored(tmp_path, 4)
    mask_of = {sample.id: blank if number in (1, 2) else halves for number, sample in enumerate(samples)}
    dataset = masked(samples, lambda sample: mask_of[sample.id](sample))
    items = list(DataLoader(dataset, None, num_workers=2))
    assert [number_of(item["pictures"]) for item in items] == [0, 3, 3, 3]
    assert all((item["masks"] != 255).any() for item in items)
    assert dataset.undecided() == ("p1.png", "p2.png"), "the workers report too"


def test_tries_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One known pixel in a corner that views of one pixel miss: eleven draws are not made of it."""
    draws: Counter[int] = Counter()

    def watched(picture: Image.Image, mask: Mask, *more: object) -> object:
        draws[int((mask != 255).sum())] += 1
        return draw(picture, mask, *more)

    draw = pictures.random_view
    monkeypatch.setattr(pictures, "random_view", watched)
    samples = stored(tmp_path, 2)

    def mask_of(sample: Sample) -> Mask:
        mask = blank(sample) if sample.id == "p0.png" else halves(sample)
        mask[0, 0] = 1
        return mask

    dataset = masked(samples, mask_of, crop=1)
    assert number_of(dataset[0]["pictures"]) == 1
    assert draws == {1: 10, HEIGHT * WIDTH: 1}
    assert dataset.undecided() == ("p0.png",)


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    samples = stored(tmp_path, 3)
    with pytest.raises(PictureError) as raised:
        masked(samples, blank)[0]
    assert str(raised.value) == (
        "none of the 3 pictures to train with has a known pixel: 3 masks with 255 (ignore) wherever a view fell (the "
        "first: p0.png), 0 pictures that cannot be read; make masks with a narrower undecided band"
    )
    for sample in samples:
        break_file(sample)
    with pytest.raises(PictureError, match=r"none of the 3 pictures to train with can be read; the first: .*p0\.png"):
        masked(samples)[0]


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    samples = stored(tmp_path, 2)
    with pytest.raises(PictureError) as raised:
        masked(samples, lambda _: np.zeros((WIDTH, HEIGHT), np.int32))[1]
    assert str(raised.value) == (
        "p1.png: the mask has 30 x 40 pixels, the picture 40 x 30; make the mask anew from the picture as it is shown"
    )
    with pytest.raises(PictureError) as raised:
        masked(samples, lambda _: np.tile(np.array([0, 3, 4, 254, 255, -1], np.int32), (HEIGHT, 7))[:, :WIDTH])[0]
    assert str(raised.value) == (
        "p0.png: the mask holds -1, 4, 254, but values are 0 (background) to 3, or 255 (ignore); name all classes, or "
        "make the mask anew"
    )


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    samples = stored(tmp_path, 7)
    for expected, make in {
        "no pictures to train with; name pictures and their masks": lambda: masked([]),
        "masks tell 2 to 255 classes apart, background counted (255 means ignore); got 256": lambda: masked(
            samples, num_classes=256
        ),
        "crop is a side in pixels, at least 1; got 0": lambda: masked(samples, crop=0),
        "scales are a lowest and a highest factor above 0; got 1.5 and 0.5": lambda: masked(samples, scales=(1.5, 0.5)),
        "the weight of a picture is finite and not negative; got p0.png: -1": lambda: masked(
            samples[:2], weights={"p0.png": -1, "p1.png": 1}
        ),
    }.items():
        with pytest.raises(SettingError, match=f"^{re.escape(expected)}$"):
            make()


def test_a_pair(tmp_path: Path) -> None:
    strong, weak = stored(tmp_path, 2), stored(tmp_path, 3, "w", [("dog",), (), None])
    dataset = paired(strong, weak, lambda sample: halves(sample) + 1)
    assert len(dataset) == 3
    assert isinstance(dataset, Augmented)
    items = [dataset[index] for index in range(3)]
    for item in items:
        for name in ("pictures", "weak_pictures", "strong_pictures_1", "strong_pictures_2"):
            assert (item[name].shape, item[name].dtype) == ((3, 16, 16), torch.float32)
        for name in ("masks", "weak_masks"):
            assert (item[name].shape, item[name].dtype) == ((16, 16), torch.int64)
        for name in ("inside", "cutmix_1", "cutmix_2"):
            assert (item[name].shape, item[name].dtype) == ((16, 16), torch.bool)
        assert set(item["masks"].unique().tolist()) <= {0, 2, 255}
        assert set(item["weak_masks"].unique().tolist()) <= {1, 3, 255}
        assert torch.equal(item["inside"], item["weak_masks"] != 255)
        assert float(item["weights"]) == 1
    assert [number_of(item["weak_pictures"]) for item in items] == [0, 1, 2]
    labels = [[True, False, True, False], [True, False, False, False], [True] * 4]
    assert [item["labels"].tolist() for item in items] == labels, "background, and labels where they are known"
    assert paired(strong, weak[:2]).labels.tolist() == labels[:2]


def test_without_pseudo_labels_nothing_is_known(tmp_path: Path) -> None:
    """What was padded is told by `inside` then."""
    dataset = PairedPictures(
        stored(tmp_path, 1), halves, stored(tmp_path, 2, "w"), None, NAMES, 64, (1, 1), NORMALISE, 0
    )
    for index in range(2):
        assert (dataset[index]["weak_masks"] == 255).all()
        assert dataset[index]["inside"].sum() == WIDTH * HEIGHT


def test_strong_views_show_what_the_weak_one_shows(tmp_path: Path) -> None:
    """With the strong augmentations switched off all three are the same; with them, they differ from each other."""
    weak = stored(tmp_path, 1, "w")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(weak[0].path)
    dataset = paired(stored(tmp_path, 1), weak)
    different, boxes = 0, []
    for epoch in range(40):
        dataset.set_epoch(epoch)
        item = dataset[0]
        different += not torch.equal(item["strong_pictures_1"], item["strong_pictures_2"])
        boxes += [bool(item["cutmix_1"].any()), bool(item["cutmix_2"].any())]
    assert different > 30
    assert 20 < sum(boxes) < 60
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("advcam.segment.pictures.strong_view", lambda pixels, _: pixels)
        item = dataset[0]
    assert torch.equal(item["weak_pictures"], item["strong_pictures_1"])
    assert torch.equal(item["weak_pictures"], item["strong_pictures_2"])


@pytest.mark.parametrize(("cards", "hands"), [(3, 10), (10, 3), (4, 4), (1, 5), (7, 1)])
def test_every_strong_picture_is_used_equally_often(tmp_path: Path, cards: int, hands: int) -> None:
    """Over any number of epochs the counts differ by one at most, and the order is another each time."""
    dataset = paired(stored(tmp_path, cards), stored(tmp_path, hands, "w"))
    counts, orders = Counter(dict.fromkeys(range(cards), 0)), set()
    for epoch in range(12):
        dataset.set_epoch(epoch)
        partners = [dataset.partners[index] for index in range(hands)]
        counts.update(partners)
        orders.add(tuple(partners))
        assert max(counts.values()) - min(counts.values()) <= 1
    assert set(counts) == set(range(cards))
    assert len(orders) > 1 or cards == 1
    shown = number_of(dataset[0]["pictures"])
    assert shown == dataset.partners[0]


def test_pairs_depend_on_seed_epoch_and_number_alone(tmp_path: Path) -> None:
    strong, weak = stored(tmp_path, 5), stored(tmp_path, 8, "w", [("cat",)] * 8)
    dataset = paired(strong, weak)
    dataset.set_epoch(3)
    first = [dataset[index] for index in range(8)]
    again = paired(strong, weak)
    again.set_epoch(3)
    loader = DataLoader(again, None, num_workers=2)
    assert all(equal(item, expected) for item, expected in zip(loader, first, strict=True))
    again.set_epoch(4)
    assert not all(equal(again[index], first[index]) for index in range(8))
    other = paired(strong, weak, seed=1)
    other.set_epoch(3)
    assert not all(equal(other[index], first[index]) for index in range(8))


def test_pairs_with_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    strong, weak = stored(tmp_path, 3), stored(tmp_path, 4, "w", [("cat",), ("dog",), ("cow",), None])
    break_file(strong[0])
    break_file(weak[1])
    dataset = paired(strong, weak)
    items = list(DataLoader(dataset, None, num_workers=2))
    assert [number_of(item["weak_pictures"]) for item in items] == [0, 2, 2, 3]
    assert torch.equal(items[1]["labels"], dataset.labels[2]), "the labels are those of what is shown"
    assert all(number_of(item["pictures"]) > 0 for item in items)
    assert set(dataset.unreadable()) == {"p0.png", "w1.png"}
    for sample in weak:
        break_file(sample)
    with pytest.raises(PictureError, match=r"none of the 4 weakly labelled pictures can be read; the first: .*w0\.png"):
        paired(strong, weak)[0]


def test_pairs_that_cannot_be(tmp_path: Path) -> None:
    strong, weak = stored(tmp_path, 2), stored(tmp_path, 2, "w", [("dog",), ("dogs",)])
    with pytest.raises(LabelError, match=r"w1\.png: .*'dogs'; did you mean 'dog'\?"):
        paired(strong, weak)
    for lists in ((strong, []), ([], strong)):
        with pytest.raises(SettingError, match="no pictures to train with"):
            paired(*lists)
    with pytest.raises(PictureError, match=r"w0\.png: the mask holds 9, but values are 0 \(background\) to 3"):
        paired(strong, weak[:1], lambda sample: halves(sample) // 2 * 9)[0]
    dataset = PairedPictures(strong, blank, weak[:1], None, NAMES, 16, (1, 1), NORMALISE, 0)
    with pytest.raises(PictureError, match="none of the 2 pictures to train with has a known pixel"):
        dataset[0]
    assert dataset.undecided() == ("p0.png", "p1.png")


def test_a_survey_of_good_masks(tmp_path: Path) -> None:
    samples = stored(tmp_path, 4)
    masks = {sample.id: halves(sample) for sample in samples}
    masks["p1.png"][:] = 255
    masks["p2.png"][:5] = 255
    masks["p3.png"] = np.ones((HEIGHT, WIDTH), np.uint8)
    survey = survey_masks(samples, lambda sample: masks[sample.id], 4)
    known = np.concatenate([mask[mask != 255] for mask in masks.values()])
    assert survey.pixels.tolist() == [int((known == value).sum()) for value in range(4)]
    assert survey.pixels.dtype == np.int64
    assert survey.undecided == ("p1.png",)
    assert survey.problems == ()
    assert survey.unreadable == {}


def test_a_survey_names_all_problems_at_once(tmp_path: Path) -> None:
    samples = stored(tmp_path, 12)
    files = {sample.id: tmp_path / "masks" / sample.id for sample in samples}
    for number, sample in enumerate(samples):
        mask = halves(sample)
        if number in range(1, 8):
            mask = mask[:-1]
        if number == 8:
            mask[0, :2] = 77, 78
        write_mask(files[sample.id], mask)
    files["p9.png"].unlink()
    break_file(samples[10])
    survey = survey_masks(samples, lambda sample: read_mask(files[sample.id]), 4)
    assert survey.pixels.tolist() == [2 * 600, 0, 2 * 600, 0], "of the two whose picture and mask are well"
    size, values, missing = survey.problems
    assert size.startswith(
        "7 masks of another size (make them from the pictures as they are shown): p1.png (the mask has 40 x 29 pixels, "
        "the picture 40 x 30), p2.png"
    )
    assert size.endswith("and 2 more")
    assert values == (
        "1 mask with values of no class (name all classes, or make them anew): p8.png (the mask holds 77, 78, but "
        "values are 0 (background) to 3, or 255 (ignore))"
    )
    assert missing.startswith("1 mask cannot be read (write them again, or leave their pictures out): ")
    assert "p9.png" in missing
    assert list(survey.unreadable) == ["p10.png"]
    assert survey.unreadable["p10.png"].startswith("p10.png: the picture cannot be read")


def test_a_survey_sees_pictures_as_they_are_shown(tmp_path: Path) -> None:
    """An EXIF orientation turns the picture, and its mask is of the turned one: as the training has it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "turned.jpg", exif=exif)
    sample = Sample("turned.jpg", tmp_path / "turned.jpg")
    assert survey_masks([sample], lambda _: halves(sample).T, 3).problems == ()
    assert (masked([sample], lambda _: halves(sample).T)[0]["masks"] != 255).any()
    assert len(survey_masks([sample], halves, 3).problems) == 1
