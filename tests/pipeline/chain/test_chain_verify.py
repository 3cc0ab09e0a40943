"""`advcam verify` of a recipe's run: the damaged stages go on with what is there, what was trained stays."""

import json
from pathlib import Path
from shutil import copytree, rmtree

import pytest
import torch
from chains import Heard, files, run, settings
from safetensors.torch import load_file, save_file

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.datasets.synthetic.wsol import write_wsol
from advcam.pipeline.chain.run import Chain
from advcam.pipeline.verify import Verification, verify
from advcam.store.maps import MapStore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified")
    write_dataset("table", folder / "data", 12)
    run(settings(folder / "data", "refine.methods=[affinity]"), folder / "run")
    return folder / "run"


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage: a run can be moved."""
    return copytree(whole, tmp_path / "run")


def verified(out: Path, mend: bool = True) -> tuple[Verification, Heard]:
    heard = Heard()
    return verify(out, heard, mend), heard


def results(out: Path) -> dict[str, bytes]:
    """All that has to be as it was; what is left out tells of the last session, or where the run lies."""
    of_a_session = ("summary.json", "settings.json", "report.html")
    found = {name: data for name, data in files(out).items() if not name.endswith(of_a_session)}
    return {name: data for name, data in found.items() if not name.startswith(("stages/", "metrics/"))}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def test_a_run_that_is_well(out: Path) -> None:
    before = files(out)
    found, heard = verified(out)
    assert (found.well, found.damaged, found.skipped) == (True, [], [])
    assert (found.shards, found.pictures) == (2, 2 * len(MapStore(out / "localize" / "maps").index()))
    assert heard.stages == {}
    assert files(out) == before


def test_damaged_stages_go_on_with_what_is_there_and_the_others_are_left_alone(out: Path) -> None:
    before = results(out)
    scores = json.loads((out / "metrics" / "pseudo" / "evaluation.json").read_text())["rows"]
    (shard,) = (out / "localize" / "maps").glob("part-*")
    (refined,) = (out / "refined" / "affinity" / "maps").glob("part-*")
    label = sorted((out / "pseudo" / "masks").rglob("*.png"))[0]
    evaluation = out / "metrics" / "pseudo" / "evaluation.json"
    for path in (shard, refined, evaluation, out / "pseudo" / "boxes.json"):
        cut(path)
    label.unlink()
    damaged = files(out)

    found, _ = verified(out, mend=False)
    assert not found.well
    assert files(out) == damaged
    count = sum(1 for name in before if name.startswith("pseudo/masks/"))
    expected = {path.relative_to(out).as_posix() for path in (shard, refined, evaluation)}
    problems = {damage.path: damage.problem for damage in found.damaged}
    assert problems.keys() == expected | {"pseudo/boxes.json", "pseudo/masks"}
    assert problems["pseudo/masks"] == f"holds {count - 1} of {count} masks"
    assert not any(damage.advice for damage in found.damaged)

    found, heard = verified(out)
    assert found.well
    assert heard.stages == dict.fromkeys(["localize", "refine-affinity", "pseudo", "evaluate"], "to be finished")
    assert results(out) == before
    assert json.loads(evaluation.read_text())["rows"] == scores
    assert verified(out)[0].damaged == []


def test_shards_and_stages_that_are_gone_are_made_again(out: Path) -> None:
    before = results(out)
    (shard,) = (out / "localize" / "maps").glob("part-*")
    (refined,) = (out / "refined" / "affinity" / "maps").glob("part-*")
    shard.unlink()
    refined.unlink()
    for mend in (False, True):
        found, _ = verified(out, mend)
        assert [(one.path, one.problem, one.advice) for one in found.damaged] == [
            (f"localize/maps/{shard.name}", "is missing", ""),
            (f"refined/affinity/maps/{refined.name}", "is missing", ""),
        ]
        assert found.well is mend
    assert results(out) == before
    rmtree(out / "refined")
    rmtree(out / "localize")
    for mend in (False, True):
        found, _ = verified(out, mend)
        assert [(one.path, one.problem) for one in found.damaged if one.path != "localize/masks"] == [
            ("localize/config.json", "is missing"),
            ("refined/affinity/maps", "is missing"),
        ]
        assert found.well is mend
    assert results(out) == before


@pytest.mark.parametrize("everything", [True, False])
def test_nothing_is_changed_while_the_pictures_are_away(out: Path, whole: Path, everything: bool) -> None:
    (shard,) = (out / "localize" / "maps").glob("part-*")
    cut(shard)
    data = whole.parent / "data"
    away = data if everything else next(path for path in sorted(data.rglob("*.jpg")))
    before = files(out)
    away.rename(elsewhere := whole.parent / "elsewhere")
    try:
        found, heard = verified(out)
    finally:
        elsewhere.rename(away)
    assert not found.well
    assert [one.path for one in found.damaged] == [f"localize/maps/{shard.name}"]
    advice = found.damaged[0].advice
    assert advice.startswith("nothing is changed, as it cannot be made again now: ")
    assert ("data" if everything else "1 picture of the run cannot be found, the first: ") in advice
    assert heard.stages == {}
    assert files(out) == before
    assert verified(out)[0].well


@pytest.mark.parametrize("damage", ["cut", "NaN"])
def test_the_only_copy_of_a_network_is_named_and_nothing_is_changed(out: Path, damage: str) -> None:
    network = out / "classifier" / "best.safetensors"
    (shard,) = (out / "localize" / "maps").glob("part-*")
    cut(shard)
    if damage == "cut":
        cut(network)
    else:
        tensors = load_file(network)
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        tensors[name] = torch.full_like(tensors[name], torch.nan)
        save_file(tensors, network)
    before = files(out)
    found, heard = verified(out)
    assert not found.well
    advice = {damage.path: damage.advice for damage in found.damaged}
    assert advice == {
        "classifier/best.safetensors": (
            "put a copy of it back; without one, train again: advcam run recipe.yaml --from train"
        ),
        f"localize/maps/{shard.name}": "",
    }
    assert heard.stages == {}
    assert files(out) == before


def test_a_damaged_recipe_or_record_is_named(out: Path) -> None:
    (out / "stages" / "pseudo.json").write_text("{")
    found, _ = verified(out)
    assert [(one.path, one.advice) for one in found.damaged] == [
        ("stages/pseudo.json", "delete it: its stage is done anew by the recipe")
    ]
    (out / "recipe.yaml").write_bytes((out / "recipe.yaml").read_bytes() + b"{")
    found, _ = verified(out)
    assert [one.path for one in found.damaged] == ["recipe.yaml", "stages/pseudo.json"]


def test_a_stage_that_is_out_of_date_is_not_made_as_it_would_be_now(out: Path) -> None:
    record = out / "stages" / "pseudo.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "fingerprint": "of other settings"}))
    (out / "pseudo" / "instances.json").write_text("{")
    before = files(out)
    found, _ = verified(out)
    assert [(one.path, one.advice) for one in found.damaged] == [
        ("pseudo/instances.json", "pseudo is out of date: advcam run recipe.yaml does it anew")
    ]
    assert files(out) == before


def test_a_stage_that_is_reopened_is_finished_by_the_recipe(out: Path, whole: Path) -> None:
    made = settings(whole.parent / "data", "refine.methods=[affinity]")
    chain = Chain(made, out)
    stage = next(stage for stage in chain.stages if stage.name == "pseudo")
    chain.records.reopen(stage)
    assert chain.records.state(stage) == "to be finished"
    found, _ = verified(out)
    assert (found.well, found.unfinished) == (True, True)
    assert run(made, out)["pseudo"] == "to be finished"
    assert chain.records.state(stage) == "done"


def test_rankings_that_are_damaged_or_gone_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcam.pipeline.chain.classifying.SHARD_PICTURES", 2)
    write_wsol(tmp_path / "data", 5)
    run(settings(tmp_path / "data", train="train", val="val", masks="test"), tmp_path / "run", until="classify")
    out = tmp_path / "run"
    before = files(out / "predicted")
    first, second, *_ = sorted((out / "predicted" / "records").glob("part-*"))
    cut(first)
    second.unlink()
    for mend in (False, True):
        found, _ = verified(out, mend)
        assert [(one.path, one.problem) for one in found.damaged] == [
            (f"predicted/records/{first.name}", "its bytes are not those that were written"),
            (f"predicted/records/{second.name}", "is missing"),
        ]
        assert found.well is mend
    assert files(out / "predicted") == before
