"""YAML: recipes of `advcam run` and `advcam localize`, and values on the command line."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]

from advcam.pipeline.chain.recipe_file import change, find_recipe, read_chain, recipe_names, write_recipe
from advcam.pipeline.recipe import Recipe, load_yaml, read_recipe
from advcam.pipeline.recipe import write_recipe as write_tuned
from fuzz.mutation import of_yaml
from fuzz.target import Target, file_reader

_VALUES = [b"3", b"[a, b]", b"{a: 0.5}", b"'text'", b"2001-01-01", b"!!binary aGk="]


def _read_run(path: Path) -> None:
    """Read a recipe; what is accepted can be written and read again with the same settings."""
    settings = read_chain(str(path))
    kept = path.with_name("kept.yaml")
    write_recipe(kept, settings)
    assert read_chain(str(kept)) == settings  # noqa: S101, a finding where it fails


def _read_tuned(path: Path) -> None:
    recipe = read_recipe(path)
    kept = path.with_name("kept.yaml")
    write_tuned(kept, recipe)
    assert read_recipe(kept) == recipe  # noqa: S101, a finding where it fails


def _read_override(path: Path) -> None:
    change({}, [f"train.epochs={path.read_bytes().decode('utf-8', 'surrogateescape')}"])


def _run_recipes(_folder: Path) -> list[bytes]:
    """The recipes that come with the package, with a root where they leave it to the command line."""
    recipes = {name: load_yaml(find_recipe(name)) for name in recipe_names()}
    for recipe in recipes.values():
        recipe.setdefault("data", {}).setdefault("root", "PHOTOS")
    return [yaml.safe_dump(recipe, sort_keys=False).encode() for recipe in recipes.values()]


def _tuned_recipes(folder: Path) -> list[bytes]:
    content = {
        "method": {"method": "advcam", "iterations": 10, "scales": (0.5, 1.0)},
        "outputs": {"threshold": 0.4},
        "chosen": {
            "supervision": "validated on 20 labelled pictures",
            "labelled": ("a", "b"),
            "figures": {"miou": 0.5},
        },
    }
    write_tuned(folder / "recipe.yaml", Recipe.model_validate(content))
    return [(folder / "recipe.yaml").read_bytes(), b"method: {}\n"]


TARGETS = (
    Target("run-recipe", file_reader("recipe.yaml", _read_run), _run_recipes, of_yaml),
    Target("tuned-recipe", file_reader("recipe.yaml", _read_tuned), _tuned_recipes, of_yaml),
    Target("override", file_reader("value", _read_override), lambda _: _VALUES, of_yaml),
)
