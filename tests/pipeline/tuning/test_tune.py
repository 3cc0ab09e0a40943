"""Tuning: the scores are those of real climbs, the choice that of the definition, and a search goes on as if whole."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import CAM, AdvCAM, Attribution, Classifier, RunError, SettingError
from advcam.datasets.dataset import Dataset
from advcam.errors import DatasetError, LabelError
from advcam.evaluate.segmentation import ConfusionMatrix
from advcam.pipeline.recipe import read_recipe
from advcam.pipeline.tuning.choice import MOST_GIVEN, Chooser, cross_validate, jackknife_error
from advcam.pipeline.tuning.outputs import words
from advcam.pipeline.tuning.scores import THRESHOLDS, Extent, ScoreTable, extents_within, fused_maps
from advcam.pipeline.tuning.search import Search, SearchPlan, Trial
from advcam.pipeline.tuning.tune import TunePlan, TuneResult, tune, tune_dataset, tune_settings
from advcam.types import Mask, Sample, Trajectory

SIDE, WIDTH = 40, 20  # of the pictures, and of the object at their left: half of the picture
PICTURES = 6


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


class Halves(Dataset):
    """Pictures whose left half is the object; "none" and "ignored" have no mask worth the name. No picture has a bird.

    Picture n is a cat, or a dog for an odd n.
    """

    layout, title, landmarks = "halves", "Halves", ()
    class_names = ("cat", "dog", "bird")
    splits = ("train", "mixed")

    def __init__(self, root: Path, pictures: int = PICTURES) -> None:
        super().__init__(root)
        self.count = pictures
        noise = np.random.default_rng(0).integers(0, 256, (pictures + 1, SIDE, SIDE, 3), dtype=np.uint8)
        for number, pixels in enumerate(noise[:-1]):
            Image.fromarray(pixels).save(root / f"{number}.png")
        for name in ("none", "ignored", "unlabelled", "other_size"):
            Image.fromarray(noise[-1]).save(root / f"{name}.png")

    def ids(self, split: str) -> Iterator[str]:
        self.check_split(split)
        yield from map(str, range(self.count))
        if split == "mixed":
            yield from ("none", "ignored", "unlabelled", "other_size", "absent")

    def sample(self, id_: str) -> Sample:
        labels = ("dog" if id_.isdecimal() and int(id_) % 2 else "cat",)
        return Sample(id_, self.root / f"{id_}.png", () if id_ == "unlabelled" else labels)

    def mask(self, id_: str) -> Mask | None:
        if id_ == "none":
            return None
        if id_ in ("ignored", "other_size"):
            return np.full((SIDE, SIDE if id_ == "ignored" else SIDE + 1), 255 * (id_ == "ignored"), dtype=np.int32)
        mask = np.zeros((SIDE, SIDE), dtype=np.int32)
        mask[:, :WIDTH] = 2 if id_.isdecimal() and int(id_) % 2 else 1
        return mask


class StubMethod:
    """A climb whose masks are known at every threshold: after T steps the map is 1 on a rectangle, 0 elsewhere.

    It has the first 2 (T + 1) columns, so T = 9 has the 20 of the object; rows are missing by 4 |penalty - 2|, so
    penalty 2 has all. Scale 2 adds a constant, which a high threshold takes away again.
    """

    fusion = "sum"

    def __init__(self, extent: Extent, penalty: float, useful: bool = True) -> None:
        self.extent, self.missing = extent, round(4 * abs(penalty - 2)) if useful else 0

    def __call__(
        self, pictures: list[Image.Image], targets: list[tuple[int, ...]], *, record: str
    ) -> list[Attribution]:
        assert record == "maps"
        maps = np.zeros((self.extent.iterations + 1, SIDE, SIDE), dtype=np.float32)
        for t in range(len(maps)):
            maps[t, self.missing :, 2 * t : 2 * t + 2] = 1
        (classes,) = targets
        everywhere = np.ones_like(maps)
        climbs = [
            Trajectory(c, scale, everywhere if scale == 2 else maps, np.zeros((len(maps), 3), dtype=np.float32))
            for c in classes
            for scale in self.extent.scales
        ]
        final = np.stack([maps[-1]] * len(classes))
        scores = np.zeros(len(classes), dtype=np.float32)
        return [Attribution(classes, tuple(map(str, classes)), final, (SIDE, SIDE), scores, trajectories=tuple(climbs))]


def stub_miou(penalty: float, columns: int = WIDTH) -> float:
    """MIoU of the rectangle, from areas; the classes are cat, dog (of equal IoU) and background."""
    rows = SIDE - round(4 * abs(penalty - 2))
    right, claimed, true = rows * min(columns, WIDTH), rows * columns, SIDE * WIDTH
    background = SIDE * SIDE - claimed - (true - right)
    return (2 * right / (true + claimed - right) + background / (SIDE * SIDE - right)) / 3


class Watcher:
    """Remembers what it hears; raises an interrupt after so many pictures."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.plans: list[TunePlan] = []
        self.passes: list[float] = []
        self.trials: list[Trial] = []
        self.stop_after = stop_after

    def announce(self, plan: TunePlan) -> None:
        self.plans.append(plan)

    def picture_done(self, trial: int, passes: float) -> None:
        self.passes.append(passes)
        if len(self.passes) == self.stop_after:
            raise KeyboardInterrupt

    def trial_done(self, trial: Trial, best: float) -> None:
        self.trials.append(trial)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.from_module(Toy(), class_names=["cat", "dog", "bird"])


@pytest.fixture
def halves(tmp_path: Path) -> Halves:
    (tmp_path / "data").mkdir()
    return Halves(tmp_path / "data")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "method", lambda self, n, c: StubMethod(self.plan.longest(n), c["penalty"]))


def settings(out: Path, **changed: object):
    values = {"data": out, "out": out, "split": "train", "labelled": PICTURES, "folds": 3, "budget": 50_000}
    values |= {"max_trials": 12, "scales": (0.5, 2.0)}
    return tune_settings(**(values | changed))


def run(data: Dataset, classifier: Classifier, out: Path, watcher: Watcher | None = None, **changed: object):
    return tune_dataset(data, classifier, None, settings(out, **changed), watcher or Watcher(), "advcam tune")


# What a climb says of shorter ones


SCENE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((50, 36))


def even(classifier: Classifier, iterations: int, scales: tuple[float, ...]) -> AdvCAM:
    """As many steps at every scale, with flips."""
    return AdvCAM(classifier, effort="paper", iterations=iterations, small_iterations=iterations, scales=scales)


def test_maps_of_every_extent_are_those_of_its_own_climb(classifier: Classifier):
    longest = Extent(3, (0.5, 1.0, 2.0))
    (recorded,) = even(classifier, 3, longest.scales)([SCENE], [[2, 0]], record="maps")
    extents = extents_within(longest)
    assert len(extents) == 4 * 7
    for extent, maps in zip(extents, fused_maps(recorded, extents, "sum"), strict=True):
        if extent.iterations:
            (own,) = even(classifier, extent.iterations, extent.scales)([SCENE], [[2, 0]])
        else:
            (own,) = CAM(classifier, scales=extent.scales)([SCENE], [[2, 0]])
        np.testing.assert_allclose(maps, own.maps, atol=2e-6)


@pytest.mark.parametrize("extent", [Extent(0, (1.0,)), Extent(5, (0.5, 2.0)), Extent(8, (0.5, 1.0, 2.0))])
def test_the_cost_of_an_extent_is_that_of_its_method(classifier: Classifier, extent: Extent):
    climb = {"iterations": extent.iterations, "small_iterations": extent.iterations} if extent.iterations else {}
    method = (AdvCAM if climb else CAM)(classifier, flip=True, scales=extent.scales, **climb)
    assert extent.passes == method.cost([1]).passes


def test_scores_are_those_of_label_masks_counted_one_by_one(classifier: Classifier):
    rng = np.random.default_rng(3)
    truth = np.kron(rng.choice([0, 1, 3, 255], (6, 5)), np.ones((6, 10), dtype=int)).astype(np.int32)
    extents = (Extent(0, (1.0,)), Extent(2, (0.5, 1.0)))
    (recorded,) = even(classifier, 2, (0.5, 1.0))([SCENE], [[1, 0]], record="maps")
    table = ScoreTable.of_picture(0, recorded, (2, 0), (1, 0), truth, extents, "sum")
    for extent, maps in zip(extents, fused_maps(recorded, extents, "sum"), strict=True):
        # Output 1 stands for class 2 of the data set, output 0 for its class 0.
        seeds = Attribution((2, 0), ("bird", "cat"), maps, recorded.image_size, recorded.scores)
        for threshold in (THRESHOLDS[0], 0.4, THRESHOLDS[-1]):
            matrix = ConfusionMatrix(4)
            matrix.add(truth, seeds.label_mask(threshold))
            counts = matrix.counts
            right, union = table.terms(extent, threshold, [0], 4)
            np.testing.assert_array_equal(right[0], counts.diagonal())
            np.testing.assert_array_equal(union[0], counts.sum(axis=0) + counts.sum(axis=1) - counts.diagonal())
            found = table.miou([0])[extents.index(extent), THRESHOLDS.index(threshold)]
            assert found == pytest.approx(matrix.scores().miou, abs=1e-12)


def test_two_labels_may_share_an_output(classifier: Classifier):
    truth = np.zeros((36, 50), dtype=np.int32)
    truth[:9] = 1
    (recorded,) = even(classifier, 1, (1.0,))([SCENE], [[1]], record="maps")
    table = ScoreTable.of_picture(0, recorded, (0, 1), (1, 1), truth, [Extent(1, (1.0,))], "sum")
    assert table.classes.tolist() == [0, 1, 2]  # the second label is in no mask and, equal to the first, wins no pixel
    assert table.union[2].max() == 0


# The choice


def random_table(seed: int, extents: tuple[Extent, ...], pictures: int) -> ScoreTable:
    """Counts of pictures with background, class 1, and in every second picture class 2."""
    rng = np.random.default_rng(seed)
    entries = [(p, c) for p in range(pictures) for c in (0, 1, 2) if c < 2 or p % 2]
    union = rng.integers(50, 100, (len(entries), len(extents), len(THRESHOLDS)))
    right = (union * rng.uniform(0.3, 1, union.shape)).astype(np.int32)
    numbers, classes = np.array(entries, dtype=np.int32).T
    return ScoreTable(extents, numbers, classes, right, union.astype(np.int32))


def literal_miou(table: ScoreTable, extent: int, threshold: int, pictures: list[int]) -> float:
    shares = []
    for c in (0, 1, 2):
        right = union = 0
        for entry in range(len(table.pictures)):
            if table.classes[entry] == c and table.pictures[entry] in pictures:
                right += int(table.right[entry, extent, threshold])
                union += int(table.union[entry, extent, threshold])
        if union:
            shares.append(right / union)
    return sum(shares) / len(shares)


def literal_choice(tables: dict[int, ScoreTable], pictures: list[int]) -> tuple[int, int, int]:
    """Trial, extent, threshold by the definition of the rule."""
    scores = {
        (trial, e): max((literal_miou(table, e, h, pictures), -h) for h in range(len(THRESHOLDS)))
        for trial, table in tables.items()
        for e in range(len(table.extents))
    }
    (trial, e), (best, row) = max(scores.items(), key=lambda item: item[1][0])
    left_out = [literal_miou(tables[trial], e, -row, [p for p in pictures if p != out]) for out in pictures]
    mean = sum(left_out) / len(left_out)
    error = math.sqrt((len(left_out) - 1) / len(left_out) * sum((one - mean) ** 2 for one in left_out))
    near = [key for key, (score, _) in scores.items() if score >= best - min(error, MOST_GIVEN)]
    chosen = min(near, key=lambda key: (tables[key[0]].extents[key[1]].passes, -scores[key][0], key[0]))
    return (*chosen, -scores[chosen][1])


def test_cross_validation_is_the_definition_recomputed():
    extents = (Extent(0, (1.0,)), Extent(1, (0.5,)), Extent(1, (1.0,)))
    tables = {trial: random_table(trial, extents, 6) for trial in (0, 2)}
    folds = [[0, 3], [1, 5], [2, 4]]
    chooser = Chooser(tables.__getitem__, list(tables), extents, 3)
    found = cross_validate(chooser, folds, extents[2], extents[0], seed=1)

    pooled, of_defaults = np.zeros((2, 2, 3))
    for fold, choice in zip(folds, found.choices, strict=True):
        others = [p for p in range(6) if p not in fold]
        trial, e, h = literal_choice(tables, others)
        assert (choice.trial, choice.extent, choice.threshold) == (trial, extents[e], THRESHOLDS[h])
        row = max(range(len(THRESHOLDS)), key=lambda row: literal_miou(tables[0], 2, row, others))
        for table, column, threshold, sums in ((tables[trial], e, h, pooled), (tables[0], 2, row, of_defaults)):
            for entry in range(len(table.pictures)):
                if table.pictures[entry] in fold:
                    sums[0, table.classes[entry]] += table.right[entry, column, threshold]
                    sums[1, table.classes[entry]] += table.union[entry, column, threshold]
    assert found.tuned == pytest.approx((pooled[0] / pooled[1]).mean(), abs=1e-12)
    assert found.defaults == pytest.approx((of_defaults[0] / of_defaults[1]).mean(), abs=1e-12)
    assert found.gain.value == pytest.approx(found.tuned - found.defaults, abs=1e-12)
    assert found.gain.low <= found.gain.value <= found.gain.high


def two_extents(shares: dict[Extent, list[float]]) -> ScoreTable:
    """Pictures of 10,000 pixels whose two classes both have the given IoU at every threshold."""
    count = len(next(iter(shares.values())))
    right = np.array([[round(10_000 * share) for share in row] for row in shares.values()], dtype=np.int32)
    entries = np.repeat(np.arange(count, dtype=np.int32), 2)
    columns = np.repeat(right.T, 2, axis=0)[..., None].repeat(len(THRESHOLDS), axis=-1)
    return ScoreTable(
        tuple(shares), entries, np.tile([0, 1], count).astype(np.int32), columns, np.full_like(columns, 10_000)
    )


@pytest.mark.parametrize(("cheap", "chosen"), [(0.798, 1), (0.796, 4)])
def test_a_cheaper_extent_is_chosen_within_three_tenths_of_a_point(cheap: float, chosen: int):
    # The dear one scores .7 and .9: mean .8, jackknife error .1, so 0.3 points decide.
    table = two_extents({Extent(1, (1.0,)): [cheap, cheap], Extent(4, (1.0,)): [0.7, 0.9]})
    (choice,) = Chooser(lambda _: table, [0], table.extents, 2).best([[0, 1]])
    assert choice.extent.iterations == chosen
    assert choice.miou == pytest.approx(cheap if chosen == 1 else 0.8)


def test_nothing_is_given_away_where_all_pictures_agree():
    table = two_extents({Extent(1, (1.0,)): [0.799, 0.799], Extent(4, (1.0,)): [0.8, 0.8]})
    (choice,) = Chooser(lambda _: table, [0], table.extents, 2).best([[0, 1]])
    assert choice.extent.iterations == 4  # its standard error is 0


def test_the_jackknife_error_of_a_mean_is_its_standard_error():
    values = np.array([0.2, 0.5, 0.6, 0.9])
    error = jackknife_error(values[:, None], np.ones((4, 1)))
    assert error == pytest.approx(values.std(ddof=1) / 2)


# A search


@pytest.mark.usefixtures("stub")
def test_the_best_setting_is_found_with_its_steps_and_the_cheapest_scales(
    halves: Halves, classifier: Classifier, tmp_path: Path
):
    result = run(halves, classifier, tmp_path / "out")
    complete = [trial for trial in result.trials if trial.state == "complete"]
    assert result.trials[0].constants["penalty"] == 1
    assert result.defaults.miou == pytest.approx(stub_miou(1, columns=18))  # T = 8
    for trial in complete:
        assert trial.value == pytest.approx(stub_miou(trial.constants["penalty"]))
    assert result.tuned.extent == Extent(9, (0.5,))
    assert result.tuned.miou == pytest.approx(max(trial.value for trial in complete))
    assert result.tuned.miou > stub_miou(1)
    assert result.recommended == "tuned"
    # Halves are alike, so each fold chooses the same, and the held-out score is that of the choice.
    assert result.validation.tuned == pytest.approx(result.tuned.miou)


@pytest.mark.usefixtures("stub")
def test_the_recipe_holds_the_choice_and_can_be_run(halves: Halves, classifier: Classifier, tmp_path: Path):
    result = run(halves, classifier, tmp_path / "out")
    recipe = read_recipe(tmp_path / "out" / "recipe.yaml")
    assert recipe == result.recipe
    assert recipe.method.chosen() == {
        "effort": "paper",
        "iterations": 9,
        "small_iterations": 9,
        "scales": (0.5,),
        "max_side": 512,
        **result.trials[result.tuned.trial].constants,
    }
    assert recipe.outputs.threshold == result.tuned.threshold
    assert sorted(recipe.chosen.labelled) == [str(number) for number in range(PICTURES)]
    assert recipe.chosen.supervision == "validated on 6 labelled pictures"
    AdvCAM(classifier, **recipe.method.chosen())


def test_defaults_are_recommended_where_nothing_gains(
    halves: Halves, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Whatever the constants, nine steps would be best; with eight at most the defaults are as good as anything.
    monkeypatch.setattr(Search, "method", lambda self, n, c: StubMethod(self.plan.longest(n), 2, useful=False))
    result = run(halves, classifier, tmp_path / "out", max_iterations=8)
    assert result.validation.gain.value == pytest.approx(0)
    assert result.recommended == "defaults"
    recipe = read_recipe(tmp_path / "out" / "recipe.yaml")
    assert recipe.method.iterations == 8
    assert recipe.method.scales == (0.5, 1, 2)
    assert recipe.outputs.threshold == result.defaults.threshold
    assert recipe.chosen.recommended == "defaults"
    assert words(result)[-1].startswith("recommended: the defaults")


def test_plain_cam_can_be_the_choice(
    halves: Halves, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Shrinking(StubMethod):
        """The plain map is the object; every step adds a row of the background."""

        def __call__(self, pictures, targets, *, record):
            (result,) = super().__call__(pictures, targets, record=record)
            for one in result.trajectories:
                one.maps[:] = 0
                one.maps[0, :, :WIDTH] = 1
                for t in range(1, len(one.maps)):
                    one.maps[t, t] = 1
                    one.maps[t, :, :WIDTH] = 0
            return [result]

    monkeypatch.setattr(Search, "method", lambda self, n, c: Shrinking(self.plan.longest(n), 2))
    result = run(halves, classifier, tmp_path / "out", max_trials=3)
    assert result.tuned.extent == Extent(0, (0.5,))
    assert result.validation.tuned == pytest.approx(1)
    assert result.recommended == "tuned"
    assert read_recipe(tmp_path / "out" / "recipe.yaml").method.chosen() == {"scales": (0.5,), "max_side": 512}
    assert "plain CAM, no climb; scales 0.5" in "\n".join(words(result))


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("trials", [1, 2.5, 4])
def test_the_budget_is_never_exceeded(halves: Halves, classifier: Classifier, tmp_path: Path, trials: float):
    whole = 2 * (2 * 12 + 1) * (0.25 + 1 + 4) * PICTURES  # passes of T = 12 at three scales with flips
    watcher = Watcher()
    result = run(halves, classifier, tmp_path / "out", watcher, budget=trials * whole, scales=None)
    assert sum(watcher.passes) == pytest.approx(result.spent)
    assert result.spent <= trials * whole
    assert result.spent + whole > trials * whole  # no other trial would have fitted
    assert len(result.trials) == int(trials)


def test_a_budget_that_does_not_hold_the_defaults_says_so(halves: Halves, classifier: Classifier, tmp_path: Path):
    with pytest.raises(SettingError, match=r"budget of 1,500 passes does not hold the defaults on 6 .* 1,575 passes"):
        run(halves, classifier, tmp_path / "out", budget=1500)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("stub")
def test_bad_trials_are_given_up_and_never_chosen(halves: Halves, classifier: Classifier, tmp_path: Path):
    result = run(halves, classifier, tmp_path / "out", max_trials=16)
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    full = max(trial.passes for trial in result.trials[1:])
    for trial in pruned:
        assert trial.passes == pytest.approx(full * max(trial.rungs) / PICTURES)
        assert trial.number not in {result.tuned.trial, *(choice.trial for choice in result.validation.choices)}


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.suffix in (".yaml", ".json", ".jsonl") and p.name != "config.json"
    }


def scores(out: Path) -> list[np.ndarray]:
    return [np.load(path)[name] for path in sorted((out / "scores").glob("*.npz")) for name in ("right", "union")]


@pytest.mark.usefixtures("stub")
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(halves: Halves, classifier: Classifier, tmp_path: Path):
    whole = run(halves, classifier, tmp_path / "whole", max_trials=11)
    for stop in (4, 20):  # in the first trial, and later
        with pytest.raises(KeyboardInterrupt):
            run(halves, classifier, tmp_path / "parts", Watcher(stop), max_trials=11)
    with (tmp_path / "parts" / "trials.jsonl").open("a") as file:
        file.write('{"number": 99, "consta')  # a line that a kill cut short
    run(halves, classifier, tmp_path / "parts", max_trials=8)
    watcher = Watcher()
    run(halves, classifier, tmp_path / "parts", watcher, max_trials=11)
    assert [trial.number for trial in watcher.trials] == [8, 9, 10]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    for one, two in zip(scores(tmp_path / "parts"), scores(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(one, two)
    again = Watcher()
    assert run(halves, classifier, tmp_path / "whole", again, max_trials=11).figures == whole.figures
    assert not again.passes


@pytest.mark.usefixtures("stub")
def test_another_search_in_the_folder_is_refused(halves: Halves, classifier: Classifier, tmp_path: Path):
    run(halves, classifier, tmp_path / "out", max_trials=1)
    with pytest.raises(RunError, match="max_iterations was 12, is now 10"):
        run(halves, classifier, tmp_path / "out", max_trials=1, max_iterations=10)


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("damage", ["trials.jsonl", "scores/0000.npz"])
def test_a_damaged_search_is_one_line(halves: Halves, classifier: Classifier, tmp_path: Path, damage: str):
    run(halves, classifier, tmp_path / "out", max_trials=2)
    path = tmp_path / "out" / damage
    path.write_bytes(b"damage\n" + path.read_bytes()[:100])
    with pytest.raises(RunError, match="start"):
        run(halves, classifier, tmp_path / "out", max_trials=2)


def test_a_real_climb_is_searched_and_its_choice_scores_the_same_when_run(
    halves: Halves, classifier: Classifier, tmp_path: Path
):
    result = run(halves, classifier, tmp_path / "out", max_trials=3, max_iterations=8, scales=(0.5, 1), max_side=40)
    choice = result.tuned
    constants = result.trials[choice.trial].constants if choice.extent.iterations else {}
    if choice.extent.iterations:
        constants = {**constants, "iterations": choice.extent.iterations}
    method = (AdvCAM if constants else CAM)(classifier, scales=choice.extent.scales, max_side=40, **constants)
    matrix = ConfusionMatrix(4)
    for number in range(PICTURES):
        (seeds,) = method([Image.open(halves.root / f"{number}.png")], [[number % 2]])
        matrix.add(halves.mask(str(number)), seeds.label_mask(choice.threshold))
    assert choice.miou == pytest.approx(matrix.scores().miou, abs=2e-3)  # rounding may move a pixel or two
    assert choice.extent in extents_within(Extent(8, (0.5, 1.0)))
    assert result.defaults.extent == Extent(8, (0.5, 1.0, 2.0))  # beyond the scales that were searched


# The labelled handful


def test_pictures_that_do_not_fit_are_left_out_and_said(
    halves: Halves, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Search, "method", lambda self, n, c: StubMethod(self.plan.longest(n), c["penalty"]))
    watcher = Watcher()
    result = run(halves, classifier, tmp_path / "out", watcher, split="mixed", labelled=50, max_trials=1)
    assert sorted(result.labelled) == [str(number) for number in range(PICTURES)]
    assert set(result.notes) == {
        "left out 1 picture without a mask",
        "left out 1 picture without image labels",
        "left out 1 picture whose mask is ignored everywhere",
        "left out 2 pictures that cannot be read",
    }
    assert watcher.plans[0].notes == result.notes
    assert json.loads((tmp_path / "out" / "tune.json").read_text())["notes"] == list(result.notes)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["0", "none", "1"], "names 'none', a picture without a mask; take it off"),
        (["0", "unlabelled", "1"], "names 'unlabelled', a picture without image labels"),
        (["0", "other_size", "1"], r"'other_size', a picture that cannot be read \(.* has a mask of 41 x 40"),
        (["0", "absent", "1"], r"'absent', a picture that cannot be read"),
        (["0", "1", "0"], "names '0' twice"),
        ([], "names no picture"),
    ],
)
def test_a_listed_picture_that_does_not_fit_is_an_error(
    halves: Halves, classifier: Classifier, tmp_path: Path, ids: list[str], words: str
):
    (tmp_path / "ids.txt").write_text("".join(f"{id_}\n" for id_ in ids))
    with pytest.raises(DatasetError, match=words):
        run(halves, classifier, tmp_path / "out", split=None, ids=tmp_path / "ids.txt")


@pytest.mark.usefixtures("stub")
def test_a_list_names_the_pictures_whatever_their_order(halves: Halves, classifier: Classifier, tmp_path: Path):
    (tmp_path / "ids.txt").write_text("3\n1\n\n4\n")
    result = run(halves, classifier, tmp_path / "out", split=None, ids=tmp_path / "ids.txt", max_trials=1)
    assert sorted(result.labelled) == ["1", "3", "4"]


def test_fewer_pictures_than_folds_teaches(halves: Halves, classifier: Classifier, tmp_path: Path):
    with pytest.raises(SettingError, match=r"7 folds take at least 7 labelled pictures.*there are 6: label more"):
        run(halves, classifier, tmp_path / "out", folds=7)


def test_classes_without_an_output_teach(halves: Halves, tmp_path: Path):
    strangers = Classifier.from_module(Toy(), class_names=["sky", "tree", "car"])
    with pytest.raises(DatasetError, match=r"6 with a class the classifier has no output for.*--groups"):
        run(halves, strangers, tmp_path / "out")
    with pytest.raises(LabelError, match="wolf"):
        tune_dataset(halves, strangers, {"cat": ["wolf"]}, settings(tmp_path / "out"), Watcher())


@pytest.mark.usefixtures("stub")
def test_groups_lead_to_the_output_that_stands_for_a_class(halves: Halves, tmp_path: Path):
    strangers = Classifier.from_module(Toy(), class_names=["sky", "tree", "car"])
    one = tune_dataset(halves, strangers, {"cat": ["sky", "car"]}, settings(tmp_path / "out", max_trials=1), Watcher())
    assert sorted(one.labelled) == ["0", "2", "4"]  # the group names no output for a dog
    assert one.notes == ("left out 3 pictures with a class the classifier has no output for",)


def test_the_folds_hold_every_picture_once_and_spread_the_classes(
    halves: Halves, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Search, "method", lambda self, n, c: StubMethod(self.plan.longest(n), c["penalty"]))
    result = run(halves, classifier, tmp_path / "out", max_trials=1)
    assert sorted(index for fold in result.folds for index in fold) == list(range(PICTURES))
    for fold in result.folds:  # 3 cats and 3 dogs
        assert {int(result.labelled[index]) % 2 for index in fold} == {0, 1}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split": None}, "which pictures.*--split .*--ids"),
        ({"ids": "list.txt"}, "which pictures"),
        ({"labelled": 1}, "labelled: .*greater than or equal to 2; got 1"),
        ({"scales": (0.5, 1, 1.5, 2, 3)}, "1 to 4 scales"),
        ({"budget": 0}, "budget: .*greater than 0"),
        ({"splitt": "train"}, "splitt: Extra inputs"),
        ({"model": {"model": "lite0", "num_classes": "many"}}, "num-classes: .*integer"),
    ],
)
def test_bad_settings_are_one_line(tmp_path: Path, changed: dict, words: str):
    with pytest.raises(SettingError, match=words):
        settings(tmp_path, **changed)


def test_unknown_split_and_absent_data(halves: Halves, classifier: Classifier, tmp_path: Path):
    with pytest.raises(SettingError, match="no split 'test'"):
        run(halves, classifier, tmp_path / "out", split="test")
    with pytest.raises(DatasetError, match="is no folder"):
        tune(settings(tmp_path / "out", data=tmp_path / "absent"), Watcher())


def test_a_network_of_one_size_is_searched_at_scale_1(monkeypatch: pytest.MonkeyPatch, classifier: Classifier):
    monkeypatch.setattr(classifier, "fixed_size", (32, 32))
    plan = SearchPlan.of(classifier, iterations=3, scales=None, max_side=None, seed=0)
    assert plan.within == Extent(3, (1.0,))
    assert plan.longest(0) == Extent(8, (1.0,))
    with pytest.raises(SettingError, match="scales must be 1"):
        SearchPlan.of(classifier, iterations=3, scales=(0.5, 1), max_side=None, seed=0)


@pytest.mark.usefixtures("stub")
def test_the_summary_is_honest(halves: Halves, classifier: Classifier, tmp_path: Path):
    result: TuneResult = run(halves, classifier, tmp_path / "out", max_trials=3)
    text = "\n".join(words(result))
    assert "slightly optimistic" in text
    assert "resubstitution" in text
    assert "one standard error rule" in text
    assert f"{100 * result.validation.tuned:.1f}" in text
    content = json.loads((tmp_path / "out" / "tune.json").read_text())
    assert content["caution"] in text
    assert len(content["trials"]) == 3
    assert content["figures"]["held_out_gain"] == result.validation.gain.value
