"""Which stages are done, left alone or done anew, and which run directories are refused."""

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chains import Heard, files, records, run, settings, without_truth
from PIL import Image

from advcam.datasets.catalogue import open_dataset
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import RunError, SettingError
from advcam.pipeline.chain.run import Chain, open_chain
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import digest, picture_digest

STAGES = ("train", "localize", "refine-affinity", "pseudo")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of a table in train, without masks."""
    root = tmp_path_factory.mktemp("data") / "table"
    write_dataset("table", root, 12)
    return without_truth(root)


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `toy`, to be copied."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert run(toy(table), out) == dict.fromkeys(STAGES, "to do")
    return out


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """A finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def own(table: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that may be changed."""
    return Path(shutil.copytree(table, tmp_path / "own"))


def toy(root: Path, *overrides: str, **data: object) -> ChainSettings:
    return settings(root, "refine.methods=[affinity]", *overrides, **data)


def states(*parts: str) -> dict[str, str]:
    return dict(zip(STAGES, parts, strict=True))


def test_what_is_done_is_left_alone(table: Path, done: Path) -> None:
    before = {name: content for name, content in files(done).items() if name != "report.html"}
    assert run(toy(table), done) == dict.fromkeys(STAGES, "done")
    assert {name: content for name, content in files(done).items() if name != "report.html"} == before
    assert set(records(toy(table), done)) == set(STAGES)


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("train.lr=0.002", 0),
        ("train.seed=1", 0),
        ("localize.scales=[0.5]", 1),
        ("localize.flip=false", 1),
        ("localize.precision=bfloat16", 1),
        ("threshold=0.4", 2),
        ("refine.affinity.iterations=3", 2),
        ("pseudo.threshold=0.4", 3),
        ("pseudo.boxes=largest", 3),
    ],
)
def test_a_changed_setting_redoes_its_stage_and_all_behind(table: Path, done: Path, override: str, first: int) -> None:
    expected = states(*["done"] * first, *["to be redone"] * (len(STAGES) - first))
    made = toy(table, override)
    with open_chain(made, done) as chain:
        assert {stage.name: stage.state for stage in chain.plan()} == expected
    if first >= 2:  # to carry it out takes no network
        before = files(done / "localize")
        assert run(made, done) == expected
        assert run(made, done) == dict.fromkeys(STAGES, "done")
        assert files(done / "localize") == before


@pytest.mark.parametrize(
    "override",
    ["train.workers=1", "train.log_every=1", "train.save_minutes=1", "train.accumulate=2", "outputs.report_pictures=5"],
)
def test_settings_that_decide_nothing_redo_nothing(table: Path, done: Path, override: str) -> None:
    with open_chain(toy(table, override), done) as chain:
        assert {stage.state for stage in chain.plan()} == {"done"}


def test_a_redone_stage_leaves_nothing_of_the_last_one(table: Path, done: Path) -> None:
    (done / "pseudo" / "masks" / "stale.png").write_bytes(b"")
    run(toy(table, "pseudo.threshold=0.9"), done)
    assert not (done / "pseudo" / "masks" / "stale.png").exists()
    fresh = done.with_name("fresh")
    run(toy(table, "pseudo.threshold=0.9"), fresh)
    assert files(done / "pseudo") == files(fresh / "pseudo")


def test_a_method_more_and_a_method_less(table: Path, done: Path) -> None:
    more = run(settings(table, "refine.methods=[crf, affinity]"), done)
    assert more == states("done", "done", "done", "done") | {"refine-crf": "to do"}
    less = run(settings(table), done)
    assert less == {"train": "done", "localize": "done", "pseudo": "to be redone"}


def test_another_label_redoes_everything(own: Path, done: Path) -> None:
    assert run(toy(own), done) == dict.fromkeys(STAGES, "done"), "the same pictures elsewhere"
    table = own / "labels.csv"
    table.write_text(table.read_text().replace("1.jpg,rectangle", "1.jpg,wheel", 1))
    assert run(toy(own), done) == dict.fromkeys(STAGES, "to be redone")
    assert run(toy(own), done) == dict.fromkeys(STAGES, "done")


def test_other_pictures_with_masks_do_not_train_anew(table: Path, done: Path) -> None:
    """A few for a quick try, then all; or another split: the classifier has not seen a difference."""
    for data in ({"limit": 3}, {"masks": "val"}):
        with open_chain(toy(table, **data), done) as chain:
            assert {stage.name: stage.state for stage in chain.plan()} == states("done", *["to be redone"] * 3)
    with open_chain(toy(table, train="val"), done) as chain:
        assert {stage.state for stage in chain.plan()} == {"to be redone"}


def test_other_classes_redo_everything(own: Path, done: Path) -> None:
    """In another order the outputs of the classifier mean something else."""
    (own / "classes.txt").write_text("wheel\ntriangle\nrectangle\nellipse\n")
    with open_chain(toy(own), done) as chain:
        assert {stage.state for stage in chain.plan()} == {"to be redone"}
    (own / "classes.txt").write_text("ellipse\nrectangle\ntriangle\nwheel\n")
    with open_chain(toy(own), done) as chain:
        assert {stage.state for stage in chain.plan()} == {"done"}, "the order in which they were"


def test_another_picture_redoes_everything(own: Path, done: Path) -> None:
    Image.fromarray(np.zeros((80, 96, 3), dtype=np.uint8)).save(own / "pictures" / "1.jpg")
    with open_chain(toy(own), done) as chain:
        assert {stage.state for stage in chain.plan()} == {"to be redone"}


def test_from_a_stage_on(table: Path, done: Path) -> None:
    kept = files(done / "classifier") | files(done / "localize")
    assert run(toy(table), done, from_="refine") == {
        "refine-affinity": "to be redone",
        "pseudo": "to be redone",
    }
    assert files(done / "classifier") | files(done / "localize") == kept


def test_from_names_only_the_stages_it_does(table: Path, done: Path) -> None:
    assert run(toy(table), done, from_="refine", until="refine") == {"refine-affinity": "to be redone"}
    assert run(toy(table), done, from_="pseudo") == {"pseudo": "to be redone"}
    assert run(toy(table), done) == dict.fromkeys(STAGES, "done")


def test_until_a_stage_and_then_on(table: Path, tmp_path: Path, done: Path) -> None:
    out = tmp_path / "steps"
    assert run(toy(table), out, until="train") == {"train": "to do"}
    left = [".lock", "classifier", "log.jsonl", "recipe.yaml", "report.html", "stages"]
    assert sorted(p.name for p in out.iterdir()) == left
    assert run(toy(table), out, until="localize") == {"train": "done", "localize": "to do"}
    assert run(toy(table), out) == states("done", "done", "to do", "to do")
    assert files(out / "pseudo") == files(done / "pseudo")


@pytest.mark.parametrize(
    ("from_", "until", "words"),
    [
        ("trian", None, "--from names 'trian'; the stages of this recipe are train, localize, refine-affinity, pseudo"),
        (None, "refine-crf", "--until names 'refine-crf'; the stages of this recipe are train, "),
        ("pseudo", "localize", "--until localize comes before --from pseudo; turn them round"),
    ],
)
def test_stages_that_are_not_there(table: Path, done: Path, from_: str | None, until: str | None, words: str) -> None:
    before = files(done)
    with open_chain(toy(table), done) as chain:
        for command in (chain.plan, lambda *given: chain.run(Heard(), *given)):
            with pytest.raises(SettingError) as caught:
                command(from_, until)
            assert words in str(caught.value)
    assert files(done) == before


def test_from_a_stage_whose_beginning_is_not_done(table: Path, tmp_path: Path, done: Path) -> None:
    with pytest.raises(RunError) as caught:
        run(toy(table), tmp_path / "new", from_="pseudo")
    assert str(caught.value) == "--from pseudo needs train, which is not done; run without --from first"
    assert not (tmp_path / "new").exists()
    with pytest.raises(RunError, match="--from pseudo needs refine-affinity, which is not done"):
        run(toy(table, "threshold=0.4"), done, from_="pseudo")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "pseudo"}', '{"name": 1, "facts": [[1]], "skipped": []}'])
def test_a_damaged_record(table: Path, done: Path, text: str) -> None:
    path = done / "stages" / "pseudo.json"
    path.write_text(text)
    for command in (lambda chain: chain.plan(), lambda chain: chain.run(Heard())):
        with pytest.raises(RunError) as caught, open_chain(toy(table), done) as chain:
            command(chain)
        assert str(caught.value).startswith(f"{path} is damaged (")
        assert str(caught.value).endswith("); delete it: its stage is done anew")


def test_a_damaged_threshold(table: Path, done: Path) -> None:
    made = toy(table, "threshold=null")
    run(made, done, until="threshold")
    path = done / "threshold" / "threshold.json"
    path.write_text("{}")
    with pytest.raises(RunError) as caught:
        run(settings(table, "refine.methods=[crf]", "threshold=null"), done)
    assert str(caught.value) == f"{path} is missing or damaged; do its stage anew: --from threshold"
    assert run(made, done, from_="threshold")["threshold"] == "to be redone"


def test_a_deleted_record_does_its_stage_anew(table: Path, done: Path) -> None:
    """Whatever lies in its folder: of which settings that is, nobody knows."""
    whole = files(done / "pseudo")
    (done / "stages" / "refine-affinity.json").unlink()
    (done / "stages" / "pseudo.json").unlink()
    (done / "pseudo" / "masks" / "stale.png").write_bytes(b"")
    run(toy(table, "refine.affinity.iterations=20"), done)
    assert files(done / "pseudo") != whole
    run(toy(table), done)
    assert files(done / "pseudo") == whole


def test_another_process_works_there(table: Path, done: Path) -> None:
    with (done / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError) as caught:
            run(toy(table), done)
    assert str(caught.value) == f"another process is working in {done}; wait for it or choose another --out"
    assert run(toy(table), done) == dict.fromkeys(STAGES, "done")


def test_out_is_a_file_or_below_one(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError) as caught:
        run(toy(table), tmp_path / "file")
    assert str(caught.value) == f"{tmp_path / 'file'} is a file; choose another --out, a run takes a folder"
    with pytest.raises(RunError, match=r"cannot write to .*/file/run \(Not a directory\); choose another --out"):
        run(toy(table), tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("names", [("notes.txt",), (".lock", "config.json"), ("recipe.yaml", "tune.json"), (".git",)])
def test_a_foreign_folder_stays_as_it_is(table: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    """Such as that of `advcam localize`, which has a lock, or of `advcam tune`, which has a recipe."""
    out = tmp_path / "mine"
    out.mkdir()
    for name in names:
        (out / name).write_text("method: {method: cam}\n")
    before = files(out)
    with pytest.raises(RunError) as caught:
        run(toy(table), out)
    assert str(caught.value) == f"{out} is not empty and no run of a recipe; choose another --out or empty it"
    assert files(out) == before


def test_an_empty_folder_and_one_of_a_run_that_was_killed_at_once(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in (".lock", "recipe.yaml.partial"):
        (out / name).write_bytes(b"")
        assert run(toy(table), out, until="train")["train"] in ("to do", "done")
        shutil.rmtree(out)
        out.mkdir()


def test_fingerprints_are_of_content_not_of_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_fingerprints_of_pictures(table: Path) -> None:
    dataset = open_dataset(table)
    samples = list(dataset.samples("train"))
    same = picture_digest(dataset, (samples,))
    first, *others = samples
    assert picture_digest(dataset, (iter(samples),)) == same
    assert picture_digest(dataset, ([replace(first, labels=("wheel",)), *others],)) != same
    assert picture_digest(dataset, ([replace(first, labels=None), *others],)) != same
    assert picture_digest(dataset, ([replace(first, id="other"), *others],)) != same
    assert picture_digest(dataset, ([replace(first, path=table / "labels.csv"), *others],)) != same
    assert picture_digest(dataset, ([replace(first, path=table / "absent.jpg"), *others],)) != same
    assert picture_digest(dataset, ([first], others)) != same, "what is learnt and what is held out"


def test_records_say_what_happened(table: Path, done: Path) -> None:
    found = records(toy(table), done)
    assert [found[name].done for name in STAGES] == [True] * 4
    assert dict(found["train"].facts)["network"] == "test_resnet, multi-label, 4 classes"
    assert dict(found["localize"].facts) == {"method": "cam", "pictures": "8"}
    assert dict(found["pseudo"].facts)["threshold"] == "0.3"
    assert all(record.seconds >= 0 for record in found.values())
    stored = json.loads((done / "stages" / "pseudo.json").read_text())
    assert stored["fingerprint"] == Chain(toy(table), done).records.fingerprints["pseudo"]
