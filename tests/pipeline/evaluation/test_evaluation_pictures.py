"""The figures that `advcam evaluate` writes: from a real evaluation of generated data to files."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.writing import write_index_png
from advcam.errors import AdvcamError, DatasetError, PictureError, RunError
from advcam.pipeline.evaluation import examples as evaluation_examples
from advcam.pipeline.evaluation.evaluate import evaluate
from advcam.pipeline.evaluation.examples import chosen_ids, examples
from advcam.pipeline.evaluation.figures import FIGURES, evaluation_figures, write_figures
from advcam.pipeline.evaluation.result import EvaluateSettings, Evaluation, Row, evaluate_settings
from advcam.types import IGNORE

Evaluated = tuple[Evaluation, EvaluateSettings]


class Nobody:
    def start(self, words: str, total: int) -> None: ...

    def step(self) -> None: ...


def run(**values: object) -> Evaluated:
    settings = evaluate_settings(**({"resamples": 10} | values))
    return evaluate(settings, Nobody()), settings


def write_maps(data: Path, split: str, folder: Path) -> Path:
    """True masks, blurred and shifted by up to a third, so that some pictures are right and some wrong."""
    dataset, rng = open_dataset(data), np.random.default_rng(0)
    folder.mkdir()
    for sample in dataset.samples(split):
        mask = dataset.mask(sample.id)
        assert mask is not None
        maps = np.stack([mask == dataset.class_id(label) + 1 for label in sample.labels or ()]).astype(np.float32)
        shift = rng.integers(0, mask.shape[1] // 3, 2)
        blurred = [cv2.GaussianBlur(np.roll(one, shift, (0, 1)), (0, 0), 6) for one in maps]
        np.save(folder / f"{sample.id}.npy", np.stack([one / max(one.max(), 1e-6) for one in blurred]))
    return folder


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Maps of 6 pictures, two of which choose the validated threshold."""
    root = tmp_path_factory.mktemp("voc")
    write_dataset("voc2012", root / "data", 12)
    maps = write_maps(root / "data", "train", root / "maps")
    return run(predictions=maps, data=root / "data", split="train", labelled=2)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Boxes of 16 pictures."""
    root = tmp_path_factory.mktemp("pets")
    write_dataset("pets", root / "data", 16)
    maps = write_maps(root / "data", "all", root / "maps")
    return run(predictions=maps, data=root / "data", split="all", labelled=2, protocol="localization")


def names(paths: list[Path]) -> set[str]:
    return {path.name for path in paths}


def files(*figures: str) -> set[str]:
    return {f"{name}.{kind}" for name in figures for kind in ("png", "pdf")}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marked(figure: Figure) -> list[float]:
    segments = [one.get_segments()[0] for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    return sorted(segment[0][0] for segment in segments)


def headline_at(figure: Figure, threshold: float) -> float:
    """Height of the first curve at a threshold."""
    x, y = (np.asarray(values) for values in figure.axes[0].lines[0].get_data())
    return float(y[np.abs(x - threshold).argmin()])


def ours(result: Evaluation) -> list[Row]:
    return [row for row in result.rows if row.name == "predictions"]


def test_seeds_give_curves_classes_and_pictures(voc: Evaluated, tmp_path: Path):
    out = tmp_path / "new" / "out"
    written = write_figures(*voc, out)
    assert names(written) == files("curves", "classes", "pictures") == {path.name for path in out.iterdir()}
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")


def test_curves_of_seeds_are_marked_where_the_rows_say(voc: Evaluated):
    result, settings = voc
    figure = evaluation_figures(result, settings)["curves"]
    assert figure.get_suptitle() == "PASCAL VOC 2012, split train, 4 pictures"
    rows = ours(result)
    assert [row.supervision for row in rows] == ["oracle", "validated", "fixed", "label-free"]
    assert marked(figure) == sorted(row.threshold for row in rows if row.threshold is not None)
    labels = {text.get_text().split()[0]: text.get_text() for text in figure.axes[0].texts}
    for row in rows:
        assert row.threshold is not None
        assert headline_at(figure, row.threshold) == pytest.approx(100 * row.scores["miou"])
        assert f"{100 * row.scores['miou']:.1f} %" in labels[row.supervision]
    centre = next(row for row in result.rows if row.name == "centre")
    assert legend(figure)[:4] == [
        "mIoU",
        "foreground precision",
        "foreground recall",
        f"centre, oracle: mIoU {100 * centre.scores['miou']:.1f} %",
    ]
    assert list(figure.axes[0].lines[3].get_ydata()) == pytest.approx([100 * centre.scores["miou"]] * 2)


def test_the_mean_of_the_classes_is_the_score_at_the_fixed_threshold(voc: Evaluated):
    result, settings = voc
    figure = evaluation_figures(result, settings)["classes"]
    fixed = next(row for row in ours(result) if row.supervision == "fixed")
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(100 * fixed.scores["miou"])
    assert figure.get_suptitle().endswith("\nIoU of each class, maps at the fixed threshold 0.3")


def test_box_curves_pass_through_the_rows_and_compare_with_the_oracle(pets: Evaluated):
    result, settings = pets
    figure = evaluation_figures(result, settings)["curves"]
    oracle, *chosen = ours(result)
    assert marked(figure) == sorted(row.threshold for row in ours(result) if row.threshold is not None)
    for row in chosen:
        assert row.threshold is not None
        assert headline_at(figure, row.threshold) == pytest.approx(100 * row.scores["max_box_acc_v2"])
    assert legend(figure)[:5] == [
        "mean of the three IoUs",
        "BoxAcc at IoU 0.3",
        "BoxAcc at IoU 0.5",
        "BoxAcc at IoU 0.7",
        f"predictions, oracle: MaxBoxAccV2 {100 * oracle.scores['max_box_acc_v2']:.1f} %",
    ]
    assert f"GT-known {100 * oracle.scores['gt_known']:.1f} %" in " ".join(t.get_text() for t in figure.axes[0].texts)


def test_boxes_that_are_shown_have_the_iou_that_was_scored(pets: Evaluated):
    result, settings = pets
    groups = examples(result, settings)
    missed = [id_ for id_, score in result.picture_scores.items() if not score]
    hit = [id_ for id_, score in result.picture_scores.items() if score]
    assert missed
    assert hit
    assert list(groups) == [f"{min(6, len(missed))} of {len(missed)} missed", f"{min(6, len(hit))} of {len(hit)} hit"]
    for ids, members, right in zip((missed, hit), groups.values(), (False, True), strict=True):
        for member in members:
            id_, words = member.caption.split(": ")
            assert id_ in ids
            assert (float(words.removeprefix("IoU ").removesuffix(" %")) >= 50) == right
            assert len(member.truth) == len(member.prediction) == 1


def test_masks_that_are_shown_have_the_score_of_their_caption(voc: Evaluated):
    """The mIoU of a picture written out: intersection over union of each class in its truth or prediction."""
    result, settings = voc
    shown = [member for members in examples(result, settings).values() for member in members]
    assert len(shown) == 4
    for member in shown:
        truth, found = np.asarray(member.truth), np.asarray(member.prediction)
        seen = truth != IGNORE
        pairs = [((truth == c) & seen, (found == c) & seen) for c in np.union1d(truth[seen], found[seen])]
        miou = 100 * np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])
        assert member.caption.endswith(f": mIoU {miou:.1f} %")


def test_the_worst_and_the_best_are_chosen_and_none_twice(voc: Evaluated):
    result, _ = voc
    scores = {f"p{number}": number / 100 for number in range(20)}
    assert chosen_ids(replace(result, picture_scores=scores)) == {
        "the 6 worst": ["p0", "p1", "p2", "p3", "p4", "p5"],
        "the 6 best": ["p19", "p18", "p17", "p16", "p15", "p14"],
    }
    few = {"a": 0.5, "b": math.nan, "c": 0.1, "d": 0.9}
    assert chosen_ids(replace(result, picture_scores=few)) == {"the 1 worst": ["c"], "the 2 best": ["d", "a"]}
    assert chosen_ids(replace(result, picture_scores={"a": 0.5})) == {"the 1 best": ["a"]}
    assert chosen_ids(replace(result, picture_scores={"a": math.nan})) == {}


def test_hits_and_misses_are_spread_over_the_list(pets: Evaluated):
    result, _ = pets
    scores = {f"p{number}": 1.0 for number in range(51)}
    spread = chosen_ids(replace(result, picture_scores=scores))
    assert spread == {"6 of 51 hit": ["p0", "p10", "p20", "p30", "p40", "p50"]}


def test_only_the_pictures_that_are_shown_are_read(pets: Evaluated, monkeypatch: pytest.MonkeyPatch):
    read: list[Path] = []
    original = evaluation_examples.read_picture
    monkeypatch.setattr(evaluation_examples, "read_picture", lambda path: read.append(path) or original(path))
    groups = examples(*pets)
    assert len(read) == sum(map(len, groups.values())) <= 12
    assert len(pets[0].picture_scores) > len(read)


def test_one_picture_alone(voc: Evaluated, tmp_path: Path):
    result, settings = voc
    id_, score = next(iter(result.picture_scores.items()))
    alone = replace(result, pictures=1, picture_scores={id_: score})
    assert names(write_figures(alone, settings, tmp_path)) == files("curves", "classes", "pictures")
    figures = evaluation_figures(alone, settings)
    assert "1 picture," in figures["pictures"].get_suptitle().replace("\n", " ")
    assert len(figures["pictures"].subfigs) == 1


def test_nan_scores_are_left_out_and_nan_curves_are_gaps(voc: Evaluated, tmp_path: Path):
    result, settings = voc
    broken = replace(
        result,
        rows=[replace(row, scores={"miou": math.nan}) for row in result.rows],
        curves={"miou": [math.nan] * len(result.thresholds)},
        classes=[{"name": "background", "iou": math.nan}, {"name": "cat", "iou": 0.5}],
        picture_scores=dict.fromkeys(result.picture_scores, math.nan),
    )
    figures = evaluation_figures(broken, settings)
    assert set(figures) == {"curves", "classes"}
    assert legend(figures["curves"]) == ["mIoU"], "floors without a score are left out"
    assert sorted(text.get_text().strip() for text in figures["curves"].axes[0].texts)[0] == "fixed 0.3"
    assert [label.get_text() for label in figures["classes"].axes[0].get_yticklabels()] == ["cat"]
    assert names(write_figures(broken, settings, tmp_path)) == files("curves", "classes")


def test_nothing_to_draw_writes_nothing(voc: Evaluated, tmp_path: Path):
    result, settings = voc
    empty = replace(result, rows=[], thresholds=[], curves={}, classes=[], picture_scores={})
    assert write_figures(empty, settings, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_figures_of_an_earlier_evaluation_are_removed_and_other_files_stay(voc: Evaluated, tmp_path: Path):
    for name in (*files(*FIGURES), "faithfulness.txt", "mine.png"):
        (tmp_path / name).write_text("old")
    result, settings = voc
    written = write_figures(replace(result, picture_scores={}), settings, tmp_path)
    assert names(written) == files("curves", "classes")
    assert {path.name for path in tmp_path.iterdir()} == names(written) | {"faithfulness.txt", "mine.png"}


def copied(evaluated: Evaluated, to: Path) -> Evaluated:
    """The same evaluation of a copy of the data, which a test may damage."""
    result, settings = evaluated
    shutil.copytree(settings.data, to / "data")
    shutil.copytree(settings.predictions, to / "maps")
    return result, settings.model_copy(update={"data": to / "data", "predictions": to / "maps"})


def picture_of(settings: EvaluateSettings, id_: str) -> Path:
    return open_dataset(settings.data).sample(id_).path


DAMAGES: dict[str, tuple[Callable[[EvaluateSettings, str], object], type[AdvcamError], str]] = {
    "picture": (lambda settings, id_: picture_of(settings, id_).unlink(), PictureError, "does not exist"),
    "truncated picture": (
        lambda settings, id_: picture_of(settings, id_).write_bytes(picture_of(settings, id_).read_bytes()[:400]),
        PictureError,
        "damaged",
    ),
    "map": (
        lambda settings, id_: (settings.predictions / f"{id_}.npy").unlink(),
        DatasetError,
        "does not predict it any more; evaluate again",
    ),
    "mask": (
        lambda settings, id_: [path.unlink() for path in settings.data.rglob(f"Segmentation*/{id_}.png")],
        DatasetError,
        "has no mask any more; evaluate again",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_is_named_and_the_folder_stays_as_it_was(voc: Evaluated, tmp_path: Path, damage: str):
    result, settings = copied(voc, tmp_path)
    harm, error, words = DAMAGES[damage]
    worst = min(result.picture_scores, key=lambda id_: result.picture_scores[id_])
    harm(settings, worst)
    out = tmp_path / "out"
    out.mkdir()
    (out / "curves.png").write_text("of an earlier evaluation")
    with pytest.raises(error, match=f"{worst}.*{words}"):
        write_figures(result, settings, out)
    assert [path.name for path in out.iterdir()] == ["curves.png"]
    assert (out / "curves.png").read_text() == "of an earlier evaluation"


def test_boxes_that_are_gone_are_named(pets: Evaluated, tmp_path: Path):
    result, settings = copied(pets, tmp_path)
    for path in (settings.data / "annotations" / "trimaps").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"_\d+: it has no boxes any more"):
        write_figures(result, settings, tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_an_error_of_one_sentence(voc: Evaluated, tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*choose another --out"):
        write_figures(*voc, tmp_path / "out")


def test_a_stale_figure_that_cannot_be_removed_is_an_error(voc: Evaluated, tmp_path: Path):
    (tmp_path / "faithfulness.png").mkdir()
    with pytest.raises(RunError, match=r"cannot remove .*faithfulness\.png, which shows an earlier evaluation"):
        write_figures(*voc, tmp_path)


def test_finished_masks_have_classes_and_pictures_and_no_threshold(pets: Evaluated, tmp_path: Path):
    settings = pets[1]
    dataset = open_dataset(settings.data)
    for number, sample in enumerate(dataset.samples("all")):
        mask = dataset.mask(sample.id)
        assert mask is not None
        write_index_png(tmp_path / "masks" / f"{sample.id}.png", np.roll(np.where(mask == IGNORE, 0, mask), number))
    figures = evaluation_figures(*run(predictions=tmp_path / "masks", data=settings.data, split="all"))
    assert set(figures) == {"classes", "pictures"}
    assert figures["pictures"].get_suptitle() == "Oxford-IIIT Pet, split all, 16 pictures"
    best = figures["pictures"].subfigs[1].axes[1].get_xlabel()
    assert best == f"{next(iter(dataset.ids('all')))}: mIoU 100.0 %", "the first mask was not shifted"


def test_finished_boxes_have_pictures_only_and_another_class_is_no_box(pets: Evaluated, tmp_path: Path):
    settings = pets[1]
    dataset = open_dataset(settings.data)
    results = []
    for number, id_ in enumerate(dataset.ids("all")):
        (box,) = dataset.boxes(id_) or ()
        sides = [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0]
        results.append(
            {"image_id": id_, "category_id": 37 if number % 2 else box.class_id + 1, "bbox": sides, "score": 1}
        )
    (tmp_path / "results.json").write_text(json.dumps(results))
    result, asked = run(predictions=tmp_path / "results.json", data=settings.data, split="all")
    groups = examples(result, asked)
    assert list(groups) == ["6 of 8 missed", "6 of 8 hit"]
    missed, hit = groups.values()
    assert all(member.prediction == () and member.caption.endswith(": no box of its class") for member in missed)
    assert all(member.caption.endswith(": IoU 100.0 %") for member in hit)
    assert set(evaluation_figures(result, asked)) == {"pictures"}


def test_a_box_is_drawn_where_it_was_predicted(pets: Evaluated, tmp_path: Path):
    """A map that is 1 in the right half and 0 elsewhere: the box is the right half of the picture."""
    settings = pets[1]
    dataset = open_dataset(settings.data)
    for id_ in dataset.ids("all"):
        half = np.zeros((64, 64), np.float32)
        half[:, 32:] = 1
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / "maps" / f"{id_}.npy", half)
    result, asked = run(predictions=tmp_path / "maps", data=settings.data, split="all", protocol="localization")
    for member in (member for members in examples(result, asked).values() for member in members):
        height, width = member.size
        (box,) = member.prediction
        # Half a step of the grid for rounding, one because x1 is cut to 223, one for the bicubic edge.
        corners = np.array([box.x0, box.y0, box.x1, box.y1])
        np.testing.assert_allclose(corners, [width / 2, 0, width, height], atol=2.5 * max(member.size) / 224)


def test_pxap_draws_precision_over_recall(pets: Evaluated, tmp_path: Path):
    settings = pets[1]
    result, asked = run(predictions=settings.predictions, data=settings.data, split="all", protocol="pxap")
    figures = evaluation_figures(result, asked)
    assert set(figures) == {"curves"}
    (axes,) = figures["curves"].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall (%)", "precision (%)")
    x, y = (np.asarray(values) for values in axes.lines[0].get_data())
    assert x.min() > 0, "at recall 0 precision is not defined"
    assert x.max() == pytest.approx(100)
    # The area under the curve by the rule of PxAP: precision times the rise of recall.
    area = float((y * np.diff(x, prepend=0)).sum()) / 100
    assert area == pytest.approx(100 * ours(result)[0].scores["pxap"])
    assert [label.split(":")[0] for label in legend(figures["curves"])[1:]] == ["predictions", "centre", "random"]
    assert not marked(figures["curves"])


def test_faithfulness_has_bars_with_the_interval_of_insertion(voc: Evaluated, tmp_path: Path):
    scores = {"insertion": 0.6, "deletion": 0.2, "average_drop": 0.1, "average_increase": 0.3}
    rows = [Row(name, "none", "", None, scores, 0.5, 0.7) for name in ("predictions", "centre", "random")]
    result = replace(voc[0], task="faithfulness", headline="insertion", rows=rows, curves={}, classes=[])
    result = replace(result, thresholds=[], picture_scores={})
    assert names(write_figures(result, voc[1], tmp_path)) == files("faithfulness")
    insertion, deletion = evaluation_figures(result, voc[1])["faithfulness"].axes
    assert [patch.get_height() for patch in insertion.patches] == [60] * 3
    assert [patch.get_height() for patch in deletion.patches] == [20] * 3
    (interval, *_) = (one.get_segments()[0] for one in insertion.collections if isinstance(one, LineCollection))
    np.testing.assert_allclose(interval, [[0, 50], [0, 70]])
    assert insertion.get_title() == "insertion (higher is better), 95 % interval"
    assert deletion.get_title() == "deletion (lower is better)"
