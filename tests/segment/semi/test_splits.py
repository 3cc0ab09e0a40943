import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.datasets.dataset import Dataset
from advcam.datasets.synthetic.voc import write_voc2012
from advcam.datasets.voc import VOC2012
from advcam.errors import DatasetError, SettingError
from advcam.segment.semi.splits import check_apart, strong_samples
from advcam.types import Mask, Sample

NAMES = ("ant", "bee", "cow", "dog", "elk")


class Toy(Dataset):
    """Pictures that show classes, some of which have no mask.

    Args:
        shown: Names of the classes of each picture, by id.
        without: Ids of pictures without a mask.
    """

    layout, title, landmarks = "toy", "Toy", ()
    class_names = NAMES
    splits = ("all",)

    def __init__(self, shown: Mapping[str, tuple[str, ...]], without: tuple[str, ...] = ()) -> None:
        super().__init__(Path())
        self.shown, self.without, self.looks = shown, without, Counter()

    def ids(self, split: str) -> Iterator[str]:
        return iter(self.shown)

    def sample(self, id_: str) -> Sample:
        return Sample(id_, Path(id_), self.shown[id_])

    def mask(self, id_: str) -> Mask | None:
        self.looks[id_] += 1
        values = [0, 255, *(NAMES.index(name) + 1 for name in self.shown[id_])]
        return None if id_ in self.without else np.array([values], dtype=np.int32)

    def draw(self, strong: str, seed: int = 0) -> list[str]:
        chosen, rest = strong_samples(self, list(self.samples("all")), strong, seed)
        assert [s.id for s in rest] == [id_ for id_ in self.shown if id_ not in {s.id for s in chosen}]
        return [sample.id for sample in chosen]


def zoo(count: int = 100, seed: int = 0) -> Toy:
    """Class k is k times as rare as the first one; some pictures show two."""
    random = np.random.default_rng(seed)
    chance = 1 / np.arange(1, 6)
    shown = {}
    for number in range(count):
        classes = random.choice(5, random.integers(1, 3), replace=False, p=chance / chance.sum())
        shown[f"p/{number:03d}.jpg"] = tuple(NAMES[k] for k in sorted(classes))
    return Toy(shown, tuple(f"p/{number:03d}.jpg" for number in range(0, count, 7)))


@pytest.mark.parametrize("count", [5, 20, 60])
def test_classes_are_balanced(count: int) -> None:
    """As far as two classes in a picture, and what there is of a class, allow."""
    data = zoo()
    chosen = data.draw(str(count))
    assert len(set(chosen)) == count
    shown = Counter(name for id_ in chosen for name in data.shown[id_])
    there = Counter(name for id_, names in data.shown.items() if id_ not in data.without for name in names)
    assert min(shown[name] for name in NAMES) >= min(count // 5, min(there.values()))


def test_a_draw_is_more_even_than_chance() -> None:
    """By the pictures of the rarest class, over many seeds."""
    data, random = zoo(), np.random.default_rng(0)
    ids = list(data.shown)

    def rarest(chosen: Iterable[str]) -> int:
        shown = Counter(name for id_ in chosen for name in data.shown[id_])
        return min(shown[name] for name in NAMES)

    drawn = [rarest(data.draw("20", seed)) for seed in range(20)]
    by_chance = [rarest(random.choice(ids, 20, replace=False)) for _ in range(20)]
    assert min(drawn) >= 4
    assert np.mean(drawn) > 1.5 * np.mean(by_chance)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1000), draw=st.integers(0, 1000), fewer=st.integers(1, 30), more=st.integers(0, 30))
def test_draws_are_nested_and_have_every_class_and_masks(seed: int, draw: int, fewer: int, more: int) -> None:
    data = zoo(70, seed)
    chosen = data.draw(str(fewer + more), draw)
    assert data.draw(str(fewer), draw) == chosen[:fewer]
    assert not set(chosen) & set(data.without)
    assert len(set(chosen)) == fewer + more
    there = {name for id_, names in data.shown.items() if id_ not in data.without for name in names}
    if len(chosen) >= len(there):
        assert {name for id_ in chosen for name in data.shown[id_]} == there


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_pictures() -> None:
    data = zoo()
    samples = list(data.samples("all"))
    forth, _ = strong_samples(data, samples, "20", 3)
    back, rest = strong_samples(data, samples[::-1], "20", 3)
    assert forth == back
    assert rest == [sample for sample in samples[::-1] if sample not in back]
    assert {s.id for s in forth} != set(data.draw("20", seed=4))


def test_masks_are_read_of_few_pictures() -> None:
    """A data set of a million pictures costs little; without image labels all masks have to be looked at."""
    data = zoo()
    data.draw("10")
    assert 10 <= sum(data.looks.values()) <= 15


def test_without_image_labels_the_masks_say_what_is_shown() -> None:
    data = zoo()
    unlabelled = [Sample(sample.id, sample.path) for sample in data.samples("all")]
    chosen, _ = strong_samples(data, unlabelled, "30", 1)
    known = Toy({id_: names for id_, names in data.shown.items() if id_ not in data.without})
    shown = Counter(name for sample in chosen for name in data.shown[sample.id])
    expected = Counter(name for id_ in known.draw("30", seed=1) for name in data.shown[id_])
    assert min(shown.values()) >= min(6, *expected.values())
    assert all(sample.labels is None for sample in chosen)


def test_rare_classes_come_first() -> None:
    """The elk never stands alone: with it the ant is there too, and two pictures show all three."""
    data = Toy({f"{n}": ("ant", "elk") if n == 7 else ("ant",) if n < 9 else ("bee",) for n in range(12)})
    for seed in range(5):
        first, second = data.draw("2", seed)
        assert (first, data.shown[second]) == ("7", ("bee",))


def test_pictures_that_show_nothing_count_as_a_class() -> None:
    data = Toy({f"{n}": ("ant",) if n < 9 else () for n in range(12)})
    assert sum(not data.shown[id_] for id_ in data.draw("4")) == 2
    assert len(data.draw("12")) == 12


@pytest.mark.parametrize(
    ("share", "total", "count"),
    [
        *[("1/16", 10_582, 662), ("1/8", 10_582, 1_323), ("1/16", 1_464, 92), ("1/8", 1_464, 183), ("1/32", 64, 2)],
        *[("0.03125", 64, 2), ("0.0001", 64, 1), ("1.0", 7, 7), ("1/1", 7, 7), (" 3 ", 7, 3), ("1", 7, 1)],
    ],
)
def test_numbers_and_shares(share: str, total: int, count: int) -> None:
    """Rounded up: the sizes of the published splits of VOC."""
    assert len(Toy({f"{n}": ("ant",) for n in range(total)}).draw(share)) == count


@pytest.mark.parametrize(
    ("strong", "message"),
    [
        ("0", "0 of 100 pictures leaves no strong one; name at least 1"),
        ("-3", "-3 of 100 pictures leaves no strong one"),
        ("0.0", "leaves no strong one"),
        ("1.5", "a share of the pictures is at most 1; got 1.5; a number has no point or slash"),
        ("60.0", "a share of the pictures is at most 1; got 60.0"),
        ("86", "86 strong pictures wanted, and 85 of 100 pictures have a true mask; name fewer, or a split whose"),
        ("0.99", "99 strong pictures wanted, and 85 of 100 pictures have a true mask"),
        ("1/0", "a file with one a line; '1/0' is none of them"),
        ("nowhere.txt", 'a number ("60"), a share ("1/32" or "0.03125") or a file with one a line; \'nowhere.txt\' is'),
        (".", "'.' is none of them"),
    ],
)
def test_what_cannot_be_chosen(strong: str, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        zoo().draw(strong)


def test_all_that_have_masks_can_be_chosen() -> None:
    data = zoo()
    assert set(data.draw("85")) == set(data.shown) - set(data.without)


def test_no_pictures() -> None:
    with pytest.raises(SettingError, match="1/2 of 0 pictures leaves no strong one"):
        strong_samples(zoo(), [], "1/2", 0)


def test_a_list(tmp_path: Path) -> None:
    """Each form of a line, blank lines, and a picture twice, in the order of the list."""
    data = Toy(dict.fromkeys(("a/1.jpg", "b/1.jpg", "b/2 3.jpg", "b/4.jpg", "2007_000032", "b/5.jpg"), ("ant",)))
    path = tmp_path / "strong.txt"
    path.write_text(
        "b/1.jpg\n\n/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n4\nb/2 3.jpg\nb/4.jpg\n"
    )
    assert data.draw(str(path)) == ["b/1.jpg", "2007_000032", "b/4.jpg", "b/2 3.jpg"]


def test_a_list_that_does_not_fit(tmp_path: Path) -> None:
    data, path = zoo(), tmp_path / "strong.txt"
    path.write_text("p/001.jpg\np/0O2.jpg\nq\nr\ns\n")
    message = (
        "4 lines of the strong pictures' list name none of the 100 pictures to train with: "
        f"{path}, line 2: 'p/0O2.jpg', {path}, line 3: 'q', {path}, line 4: 'r' and 1 more; "
        "mend the list, or name the split that they are in"
    )
    with pytest.raises(DatasetError, match=re.escape(message)):
        data.draw(str(path))
    path.write_text("p/001.jpg\np/007.jpg\n")
    message = f"{path} names 1 picture without a mask (p/007.jpg); a strong picture needs one: restore it, or remove"
    with pytest.raises(DatasetError, match=re.escape(message)):
        data.draw(str(path))
    path.write_text("\n")
    with pytest.raises(DatasetError, match="names no picture; write one a line"):
        data.draw(str(path))


def test_a_stem_that_two_pictures_share_names_none(tmp_path: Path) -> None:
    data = Toy({"a/1.jpg": ("ant",), "b/1.jpg": ("ant",)})
    path = tmp_path / "strong.txt"
    path.write_text("1\n")
    with pytest.raises(DatasetError, match="1 line of the strong pictures' list"):
        data.draw(str(path))


def test_lists_that_overlap() -> None:
    samples = list(zoo().samples("all"))
    check_apart(samples[:5], samples[5:])
    message = (
        "5 pictures in the list of strong and in that of weak pictures (p/000.jpg, p/001.jpg, p/002.jpg and 2 more); "
        "keep each in one of them"
    )
    with pytest.raises(SettingError, match=re.escape(message)):
        check_apart(samples[:5], samples)


def test_of_voc(tmp_path: Path) -> None:
    """Pictures of trainaug that have a mask only in SBD are weak without it."""
    write_voc2012(tmp_path, pictures=24)
    data = VOC2012(tmp_path)
    samples = list(data.samples("trainaug"))
    strong, rest = strong_samples(data, samples, "6", 0)
    assert all(data.mask(sample.id) is not None for sample in strong)
    assert any(data.mask(sample.id) is None for sample in rest)
    assert {name for sample in strong for name in sample.labels or ()} >= {"aeroplane", "cat", "person", "sofa"}
