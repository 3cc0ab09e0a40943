"""`advcam run`, `train` and `refine` as users meet them: recipes, dry runs, JSON, resume, errors of one line."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from advcam.cli.app import run
from advcam.cli.run import ChainWatch
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.chain.recipe_file import read_chain

RECIPE = """\
data: {root: pictures, train: train, val: val}
train: {model: test_resnet, weights: random, frozen_statistics: false, crop: 64, epochs: 1, batch_size: 8,
        precision: float32}
localize: {method: cam, scales: [1.0], precision: float32}
outputs: {overlays: false, report_pictures: 2}
threshold: 0.3
refine: {methods: [affinity], affinity: {iterations: 2}, irn: {crop: 64, epochs: 1, batch_size: 4, steps: 2}}
pseudo: {threshold: 0.3}
evaluate: {resamples: 2}
"""
STAGES = ["train", "localize", "refine-affinity", "pseudo", "evaluate"]
#: The settings of the recipe, for `advcam train`.
TINY = ["weights=random", "frozen_statistics=false", "crop=64", "batch_size=8", "precision=float32"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and twelve pictures of four classes; masks are there, too."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(RECIPE)
    write_dataset("folders", Path("pictures"), 12)
    return tmp_path


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("advcam: ")
    return lines[0].removeprefix("advcam: ")


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def test_from_a_recipe_to_masks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "mine.yaml", "--out", "out", "--json"]) == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert content["out"] == "out"
    assert [stage["name"] for stage in content["stages"]] == STAGES
    assert all(stage["done"] for stage in content["stages"])
    for stage in STAGES:
        assert f"{stage}: to do\n" in captured.err
    assert "  network: test_resnet, single-label, 4 classes\n" in captured.err
    assert "look at   out/report.html\n" in captured.err
    assert "masks in  out/pseudo/masks, boxes.json and confidence.csv beside them\n" in captured.err
    assert len(list(Path("out/pseudo/masks").rglob("*.png"))) == 8
    assert run(["run", "mine.yaml", "--out", "out", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert run(["run", "out/recipe.yaml", "--out", "out"]) == 0
    err = capsys.readouterr().err
    assert all(f"{stage}: is up to date\n" in err for stage in STAGES), "the recipe that was kept says the same"


def test_overrides_from_and_until(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["train.epochs=2", "localize.scales=[0.5, 1]", "refine.methods=[]"]
    assert run(["run", "mine.yaml", *changes, "--out", "out", "--until", "localize", "--json", "--quiet"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in content["stages"]] == ["train", "localize"]
    assert ["kept epoch", "2 of 2"] in content["stages"][0]["facts"]
    assert read_chain("out/recipe.yaml").localize.scales == (0.5, 1.0)
    assert run(["run", "mine.yaml", *changes, "--out", "out", "--from", "localize", "--until", "pseudo"]) == 0
    err = capsys.readouterr().err
    assert "train" not in [line.partition(":")[0] for line in err.splitlines()[:2]]
    assert "localize: to be redone\n" in err
    assert "pseudo: to do\n" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tinny"], "there is no recipe tinny; did you mean tiny? give a .yaml file, or one of "),
        (["mine.yaml", "trian.epochs=3"], "mine.yaml: there is no setting trian; did you mean train?"),
        (["mine.yaml", "train.epochs"], "'train.epochs' changes nothing; write section.key=value"),
        (["mine.yaml", "train.epochs=many"], "mine.yaml, train.epochs: Input should be a valid integer"),
        (["mine.yaml", "data.root=absent"], "absent is no folder; name the root folder of a data set"),
        (["mine.yaml", "data.train=tain"], "has no split 'tain'; its splits are: train, val"),
        (["mine.yaml", "data.layout=voc"], "there is no layout 'voc'; did you mean 'voc2012'?"),
        (["mine.yaml", "--until", "crf"], "--until names 'crf'; the stages of this recipe are train, localize, "),
        (["mine.yaml", "--from", "pseudo"], "--from pseudo needs train, which is not done; run without --from first"),
        (["mine.yaml", "--from", "pseudo", "--until", "train"], "--until train comes before --from pseudo"),
        (["mine.yaml", "pseudo.band=0.9"], "the band 0.9 around the threshold 0.3 reaches from -0.15 to 0.75"),
        (["mine.yaml", "refine.irn={conf_bg: 0.5, conf_fg: 0.2}"], "mine.yaml, refine.irn: thresholds crossed"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str, dry: bool
) -> None:
    before = everything()
    assert run(["run", *arguments, "--out", "out", *["--dry-run"] * dry]) == 2
    assert words in error_line(capsys)
    assert everything() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["train.lr=1e6", "train.optimizer=sgd", "train.epochs=20"], "training diverged "),
        (["train.weights=absent.safetensors"], "absent.safetensors"),
        (["refine.methods=[irn]", "refine.irn.conf_bg=0.6"], "thresholds crossed: conf_bg 0.6 is above conf_fg 0.35"),
        (["device=cuda:77"], "cuda:77"),
        (["train.model=lite9"], "no network is called 'lite9'; did you mean lite2 or lite1 or lite0?"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_line(
    capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert run(["run", "mine.yaml", *more, "--out", "out", "--quiet"]) == 2
    assert words in error_line(capsys)


def test_a_foreign_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/photo.txt").write_text("mine")
    before = everything()
    assert run(["run", "mine.yaml", "--out", "out"]) == 2
    assert error_line(capsys) == "out is not empty and no run of a recipe; choose another --out or empty it"
    assert run(["run", "mine.yaml", "--out", "mine.yaml"]) == 2
    assert error_line(capsys) == "mine.yaml is a file; choose another --out, a run takes a folder"
    assert everything() == before


def test_pictures_that_are_skipped_are_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    Path("pictures/train/rectangle/1.jpg").write_bytes(b"")
    assert run(["run", "mine.yaml", "--out", "out", "--until", "pseudo"]) == 1
    err = capsys.readouterr().err
    lines = [line.strip() for line in err.splitlines() if "skipped" in line]
    assert [line for line in lines if line.startswith("skipped ")] == [line for line in lines if "1.jpg" in line]
    assert len([line for line in lines if "1.jpg" in line]) == 1, "by the first stage alone"
    assert [line for line in lines if "1 picture" in line] == ["train: 1 picture skipped (report.html)"]
    assert run(["run", "mine.yaml", "--out", "out", "--until", "pseudo", "--quiet"]) == 1


def test_a_dry_run_says_what_is_to_be_done_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = everything()
    assert run(["run", "mine.yaml", "refine.methods=[irn, crf]", "--out", "out", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in plan] == ["train", "localize", "refine-irn", "refine-crf", "pseudo", "evaluate"]
    for stage in plan:
        assert stage["state"] == "to do"
        assert stage["pictures"] == 8
        assert stage["seconds"] >= 0
    by_name = {stage["name"]: stage for stage in plan}
    assert all(by_name[name]["passes"] > 0 for name in ("train", "localize", "refine-irn"))
    assert all(by_name[name]["seconds"] > 0 for name in ("train", "localize", "refine-irn", "refine-crf"))
    assert everything() == before
    assert run(["run", "mine.yaml", "--out", "out", "--dry-run"]) == 0
    table = capsys.readouterr().out
    assert all(any(line.split()[:3] == [stage, "to", "do"] for line in table.splitlines()) for stage in STAGES)
    assert everything() == before


def test_a_dry_run_of_a_run_that_is_partly_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "mine.yaml", "--out", "out", "--until", "localize", "--quiet"]) == 0
    before = everything()

    def states(*arguments: str) -> list[str]:
        assert run(["run", "mine.yaml", "--out", "out", "--dry-run", "--json", *arguments]) == 0
        return [stage["state"] for stage in json.loads(capsys.readouterr().out)]

    assert states() == ["done", "done", "to do", "to do", "to do"]
    assert states("--until", "localize") == ["done", "done"]
    assert states("--from", "localize", "--until", "refine") == ["done", "to be redone", "to do"]
    assert states("train.lr=0.5") == ["to be redone", "to be redone", "to do", "to do", "to do"]
    assert everything() == before


def test_a_dry_run_draws_nothing_for_good(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = ["data={root: drawn, generated: {layout: folders, pictures: 12}, train: train, val: val}"]
    before = everything()
    assert run(["run", "mine.yaml", *drawn, "--out", "out", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["pictures"] == 8
    assert everything() == before
    assert sorted(path.name for path in Path().iterdir()) == ["mine.yaml", "pictures"]
    assert run(["run", "mine.yaml", *drawn, "--out", "out", "--until", "train", "--quiet"]) == 0
    assert Path("drawn/train").is_dir()


def test_train_then_refine(capsys: pytest.CaptureFixture[str]) -> None:
    """The stages one by one: a classifier, its maps by `advcam localize`, label masks by `advcam refine`."""
    training = ["train", "pictures", *TINY, "--val", "val", "--model", "test_resnet", "--trained", "all"]
    assert run([*training, "--epochs", "1", "--out", "trained"]) == 0
    err = capsys.readouterr().err
    assert "classifier in  trained/classifier\n" in err
    assert sorted(path.name for path in Path("trained").iterdir()) == [
        ".lock",
        "classifier",
        "log.jsonl",
        "recipe.yaml",
        "report.html",
        "stages",
    ]
    weights = ["--weights", "trained/classifier/best.safetensors", "--class-names", "trained/classifier/classes.txt"]
    cam = ["--method", "cam", "--scales", "1", "--model", "test_resnet", "--quiet"]
    assert run(["localize", "--data", "pictures", "--split", "train", *cam, *weights, "--out", "maps"]) == 0
    for method in ("none", "affinity", "irn"):
        given = ["--classifier", "trained"] if method == "irn" else []
        few = ["refine.irn={crop: 64, epochs: 1, steps: 2}", "refine.affinity.iterations=2", "evaluate.resamples=2"]
        common = ["--data", "pictures", "--threshold", "0.4", "--quiet", "threshold=0.3", "--method", method]
        assert run(["refine", "maps", *few, *common, *given, "--out", method]) == 0
        assert run(["refine", "maps", *few, *common, *given, "--out", method, "--dry-run", "--json"]) == 0
        stages = json.loads(capsys.readouterr().out)
        names = ([] if method == "none" else [f"refine-{method}"]) + ["pseudo", "evaluate"]
        assert [(stage["name"], stage["state"]) for stage in stages] == [(name, "done") for name in names]
        assert len(list(Path(method, "pseudo", "masks").rglob("*.png"))) == 8
        classes = {e["number"]: e["name"] for e in json.loads(Path(method, "pseudo", "classes.json").read_text())}
        assert [classes[number] for number in range(1, 5)] == ["ellipse", "rectangle", "triangle", "wheel"]


def test_train_goes_on_and_has_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "pictures", *TINY, "--model", "test_resnet", "--trained", "all", "--epochs", "1", "--lr", "0.1"]
    before = everything()
    assert run([*command, "--out", "trained", "--dry-run", "--json"]) == 0
    assert [stage["name"] for stage in json.loads(capsys.readouterr().out)] == ["train"]
    assert everything() == before
    assert run([*command, "--out", "trained", "--quiet", "--json"]) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert (stage["name"], stage["done"]) == ("train", True)
    assert "top 1" in dict(stage["facts"]), "measured on the split val, which is there"
    settings = read_chain("trained/recipe.yaml").train
    assert settings is not None
    assert read_chain("trained/recipe.yaml").data.val == "val"
    assert (settings.lr, settings.crop, settings.epochs) == (0.1, 64, 1)
    assert run([*command, "--out", "trained"]) == 0
    assert "train: is up to date\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "absent"], "absent is no folder; name the root folder of a data set"),
        (["train", "pets"], "which split? pets has trainval, test, all; name one with --split or data.train=NAME"),
        (["train", "pictures", "epoch=3"], "advcam train: there is no setting train.epoch; did you mean train.epochs?"),
        (["train", "pictures", "--split", "tain"], "has no split 'tain'"),
        (["train", "pictures", "--epochs", "0"], "advcam train, train.epochs: Input should be greater than or equal"),
        (["refine", "absent", "--data", "pictures"], "absent is no run of advcam localize: it has no config.json"),
        (["refine", "absent", "--data", "pictures", "--classifier", "pictures"], "pictures holds no classifier of"),
        (["refine", "absent", "--data", "pictures", "--method", "crff"], "crff"),
        (["refine", "absent", "--data", "pictures", "--threshold", "2"], "pseudo.threshold: Input should be less than"),
        (["refine", "absent"], "--data"),
    ],
)
def test_bad_arguments_of_train_and_refine(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    if "pets" in arguments:
        write_dataset("pets", Path("pets"), 4)
    before = everything()
    assert run([*arguments, "--out", "out"]) == 2
    assert words in error_line(capsys)
    assert everything() == before


def test_the_bar_is_of_the_stage_that_is_at_work() -> None:
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=80, _environ={"TERM": "dumb"})
    with ChainWatch(console, quiet=False) as watch:
        watch.stage("train", "to be finished")
        watch.start("epoch 1 of 2", 3)
        watch.step()
        watch.stage("localize", "done")
        watch.start("localize", 5)
        watch.step()
        watch.step()
        (task,) = watch.progress.tasks
        assert (task.description, task.completed, task.total) == ("localize", 2, 5)
    assert "train: to be finished" in text.getvalue()
    assert "localize: is up to date" in text.getvalue()
    silent = StringIO()
    with ChainWatch(Console(file=silent, force_terminal=True), quiet=True) as watch:
        watch.stage("train", "to do")
        watch.start("epoch 1 of 2", 3)
        watch.step()
        watch.say("skipped 1.jpg")
    assert silent.getvalue() == ""


def test_a_damaged_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    Path("trained/classifier").mkdir(parents=True)
    Path("trained/classifier/classifier.json").write_text("{")
    assert run(["refine", "maps", "--data", "pictures", "--classifier", "trained", "--out", "out"]) == 2
    words = error_line(capsys)
    assert words.startswith("trained/classifier/classifier.json is damaged (")
    assert words.endswith("); train again in another folder")
