"""`advcam segment` as users meet it: masks of a folder, JSON, dry runs, and errors of one line."""

import json
import shutil
from pathlib import Path

import pytest

from advcam.cli.app import run
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.chain.recipe_file import read_chain
from advcam.pipeline.chain.settings import SegmentSettings
from advcam.segment.trained import load_segmenter

STAGES = ["segment", "predict", "evaluate-segment"]
#: Settings of a network that is trained in a second.
TINY = ["network.weights=random", "network.trained=all", "crop=64", "batch_size=4", "precision=float32"]
TINY += ["objective.frozen_statistics=false", "inference={flip: false, precision: float32}", "self_training=0"]
SMALL = ["--model", "test_resnet", "--epochs", "1"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of four classes, masks of those in train, and a table of pictures without masks."""
    folder = tmp_path_factory.mktemp("drawn")
    write_dataset("folders", folder / "pictures", 12)
    shutil.copytree(folder / "pictures" / "masks" / "train", folder / "mine" / "train")
    shutil.copytree(folder / "pictures", folder / "bare")
    shutil.rmtree(folder / "bare" / "masks")
    return folder


@pytest.fixture(autouse=True)
def here(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with all of them."""
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def segment(*arguments: str, data: str = "pictures", masks: str = "mine", out: str = "out") -> int:
    return run(["segment", data, *TINY, *SMALL, "--masks", masks, "--out", out, *arguments])


def chosen(out: str = "out") -> SegmentSettings:
    made = read_chain(f"{out}/recipe.yaml").segment
    assert made is not None
    return made


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("advcam: ")
    return lines[0].removeprefix("advcam: ")


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def test_from_masks_to_masks_of_other_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert segment("--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["out"] == "out"
    assert [(stage["name"], stage["done"]) for stage in result["stages"]] == [(name, True) for name in STAGES]
    for stage in STAGES:
        assert f"{stage}: to do\n" in captured.err
    assert "  mIoU" in captured.err or "mIoU " in captured.err
    assert "network in  out/segmenter, masks of the test pictures in out/predictions/masks\n" in captured.err
    assert "look at   out/report.html\n" in captured.err
    assert len(list(Path("out/predictions/masks").rglob("*.png"))) == 4
    assert load_segmenter(Path("out")).class_names == ("ellipse", "rectangle", "triangle", "wheel")
    assert (chosen().network.model, chosen().network.head, chosen().epochs) == ("test_resnet", "linear", 1)
    assert segment("--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert run(["run", "out/recipe.yaml", "--out", "out"]) == 0
    err = capsys.readouterr().err
    assert all(f"{stage}: is up to date\n" in err for stage in STAGES), "the recipe that was kept says the same"
    assert segment("--from", "predict", "--quiet", "--json") == 0
    assert [stage["name"] for stage in json.loads(capsys.readouterr().out)["stages"]] == STAGES


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = everything()
    assert segment("--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(stage["name"], stage["state"], stage["pictures"]) for stage in plan] == [
        ("segment", "to do", 8),
        ("predict", "to do", 4),
        ("evaluate-segment", "to do", 4),
    ]
    assert all(stage["seconds"] > 0 for stage in plan[:2])
    assert segment("--dry-run") == 0
    table = capsys.readouterr().out
    assert all(any(line.split()[:3] == [stage, "to", "do"] for line in table.splitlines()) for stage in STAGES)
    assert everything() == before


def test_true_masks_are_learnt_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word on it there is no self-training, which would put the network's answers in their place."""
    command = ["segment", "pictures", *TINY[:-1], *SMALL, "--masks", "true", "--out", "out", "--test", "train"]
    assert run([*command, "--quiet", "--json"]) == 0
    stages = {stage["name"]: dict(stage["facts"]) for stage in json.loads(capsys.readouterr().out)["stages"]}
    assert stages["segment"]["learnt from"] == "8 true masks"
    assert stages["predict"] == {"masks": "8", "possible": "classes of each picture's image labels"}
    assert (chosen().self_training, read_chain("out/recipe.yaml").label_masks) == (0, "true")


def test_few_true_masks_beside_many_others(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["segment", "pictures", *TINY[:-1], *SMALL, "--masks", "mine", "--strong", "2", "--out", "out"]
    assert run([*command, "--quiet", "--json"]) == 0
    facts = dict(json.loads(capsys.readouterr().out)["stages"][0]["facts"])
    assert facts["learnt from"] == "2 true masks, and masks of mine (6), unimatch"
    assert chosen().semi is not None
    assert run([*command[:-1], "dry", "--semi", "cct", "--dry-run"]) == 0
    assert not Path("dry").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "dev"], "has no split 'dev'; its splits are: train, val"),
        (["--test", "dev"], "has no split 'dev'; its splits are: train, val"),
        (["validation=dev"], "has no split 'dev'; its splits are: train, val"),
        (["crops=64"], "advcam segment: there is no setting segment.crops; did you mean segment.crop?"),
        (["crop"], "'segment.crop' changes nothing; write section.key=value"),
        (["--lr", "0"], "advcam segment, segment.lr: Input should be greater than 0; got 0"),
        (["--semi", "cct"], "semi-supervised training needs both: strong (which true masks) and semi (the method)"),
        (["--strong", "2", "objective.multi_scale=true"], "UniMatch sees each picture at one scale; switch objective."),
        (["--strong", "2", "self_training=1"], "self_training and confidence_weights are for pseudo-labels alone"),
        (
            ["--masks", "absent"],
            "absent holds no masks; name a folder of PNG files, the folder pseudo of a run, or true",
        ),
        (["--masks", "true", "self_training=1"], "are for pseudo-labels, and label_masks are the true masks"),
        (["--layout", "voc"], "there is no layout 'voc'; did you mean 'voc2012'?"),
        (["--from", "predict"], "--from predict needs segment, which is not done; run without --from first"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str, dry: bool
) -> None:
    before = everything()
    command = ["segment", "pictures", *TINY, *SMALL, "--out", "out", *arguments, *["--dry-run"] * dry]
    assert run([*command, *([] if "--masks" in arguments else ["--masks", "mine"])]) == 2
    assert words in error_line(capsys)
    assert everything() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strong", "9"], "9 strong pictures wanted, and 8 of 8 pictures have a true mask"),
        (["--split", "val"], "mine holds no mask of these 4 pictures; a mask is a PNG named as its picture"),
        (["confidence_weights=true"], "confidence_weights needs mine/confidence.csv"),
        (["--head", "smp/unnet"], "there is no head smp/unnet; did you mean smp/unet?"),
        (["--device", "cuda:77"], "cuda:77"),
        (["network.weights=absent.safetensors"], "absent.safetensors"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert segment("--quiet", *arguments) == 2
    assert words in error_line(capsys)
    assert not Path("out/segmenter/segmenter.json").exists()


def test_pictures_without_masks(capsys: pytest.CaptureFixture[str]) -> None:
    before = everything()
    assert segment("--quiet", data="bare", masks="true") == 2
    assert "bare has no true masks of these pictures; name a folder of masks" in error_line(capsys)
    assert everything() == before
    assert segment("--quiet", "--json", data="bare") == 0
    names = [stage["name"] for stage in json.loads(capsys.readouterr().out)["stages"]]
    assert names == ["segment", "predict"], "nothing to score by"


def test_masks_of_another_size(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("mine/train/ellipse/4.png", "mine/train/rectangle/1.png")
    assert segment("--quiet") == 2
    assert "1 mask of another size (make them from the pictures as they are shown): train/rectangle/1.jpg" in (
        error_line(capsys)
    )
    assert not Path("out/segmenter").exists()


def test_a_picture_that_is_skipped_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("pictures/val/wheel/3.jpg")
    path.write_bytes(path.read_bytes()[:-300])
    assert segment() == 1
    assert "  predict: 1 picture skipped (report.html)\n" in capsys.readouterr().err
