"""An analysis of a toy network: its numbers are those of its parts, its files those of its numbers, and it goes on."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advcam import AdvCAM, Classifier, ClimbSettings, DatasetError, RunError, SettingError
from advcam.analysis.amplification import amplification
from advcam.analysis.landscape import bend
from advcam.evaluate.segmentation import SeedSweep
from advcam.pipeline.analyses import analyze as room
from advcam.pipeline.analyses.analyze import (
    Analysis,
    AnalysisPlan,
    AnalyzeSettings,
    analyze,
    analyze_settings,
    planned_runs,
)
from advcam.pipeline.analyses.measure import TruthSample
from advcam.types import DEFAULT_THRESHOLD

TABLES = ("trajectory", "amplification", "sweeps", "landscape", "curvature")
FIGURES = ("trajectory", "sweeps", "regularisers", "amplification", "landscape", "lines")


class Toy(nn.Module):
    """Two convolutions, global average pooling, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


class Watcher:
    """Remembers what it hears; raises an interrupt after so many measured units."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.plans: list[AnalysisPlan] = []
        self.units: list[tuple[str, str, bool]] = []
        self.skipped: list[tuple[str, str]] = []
        self.stop_after = stop_after

    def announce(self, plan: AnalysisPlan) -> None:
        self.plans.append(plan)

    def unit_done(self, picture: str, unit: str, measured: bool) -> None:
        self.units.append((picture, unit, measured))
        if len(self.units) == self.stop_after:
            raise KeyboardInterrupt

    def picture_skipped(self, picture: str, reason: str) -> None:
        self.skipped.append((picture, reason))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.from_module(Toy(), class_names=["sky", "tree", "dog"])


def sample(seed: int, class_ids: tuple[int, ...] = (1,)) -> TruthSample:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    blocks = rng.choice([0, 1, 2, 3, 255], (4, 4), p=[0.1, 0.3, 0.2, 0.3, 0.1])
    truth = np.kron(blocks, np.ones((10, 12), dtype=int)).astype(np.int32)
    return TruthSample(f"folder/{seed}.jpg", coarse.resize((48, 40), Image.Resampling.BICUBIC), class_ids, truth)


SAMPLES = [sample(0), sample(1, (2, 0)), sample(2, (0,))]
NO_SWEEPS = {"penalty": [], "mask_threshold": [], "step_size": [], "other_classes": []}
SMALL = {
    "sweeps": NO_SWEEPS | {"penalty": [0, 1], "step_size": [0.1], "other_classes": ["logsumexp"]},
    "iterations": 3,
    "landscape_pictures": 2,
    "landscape_points": 5,
}


def settings(out: Path, **changed: object) -> AnalyzeSettings:
    return analyze_settings(out=out, **(SMALL | changed))


@pytest.fixture(scope="module")
def finished(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Analysis, Watcher]:
    out, watcher = tmp_path_factory.mktemp("analysis") / "whole", Watcher()
    return out, analyze(iter(SAMPLES), classifier, settings(out), 4, watcher), watcher


@pytest.fixture
def drawn_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than measuring a toy; `test_figures_are_written` and tests/report draw for real."""
    monkeypatch.setattr("advcam.pipeline.analyses.outputs.render", lambda figure, kind: kind.encode())


def contents(out: Path) -> dict[str, bytes]:
    """All files but the lock; the settings name no folder, so equal analyses are equal files."""
    return {
        str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def read(out: Path, name: str) -> list[dict[str, str]]:
    with (out / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# The numbers


def climbed(classifier: Classifier, one: TruthSample, **constants: object):
    method = AdvCAM(classifier, effort="paper", iterations=3, scales=(1.0,), **constants)  # type: ignore[arg-type]
    (result,) = method([one.picture], [one.class_ids], record="maps")
    return result


@pytest.mark.parametrize(("run", "constants"), [("base", {}), ("penalty=0.0", {"penalty": 0.0})])
def test_seeds_are_those_of_one_sweep_over_all_pictures(classifier: Classifier, finished, run: str, constants: dict):
    _, analysis, _ = finished
    thresholds = [step / 100 for step in range(101)]
    sweeps = [SeedSweep(4, thresholds) for _ in range(4)]
    scores = []
    for one in SAMPLES:
        result = climbed(classifier, one, **constants)
        for t, sweep in enumerate(sweeps):
            maps = replace(result, maps=result.steps[:, t]).upsample()
            sweep.add(one.truth, maps, one.class_ids)
        scores += [t.scores[:, t.class_id] for t in result.trajectories]
    rows = analysis.of_run(run)
    assert [row.t for row in rows] == [0, 1, 2, 3]
    assert {(row.pictures, row.climbs) for row in rows} == {(3, 4)}
    for row, sweep in zip(rows, sweeps, strict=True):
        threshold, best = sweep.best()
        fixed = sweep.scores(DEFAULT_THRESHOLD)
        assert row.seeds.oracle_threshold == threshold
        assert row.seeds.oracle_miou == pytest.approx(best.miou)
        assert row.seeds.oracle_precision == pytest.approx(best.foreground_precision)
        assert row.seeds.oracle_recall == pytest.approx(best.foreground_recall)
        assert row.seeds.fixed_threshold == DEFAULT_THRESHOLD
        assert row.seeds.fixed_miou == pytest.approx(fixed.miou)
        assert row.seeds.fixed_precision == pytest.approx(fixed.foreground_precision)
        assert row.seeds.fixed_recall == pytest.approx(fixed.foreground_recall)
        assert 0 < fixed.foreground_recall < 1
        assert row.score == pytest.approx(np.mean(scores, axis=0)[row.t], rel=1e-5)
    assert rows[-1].score > rows[0].score + 0.01


def test_amplification_is_that_of_the_recorded_maps(classifier: Classifier, finished):
    _, analysis, _ = finished
    trajectory = climbed(classifier, SAMPLES[1]).trajectories[0]
    expected = amplification(trajectory.maps)
    rows = [r for r in analysis.amplification if (r.run, r.picture, r.class_id) == ("base", "folder/1.jpg", 2)]
    assert {row.class_name for row in rows} == {"dog"}
    np.testing.assert_allclose([r.discriminative_mean for r in rows], expected.discriminative.mean)
    np.testing.assert_allclose([r.discriminative_total for r in rows], expected.discriminative.total)
    np.testing.assert_allclose([r.non_discriminative_mean for r in rows], expected.non_discriminative.mean)
    np.testing.assert_allclose([r.non_discriminative_total for r in rows], expected.non_discriminative.total)
    np.testing.assert_allclose([r.rival for r in rows], trajectory.scores[:, :2].max(axis=1))
    assert {row.discriminative_positions for row in rows} == {expected.discriminative.positions}
    assert len(analysis.amplification) == 4 * 4 * 4, "runs, climbs, steps"


def test_sweeps_point_at_runs_and_iterations_at_the_steps_of_the_base(finished):
    _, analysis, _ = finished
    assert [(r.parameter, r.value, r.run, r.t) for r in analysis.sweeps] == [
        *(("iterations", str(t), "base", t) for t in range(4)),
        ("penalty", "0", "penalty=0.0", 3),
        ("penalty", "1", "base", 3),
        ("step_size", "0.05", "base", 3),
        ("step_size", "0.1", "step_size=0.1", 3),
        ("other_classes", "logsumexp", "other_classes=logsumexp", 3),
        ("other_classes", "none", "base", 3),
    ]
    for row in analysis.sweeps:
        assert row.seeds == analysis.of_run(row.run)[row.t].seeds


def test_landscapes_of_the_first_pictures(classifier: Classifier, finished):
    _, analysis, _ = finished
    climbs = {(row.picture, row.class_id) for row in analysis.landscape}
    assert climbs == {("folder/0.jpg", 1), ("folder/1.jpg", 2), ("folder/1.jpg", 0)}
    assert len(analysis.landscape) == 3 * 2 * (5 * 5 + 41)
    scores = climbed(classifier, SAMPLES[0]).trajectories[0].scores[:, 1]
    # Of the picture alone; the recorded scores are means with its mirror image, whose score the toy gives as well.
    mirrored = replace(SAMPLES[0], picture=SAMPLES[0].picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    middle = {}
    for shown in (SAMPLES[0], mirrored):
        pixels = torch.from_numpy(np.array(shown.picture)).permute(2, 0, 1)[None] / 255
        middle[shown is mirrored] = classifier.module(classifier.normalise(pixels))[0, 1].item()
    at_picture = [r.score for r in analysis.landscape if r.picture == "folder/0.jpg" and r.a == r.b == 0]
    np.testing.assert_allclose(at_picture, [middle[False]] * 4, rtol=1e-5)
    assert np.mean(list(middle.values())) == pytest.approx(scores[0], rel=1e-5)


def test_curvature_is_the_bend_of_the_lines_and_climb_and_attack_part(finished):
    _, analysis, _ = finished
    for row in analysis.curvature:
        line = [r for r in analysis.landscape if _same(r, row) and r.kind == "line"]
        grid, loss, score = (np.array([getattr(r, name) for r in line]) for name in ("a", "loss", "score"))
        of_loss, of_score = bend(grid, loss), bend(grid, score)
        assert (row.loss_change, row.loss_at_origin, row.loss_sharpest) == (
            of_loss.change,
            of_loss.at_origin,
            of_loss.sharpest,
        )
        assert (row.score_change, row.score_sharpest) == (of_score.change, of_score.sharpest)
        assert (row.score_change > 0) == (row.direction == "climb")
        assert (row.loss_change < 0) == (row.direction == "climb")
        assert row.length > 0


def _same(one, other) -> bool:
    names = ("picture", "class_id", "direction")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def test_on_the_gradient_axis_the_attack_is_the_climb_mirrored(
    classifier: Classifier, tmp_path: Path, drawn_quickly: None
):
    chosen = settings(tmp_path / "out", landscape_axis="gradient", sweeps=NO_SWEEPS, pictures=1)
    analysis = analyze(SAMPLES, classifier, chosen, 4, Watcher())
    lines = {
        d: [r.score for r in analysis.landscape if (r.kind, r.direction) == ("line", d)] for d in ("climb", "attack")
    }
    np.testing.assert_allclose(lines["climb"], lines["attack"][::-1], atol=1e-5)
    assert np.ptp(lines["climb"]) > 0.01


# The files


@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_the_numbers(finished, name: str):
    out, analysis, _ = finished
    rows, cells = getattr(analysis, name), read(out, name)
    assert len(rows) == len(cells) > 0
    for row, cell in zip(rows, cells, strict=True):
        values = vars(row) | (vars(row.seeds) if hasattr(row, "seeds") else {})
        for column, text in cell.items():
            value = values[column]
            assert type(value)(text) == value if text else np.isnan(value)


def test_summary_names_settings_versions_and_counts(finished):
    out, analysis, _ = finished
    facts = json.loads((out / "analysis.json").read_text())
    assert facts["pictures"] == 3
    assert facts["skipped"] == []
    assert facts["num_classes"] == 4
    assert facts["runs"]["base"]["iterations"] == 3
    assert facts["runs"]["penalty=0.0"] == facts["runs"]["base"] | {"penalty": 0.0}
    assert facts["settings"]["landscape_points"] == 5
    assert facts["versions"]["torch"] == torch.__version__
    climbs = [row.loss_change for row in analysis.curvature if row.direction == "climb"]
    assert facts["curvature_medians"]["climb"]["loss_change"] == pytest.approx(np.median(climbs))


def test_figures_are_written_as_png_and_pdf(finished):
    out, _, _ = finished
    assert {p.stem for p in (out / "figures").iterdir()} == set(FIGURES)
    for name in FIGURES:
        with Image.open(out / "figures" / f"{name}.png") as picture:
            assert picture.width > 1000
            assert picture.convert("L").getextrema()[0] < 128
        assert (out / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert not list(out.rglob("*.partial"))


def test_progress_hears_of_every_unit(finished):
    _, _, watcher = finished
    (plan,) = watcher.plans
    assert plan.pictures is None, "an iterator has no length"
    assert plan.runs == ("base", "penalty=0.0", "step_size=0.1", "other_classes=logsumexp")
    assert [unit for picture, unit, _ in watcher.units if picture == "folder/0.jpg"] == [*plan.runs, "landscape"]
    assert [unit for picture, unit, _ in watcher.units if picture == "folder/2.jpg"] == [*plan.runs]
    assert all(measured for *_, measured in watcher.units)


# Going on


@pytest.mark.parametrize("stop_after", [1, 4, 7, 13])
def test_an_interrupted_analysis_goes_on_and_ends_as_if_nothing_had_happened(
    classifier: Classifier, tmp_path: Path, finished, stop_after: int, drawn_quickly: None
):
    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        analyze(SAMPLES, classifier, settings(out), 4, Watcher(stop_after))
    assert not (out / "analysis.json").exists()
    # A kill while a line was being written leaves half of one.
    with (out / "records.jsonl").open("ab") as file:
        file.write(b'{"unit": "half a li')
    watcher = Watcher()
    analyze(SAMPLES, classifier, settings(out), 4, watcher)
    assert watcher.plans[0].pictures == 3
    assert [measured for *_, measured in watcher.units] == [False] * stop_after + [True] * (14 - stop_after)
    ours, whole = contents(out), contents(finished[0])
    assert ours.keys() == whole.keys()
    for name in ours:
        assert ours[name] == whole[name] or name.startswith("figures/"), name


def test_another_sweep_keeps_what_was_measured(classifier: Classifier, tmp_path: Path, finished, drawn_quickly: None):
    out = tmp_path / "out"
    first = NO_SWEEPS | {"penalty": [0], "step_size": [0.1, 0.2]}
    analyze(SAMPLES, classifier, settings(out, sweeps=first), 4, Watcher())
    watcher = Watcher()
    analysis = analyze(SAMPLES, classifier, settings(out), 4, watcher)
    assert {unit for _, unit, measured in watcher.units if measured} == {"other_classes=logsumexp"}
    assert analysis.sweeps == finished[1].sweeps


def test_other_pixels_under_the_same_name_are_measured_anew(
    classifier: Classifier, tmp_path: Path, drawn_quickly: None
):
    chosen = settings(tmp_path / "out", landscape_pictures=1)
    analyze(SAMPLES[:1], classifier, chosen, 4, Watcher())
    watcher = Watcher()
    analyze([replace(SAMPLES[0], truth=SAMPLES[2].truth)], classifier, chosen, 4, watcher)
    assert all(measured for *_, measured in watcher.units)


def test_another_base_setting_needs_another_folder(classifier: Classifier, finished):
    out, _, _ = finished
    with pytest.raises(RunError, match="holds a run with other settings: iterations was 3, is now 4"):
        analyze(SAMPLES, classifier, settings(out, iterations=4), 4, Watcher())


def test_a_damaged_line_is_an_error_that_says_what_to_do(classifier: Classifier, tmp_path: Path, drawn_quickly: None):
    chosen = settings(tmp_path / "out", landscape_pictures=0)
    analyze(SAMPLES[:1], classifier, chosen, 4, Watcher())
    path = tmp_path / "out" / "records.jsonl"
    path.write_bytes(b"not JSON\n" + path.read_bytes())
    with pytest.raises(RunError, match=r"records\.jsonl is damaged; delete it"):
        analyze(SAMPLES[:1], classifier, chosen, 4, Watcher())


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn_quickly: None
):
    chosen = settings(tmp_path / "out", landscape_pictures=0)
    analyze(SAMPLES[:1], classifier, chosen, 4, Watcher())
    before = contents(tmp_path / "out")

    def broken(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("advcam.pipeline.analyses.outputs.render", broken)
    with pytest.raises(RunError, match="No space left on device"):
        analyze(SAMPLES[:1], classifier, chosen, 4, Watcher())
    assert contents(tmp_path / "out") == before


def test_figures_of_an_earlier_session_that_no_longer_hold_are_removed(
    classifier: Classifier, tmp_path: Path, drawn_quickly: None
):
    out = tmp_path / "out"
    analyze(SAMPLES[:1], classifier, settings(out), 4, Watcher())
    assert (out / "figures" / "landscape.pdf").exists()
    analyze(SAMPLES[:1], classifier, settings(out, landscape_pictures=0), 4, Watcher())
    assert not list((out / "figures").glob("landscape.*"))
    assert read(out, "landscape") == []


# What does not fit


def test_a_picture_that_cannot_be_used_is_named_and_counts_nowhere(
    classifier: Classifier, tmp_path: Path, drawn_quickly: None
):
    small = replace(SAMPLES[1], truth=SAMPLES[1].truth[:-1])
    unlabelled = replace(SAMPLES[2], class_ids=())
    foreign = replace(SAMPLES[2], truth=SAMPLES[2].truth * 0 + 9)
    watcher = Watcher()
    chosen = settings(tmp_path / "out", landscape_pictures=0, sweeps=NO_SWEEPS)
    analysis = analyze([small, unlabelled, foreign, SAMPLES[0]], classifier, chosen, 4, watcher)
    reasons = [reason for _, reason in watcher.skipped]
    assert "the truth has the shape (39, 48), the picture (40, 48)" in reasons[0]
    assert "one or more classes" in reasons[1]
    assert "the true mask holds the number 9" in reasons[2]
    assert analysis.trajectory[0].pictures == 1
    assert json.loads((tmp_path / "out" / "analysis.json").read_text())["skipped"] == [list(s) for s in watcher.skipped]
    alone = analyze([SAMPLES[0]], classifier, replace_out(chosen, tmp_path / "alone"), 4, Watcher())
    assert analysis.trajectory == alone.trajectory


def replace_out(chosen: AnalyzeSettings, out: Path) -> AnalyzeSettings:
    return chosen.model_copy(update={"out": out})


def test_no_usable_picture_is_an_error(classifier: Classifier, tmp_path: Path):
    with pytest.raises(DatasetError, match="no picture could be analysed; none was given"):
        analyze([], classifier, settings(tmp_path / "a"), 4, Watcher())
    with pytest.raises(
        DatasetError, match=r"no picture could be analysed; the first was left out because: .*one or more"
    ):
        analyze([replace(SAMPLES[0], class_ids=())], classifier, settings(tmp_path / "b"), 4, Watcher())


def test_truth_numbers_may_differ_from_the_classifiers(classifier: Classifier, tmp_path: Path, drawn_quickly: None):
    """The same truth, its classes numbered otherwise, gives the same scores."""
    chosen = {"landscape_pictures": 0, "sweeps": NO_SWEEPS}
    plain = analyze([SAMPLES[1]], classifier, settings(tmp_path / "a", **chosen), 4, Watcher())
    turned = np.array([0, 3, 1, 2, *[255] * 252])[SAMPLES[1].truth].astype(np.int32)  # 1 -> 3, 2 -> 1, 3 -> 2
    renamed = replace(SAMPLES[1], truth=turned, truth_ids=(1, 2))  # dog was 3, is 2; sky was 1, is 3
    found = analyze([renamed], classifier, settings(tmp_path / "b", **chosen), 4, Watcher())
    for ours, theirs in zip(plain.trajectory, found.trajectory, strict=True):
        assert ours.seeds.oracle_miou == pytest.approx(theirs.seeds.oracle_miou)
        assert ours.seeds.fixed_recall == theirs.seeds.fixed_recall


def test_the_limit_takes_the_first_pictures(classifier: Classifier, tmp_path: Path, drawn_quickly: None):
    chosen = settings(tmp_path / "out", pictures=2, landscape_pictures=0, sweeps=NO_SWEEPS)
    taken = []

    def lazily() -> Iterator[TruthSample]:
        for one in SAMPLES:
            taken.append(one.name)
            yield one

    analysis = analyze(lazily(), classifier, chosen, 4, Watcher())
    assert analysis.trajectory[0].pictures == 2
    assert taken == ["folder/0.jpg", "folder/1.jpg"]


def test_runs_are_each_setting_once_with_the_base_in_every_sweep():
    base = ClimbSettings(penalty=0.5)
    runs, sweeps = planned_runs(base, room.SweepSettings(penalty=(1.0, 0.0), mask_threshold=(0.5,), step_size=()))
    assert list(runs) == ["base", "penalty=0.0", "penalty=1.0", "other_classes=logsumexp"]
    assert runs["penalty=1.0"] == replace(base, penalty=1.0)
    assert [(s.parameter, s.values, s.runs, s.base) for s in sweeps] == [
        ("penalty", ("0", "0.5", "1"), ("penalty=0.0", "base", "penalty=1.0"), 1),
        ("mask_threshold", ("0.5",), ("base",), 0),
        ("other_classes", ("none", "logsumexp"), ("base", "other_classes=logsumexp"), 0),
    ]


def test_a_value_outside_its_range_is_found_before_any_work(classifier: Classifier, tmp_path: Path):
    with pytest.raises(SettingError, match=r"penalty \(lambda\) is finite and not negative"):
        analyze(SAMPLES, classifier, settings(tmp_path / "out", sweeps={"penalty": [-1]}), 4, Watcher())
    with pytest.raises(SettingError, match="num_classes counts the background"):
        analyze(SAMPLES, classifier, settings(tmp_path / "out"), 1, Watcher())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"landscape_points": 6}, "landscape-points is odd"),
        ({"method": {"method": "cam"}}, "the method is advcam, not cam"),
        ({"method": {"scales": [1.0]}}, "scales and iterations are settings of the analysis itself"),
        ({"threshold": 2}, "threshold: .*less than or equal to 1; got 2"),
        ({"sweeps": {"penalty": ["a"]}}, "penalty: .*valid number.*; got 'a'"),
        ({"pictures": 0}, "pictures: .*greater than or equal to 1; got 0"),
        ({"colour": 1}, "colour: Extra inputs are not permitted; got 1"),
    ],
)
def test_settings_that_do_not_fit(values: dict, message: str):
    with pytest.raises(SettingError, match=message):
        analyze_settings(out="x", **values)


def test_a_fixed_threshold_between_the_grid_is_evaluated_too(
    classifier: Classifier, tmp_path: Path, drawn_quickly: None
):
    chosen = settings(tmp_path / "out", threshold=0.333, landscape_pictures=0, sweeps=NO_SWEEPS)
    assert 0.333 in chosen.thresholds
    row = analyze(SAMPLES[:1], classifier, chosen, 4, Watcher()).trajectory[-1]
    maps = climbed(classifier, SAMPLES[0]).upsample()
    sweep = SeedSweep(4, [0.333])
    sweep.add(SAMPLES[0].truth, maps, SAMPLES[0].class_ids)
    assert row.seeds.fixed_threshold == 0.333
    assert row.seeds.fixed_miou == pytest.approx(sweep.scores(0.333).miou)


def test_the_network_is_left_as_it_was(classifier: Classifier, finished):
    module = classifier.module
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert not any(layer._forward_hooks or layer._backward_hooks for layer in module.modules())
