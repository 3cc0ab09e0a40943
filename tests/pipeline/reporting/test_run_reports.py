"""Reports of whole runs: their numbers are those of evaluation.json, and what is gone is said and not stumbled over."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from written_segmenter import write_segmenter

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import SettingError
from advcam.pipeline.chain.recipe_file import change, parse_chain
from advcam.pipeline.chain.run import open_chain
from advcam.pipeline.config import localize_settings
from advcam.pipeline.localize import localize
from advcam.pipeline.predicting.predict import predict_pictures
from advcam.pipeline.predicting.settings import predict_settings
from advcam.pipeline.reporting.comparison import compare
from advcam.pipeline.reporting.report import write_report
from advcam.store.corrections import Corrections
from advcam.store.masks import read_mask

RECIPE = {
    "train": {
        "model": "test_resnet", "weights": "random", "frozen_statistics": False, "crop": 64, "epochs": 1,
        "batch_size": 8, "precision": "float32",
    },
    "localize": {"method": "advcam", "iterations": 1, "scales": [1.0], "precision": "float32"},
    "outputs": {"overlays": False, "report_pictures": 4},
    "refine": {"methods": ["affinity"], "affinity": {"iterations": 2}},
    "threshold": 0.3,
    "evaluate": {"resamples": 5},
}  # fmt: skip


class Quiet:
    """Watches nothing, of any kind of run."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def made(root: Path, out: Path, *overrides: str) -> Path:
    content = {"data": {"root": str(root), "val": "val"}, **json.loads(json.dumps(RECIPE))}
    change(content, overrides)
    with open_chain(parse_chain(content, "toy"), out) as chain:
        chain.run(Quiet())
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn pictures, and two runs of them: `first` and `cam`, which does not climb."""
    here = tmp_path_factory.mktemp("reports")
    write_dataset("folders", here / "data", 12)
    made(here / "data", here / "first")
    made(here / "data", here / "cam", "localize={method: cam, scales: [1.0], precision: float32}")
    return here


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A run that may be changed."""
    shutil.copytree(folder / "first", tmp_path / "run")
    return tmp_path / "run"


def page_of(run: Path, pictures: int | None = None) -> str:
    return write_report(run, run.parent / "page.html", pictures).path.read_text(encoding="utf-8")


def evaluation(run: Path, stage: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "metrics" / stage / "evaluation.json").read_text())
    return content


def test_a_report_made_later_is_that_of_the_run(folder: Path) -> None:
    """Nothing of it is known to the run alone."""
    assert page_of(folder / "first") == (folder / "first" / "report.html").read_text(encoding="utf-8")


def test_numbers_are_those_of_the_evaluation(folder: Path) -> None:
    page = page_of(folder / "first")
    for stage in ("baseline", "localize", "refine-affinity", "pseudo"):
        result = evaluation(folder / "first", stage)
        for row in result["rows"]:
            if row["name"] == "predictions":
                assert f"{100 * row['scores']['miou']:.1f} <small>" in page
                assert f"{100 * row['low']:.1f} – {100 * row['high']:.1f}</small>" in page
    final = evaluation(folder / "first", "pseudo")
    for row in final["classes"]:
        cells = [f"{100 * row[name]:.1f}" if row[name] is not None else "–" for name in ("precision", "recall")]
        assert "".join(f'<td class="number">{cell}</td>' for cell in cells) in page
    names = [row["name"] for row in final["classes"]]
    total = sum(pixels for true, _, pixels in final["confusion"] if true == 0)
    right = next(pixels for true, claimed, pixels in final["confusion"] if true == claimed == 0)
    assert f'<tr><th scope="row">{names[0]}</th><td style=' in page
    assert f">{100 * right / total:.0f}</td>" in page
    scores = final["picture_scores"]
    worst = min(scores, key=scores.__getitem__)
    assert page.index("The worst among the masks") < page.index(f"<bdi>{worst}</bdi>")
    assert f"mIoU {100 * scores[worst]:.1f} %" in page
    assert page.count("t = 0") > 0, "the climb of pictures whose steps are stored"


def test_the_number_of_pictures(folder: Path) -> None:
    assert page_of(folder / "first").count("<article") == 4
    assert page_of(folder / "first", 2).count("<article") == 2
    none = page_of(folder / "first", 0)
    assert none.count("<article") == 0
    assert 'id="scores"' in none


def test_what_people_said_is_counted(run: Path) -> None:
    corrections = Corrections(run)
    ids = [str(id_) for id_ in evaluation(run, "pseudo")["picture_scores"]]
    corrections.set_status(ids[0], "accepted", 0)
    mask = read_mask(next((run / "pseudo" / "masks").rglob("*.png")))
    corrections.save_mask(ids[1], ids[1].removesuffix(".png"), np.zeros_like(mask), 0)
    page = page_of(run, 24)
    assert "1 accepted, 1 corrected, 6 not yet" in page
    assert "; accepted</small>" in page
    assert page.count("<figcaption>corrected</figcaption>") == 1


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("localize", "What localize left is gone: advcam verify"),
        ("refined", "What refine-affinity left is gone"),
        ("pseudo", "What pseudo left is gone"),
        ("metrics", "The scores of metrics/ are gone"),
        ("log.jsonl", None),
        ("stages", None),
        ("classifier", None),
    ],
)
def test_half_deleted_runs_say_what_is_missing(run: Path, gone: str, words: str | None) -> None:
    path = run / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = page_of(run)
    assert words is None or words in page
    assert "Make it again" in page


@pytest.mark.parametrize("file", ["metrics/pseudo/evaluation.json", "stages/localize.json", "localize/metrics.json"])
def test_damaged_files_are_a_note_and_not_an_end(run: Path, file: str) -> None:
    (run / file).write_text('{"rows": [')
    page = page_of(run)
    assert "Make it again" in page
    assert file.endswith("metrics.json") or f"{run / file}" in page


def test_a_run_that_is_still_being_written(run: Path) -> None:
    path = run / "stages" / "evaluate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": False}))
    page = page_of(run)
    assert "The run is not finished: evaluate was begun." in page
    assert 'id="scores"' not in page
    assert "begun, not finished" in page


def test_damaged_maps_are_a_note(run: Path) -> None:
    for path in (run / "baseline" / "maps").iterdir():
        path.write_bytes(b"nothing")
    page = page_of(run)
    assert "baseline" in page
    assert "Make it again" in page


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="holds no run of advcam"):
        write_report(tmp_path)


@pytest.fixture(scope="module")
def localized(folder: Path) -> Path:
    settings = localize_settings(
        data=folder / "data", split="train", out=folder / "localized",
        model={"model": "test_resnet", "weights": folder / "first" / "classifier" / "best.safetensors",
               "class_names": folder / "first" / "classifier" / "classes.txt"},
        method={"iterations": 2, "scales": (1.0,), "precision": "float32"},
        outputs={"report_pictures": 3, "threshold": 0.4},
    )  # fmt: skip
    localize(settings, Quiet(), "advcam localize")
    return folder / "localized"


def test_the_report_of_a_localization_made_anew(localized: Path) -> None:
    own, page = (localized / "report.html").read_text(encoding="utf-8"), page_of(localized)
    for html in (own, page):
        assert "Pictures that show each class" in html
        assert '<tr><th scope="row">threshold</th>' not in html
        assert '<tr><th scope="row">outputs.threshold</th><td>0.4</td><td>0.3</td></tr>' in html
        assert "--threshold 0.4" in html
        assert html.count("<article") == 3
        assert "test_resnet" in html
    facts = json.loads((localized / "summary.json").read_text())["facts"]
    assert all(f"<td>{value}</td>" in page for name, value in facts if name in ("Method", "Precision", "Time"))
    assert "Memory at most" in page


def test_an_evaluation_in_a_localization_is_shown(localized: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(localized, tmp_path / "run")
    shutil.copytree(folder / "first" / "metrics" / "localize", tmp_path / "run" / "evaluation")
    page = page_of(tmp_path / "run")
    assert "How the score depends on the threshold" in page
    assert "The worst among all pictures" in page
    (tmp_path / "run" / "summary.json").unlink()
    assert "The run is not finished: summary.json is missing." in page_of(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "maps")
    assert "The maps are gone" in page_of(tmp_path / "run")


def test_runs_side_by_side(folder: Path, localized: Path, tmp_path: Path) -> None:
    compare([folder / "first", folder / "cam", localized], tmp_path / "c.html", 2)
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    own, other = (
        next(row for row in evaluation(folder / name, "localize")["rows"] if row["supervision"] == "oracle")
        for name in ("first", "cam")
    )
    gain = other["scores"]["miou"] - own["scores"]["miou"]
    assert f"{100 * other['scores']['miou']:.1f} <strong>({100 * gain:+.1f})</strong>" in page
    assert '<tr><th scope="row">localize.method</th><td>advcam</td><td>cam</td><td>–</td></tr>' in page
    assert "evaluate.resamples" not in page, "the same in the runs that have it"
    assert "The runs are of different kinds" in page
    assert page.count("<article") <= 2
    assert "The runs share 8 pictures by name" in page
    assert "the same " in page
    scores = [evaluation(folder / name, "pseudo")["picture_scores"] for name in ("first", "cam")]
    better = sum(scores[1][id_] > score for id_, score in scores[0].items())
    assert f"cam is better than first in {better} of {len(scores[0])} common pictures" in page


def test_other_pictures_are_not_compared_silently(folder: Path, run: Path, tmp_path: Path) -> None:
    path = run / "metrics" / "pseudo" / "evaluation.json"
    content = json.loads(path.read_text())
    left_out = next(iter(content["picture_scores"]))
    del content["picture_scores"][left_out]
    content["picture_scores"]["another"] = 0.5
    path.write_text(json.dumps(content))
    compare([folder / "first", run], tmp_path / "c.html", 0)
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    row = page[page.index('<tr><th scope="row">pseudo on') :].partition("</tr>")[0]
    assert "NOT the same, so no difference is given" in row
    assert "<strong>(" not in row
    assert "None: the runs were asked for the same." in page


def test_what_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="two runs or more"):
        compare([folder / "first"], tmp_path / "c.html", 2)
    with pytest.raises(SettingError, match="named twice"):
        compare([folder / "first", folder / "data" / ".." / "first"], tmp_path / "c.html", 2)
    with pytest.raises(SettingError, match="holds no run"):
        compare([folder / "first", folder / "data"], tmp_path / "c.html", 2)
    assert not (tmp_path / "c.html").exists()


def test_the_report_of_predictions(folder: Path, tmp_path: Path) -> None:
    network = write_segmenter(tmp_path / "net", ("rectangle", "ellipse"), model="test_resnet", head="linear")
    settings = predict_settings(
        inputs=(str(folder / "data"),), segmenter=network, out=tmp_path / "run", inference={"precision": "float32"}
    )
    summary = predict_pictures(settings, Quiet())
    page = page_of(tmp_path / "run", 3)
    assert page.count("<article") == 3
    assert "What the network sees" in page
    for name, count in summary.classes.items():
        assert f'<th scope="row">{name}</th><td class="number">{count}</td>' in page
    assert f"advcam predict {folder / 'data'} --segmenter {network}" in page
    assert 'id="scores"' not in page
    assert "<small>confidence 0." in page
    (tmp_path / "run" / "predictions.json").unlink()
    shutil.rmtree(tmp_path / "run" / "masks")
    assert "No picture has a mask yet." in page_of(tmp_path / "run")
