"""Recipes: what they may say, how the command line changes them, and one line for whatever is wrong."""

from pathlib import Path

import pytest
import yaml

from advcam.errors import SettingError
from advcam.pipeline.chain import recipe_file
from advcam.pipeline.chain.recipe_file import find_recipe, parse_chain, read_chain, recipe_names, write_recipe
from advcam.pipeline.chain.settings import ChainSettings
from advcam.training.settings import ClassifierSettings

RECIPES = Path(__file__).parents[3] / "recipes"


def refused(content: dict, *overrides: str) -> str:
    """The error of a recipe, which is one line."""
    recipe_file.change(content, overrides)
    with pytest.raises(SettingError) as caught:
        parse_chain(content, "mine.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"trian": {}}, "mine.yaml: there is no setting trian; did you mean train?"),
        ({"train": {"epoch": 3}}, "there is no setting train.epoch; did you mean train.epochs?"),
        ({"refine": {"irn": {"stepz": 3}}}, "there is no setting refine.irn.stepz; did you mean refine.irn.steps?"),
        ({"refine": {"irm": {"steps": 3}}}, "there is no setting refine.irm; did you mean refine.irn?"),
        ({"epochs": 3}, "there is no setting epochs; did you mean train.epochs or segment.epochs?"),
        ({"band": 0.1}, "there is no setting band; did you mean pseudo.band?"),
        ({"zebra": 3}, "there is no setting zebra; a recipe has data, maps, train, model, "),
        ({"evaluate": {"zebra": 3}}, "there is no setting evaluate.zebra; evaluate has labelled, resamples, seed"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(content: dict, words: str) -> None:
    assert words in refused({"data": {"root": "x"}, **content})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs=few", "mine.yaml, train.epochs: Input should be a valid integer"),
        ("train.epochs=0", "train.epochs: Input should be greater than or equal to 1; got 0"),
        ("train.trained=heads", "train.trained: Input should be 'mixture', 'head', 'last' or 'all'; got 'heads'"),
        ("train.weights=3", "train.weights: it takes a path; put one of digits in quotes; got 3"),
        ("data.root=2012", "data.root: it takes a path; put one of digits in quotes; got 2012"),
        ("data.train=2012", "data.train: it takes text; put digits in quotes; got 2012"),
        ("data=x", "data: it is a section and takes keys of its own, such as {key: value}; got 'x'"),
        ("localize.scales=2", "localize.scales: it takes a list, such as [a, b]; got 2"),
        ("localize.scales=[a]", "localize.scales.0: Input should be a valid number"),
        ("localize.other_classes=[1]", "localize.other_classes: Input should be a valid integer; got a list"),
        ("refine.methods=crf", "refine.methods: it takes a list, such as [a, b]; got 'crf'"),
        (
            "refine.methods=[crf, crff]",
            "refine: no refinement is called 'crff'; take crf, irn, affinity, or some joined by +",
        ),
        ("refine.methods=[crf, crf]", "mine.yaml, refine: name each refinement once"),
        ("refine.methods=[affinity+crf]", "refine: affinity+crf goes on from affinity; list affinity before it"),
        ("refine.methods=[affinity, affinity+]", "refine: no refinement is called ''"),
        ("pseudo.class_thresholds=0.3", "class_thresholds: it takes a group of keys, such as {a: 0.5}; got 0.3"),
        ("pseudo.class_thresholds.cat=high", "pseudo.class_thresholds.cat: Input should be a valid number"),
        ("threshold=1.5", "threshold: Input should be less than or equal to 1; got 1.5"),
        ("data.holdout=1", "data.holdout: Input should be less than 1; got 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_takes(override: str, words: str) -> None:
    assert words in refused({"data": {"root": "x"}}, override)


def test_settings_that_do_not_go_together() -> None:
    both = refused({"data": {"root": "x"}, "train": {}, "model": {}})
    assert both == "mine.yaml: a recipe trains a classifier (train) or names one (model), not both"
    maps = refused({"data": {"root": "x"}, "train": {}, "maps": "run"})
    assert maps == "mine.yaml: maps are there already: leave train out, or maps"
    crossed = refused({"data": {"root": "x"}}, "refine.irn.conf_bg=0.5", "refine.irn.conf_fg=0.3")
    assert crossed == (
        "mine.yaml, refine.irn: thresholds crossed: conf_bg is at most conf_fg, for in between nothing is sure"
    )


@pytest.mark.parametrize("content", [{}, {"data": {}}, {"data": {"train": "all"}}])
def test_data_must_be_named(content: dict) -> None:
    assert refused(content) == "mine.yaml: data.root is missing; write it into the recipe or give data.root=VALUE"


def test_overrides(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: {root: x}\ntrain: {epochs: 2, lr: 0.1}\nrefine: {methods: [irn]}\n")
    overrides = ["train.epochs=3", "data.root=a=b", "localize.scales=[1, 2.5]", "refine.irn.steps=7", "baseline=null"]
    settings = read_chain(str(tmp_path / "mine.yaml"), [*overrides, "pseudo.class_thresholds={cat: 0.4}"])
    assert settings.train is not None
    assert (settings.train.epochs, settings.train.lr) == (3, 0.1), "what is not named stays"
    assert settings.data.root == Path("a=b")
    assert settings.localize.scales == (1.0, 2.5)
    assert settings.refine.methods == ("irn",)
    assert settings.refine.irn.steps == 7
    assert settings.baseline is None
    assert settings.pseudo.class_thresholds == {"cat": 0.4}
    deep = read_chain(str(tmp_path / "mine.yaml"), ["train.epochs=3", "train.epochs=4"])
    assert deep.train is not None
    assert deep.train.epochs == 4, "the last one counts"


@pytest.mark.parametrize("text", ["train", "=3", "train..epochs=3", ".epochs=3", "train.=3", ""])
def test_an_override_of_another_form(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        recipe_file.change({}, [text])
    assert str(caught.value) == f"{text!r} changes nothing; write section.key=value, such as train.epochs=3"


def test_an_override_that_is_no_yaml() -> None:
    with pytest.raises(SettingError) as caught:
        recipe_file.change({}, ["localize.scales=[1"])
    assert str(caught.value) == (
        "the value of localize.scales is no plain YAML (expected ',' or ']', but got '<stream end>' in line 1); put it "
        "in quotes"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no recipe of advcam run: it holds no sections such as data: and train:"),
        ("- data\n", "is no recipe of advcam run: it holds no sections"),
        ("data: [", "is no plain YAML"),
        ("data: &a {root: *a}\n", "write the values out"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SettingError) as caught:
        read_chain(str(tmp_path / "mine.yaml"))
    assert words in str(caught.value)


def test_recipes_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_recipe("tiny").name == "tiny.yaml"
    monkeypatch.chdir(tmp_path)
    Path("tiny").mkdir()
    assert find_recipe("tiny").is_file(), "a folder of that name, such as the run's, is no recipe"
    Path("other.yaml").write_text("data: {root: x}\n")
    assert find_recipe("other.yaml") == Path("other.yaml")


@pytest.mark.parametrize("name", ["tinny", "tinny.yaml", "/absent/tinny.yaml"])
def test_a_missing_recipe_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        find_recipe(name)
    assert str(caught.value).startswith(f"there is no recipe {name}; did you mean tiny? give a .yaml file, or one of ")
    with pytest.raises(SettingError, match="there is no recipe zebra; give a"):
        find_recipe("zebra")


def test_every_recipe_of_the_project_is_listed_and_parses() -> None:
    assert recipe_names() == sorted(path.stem for path in RECIPES.glob("*.yaml"))
    for name in recipe_names():
        settings = read_chain(name, ["data.root=photos"])
        assert settings.data.root == Path("photos")


@pytest.mark.parametrize(
    "content",
    [
        {"data": {"root": "x"}},
        {"data": {"root": "x", "holdout": 0}, "train": {"weights": "random", "crop": None}, "baseline": None},
        {"data": {"root": "x"}, "maps": "run", "refine": {"methods": []}},
        {"data": {"root": "x"}, "model": {"model": "resnet50", "weights": "w.safetensors"}, "threshold": 0.0},
        {"data": {"root": "x"}, "pseudo": {"class_thresholds": {"Größe: 1": 0.2}}, "localize": {"other_classes": 3}},
    ],
)
def test_a_written_recipe_says_the_same(tmp_path: Path, content: dict) -> None:
    settings = parse_chain(content, "here")
    write_recipe(tmp_path / "recipe.yaml", settings)
    assert read_chain(str(tmp_path / "recipe.yaml")) == settings
    write_recipe(tmp_path / "again.yaml", read_chain(str(tmp_path / "recipe.yaml")))
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "recipe.yaml").read_bytes()


def test_a_written_recipe_has_the_defaults(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.yaml", parse_chain({"data": {"root": "x"}, "train": {}}, "here"))
    text = (tmp_path / "recipe.yaml").read_text()
    assert text.startswith("# A recipe of advcam run")
    content = yaml.safe_load(text)
    assert content["train"]["lr"] == ClassifierSettings().lr
    assert content["refine"]["irn"]["steps"] == 256
    assert "model" not in content
    assert set(content) <= set(ChainSettings.model_fields)
