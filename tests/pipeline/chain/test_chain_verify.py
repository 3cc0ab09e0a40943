"""`advcam verify` of a recipe's run: the damaged stages go on with what is there, what was trained stays."""

import json
from pathlib import Path
from shutil import copytree

import pytest
import torch
from chains import Heard, files, run, settings
from safetensors.torch import load_file, save_file

from advcam.datasets.synthetic.catalogue import write_dataset
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
    assert run(made, out)["pseudo"] == "to be finished"
    assert chain.records.state(stage) == "done"
