"""Recipes of `advcam run`: found by name or path, read from YAML, changed on the command line, kept beside the result.

data: {root: PHOTOS, train: train, val: val}
train: {model: lite0, trained: mixture}
localize: {effort: balanced}
refine: {methods: [crf]}
"""

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError

from advcam.errors import SettingError
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.recipe import load_yaml, parse_yaml, shown
from advcam.store.files import write_text

#: Name of the recipe that a run keeps.
RECIPE = "recipe.yaml"
_HEADER = "# A recipe of advcam run, with every setting that counts; run it again: advcam run THIS --out FOLDER\n"
#: pydantic's words in those of a recipe, by its type of error.
_PROBLEMS = {
    "tuple_type": "it takes a list, such as [a, b]",
    "dict_type": "it takes a group of keys, such as {a: 0.5}",
    "model_type": "it is a section and takes keys of its own, such as {key: value}",
    "path_type": "it takes a path; put one of digits in quotes",
    "string_type": "it takes text; put digits in quotes",
}
#: Parts of a place that name a type which a value could have had, not a key.
_TYPES = ("int", "float", "str")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in _packaged().iterdir() if path.name.endswith(".yaml"))


def find_recipe(name: str) -> Path:
    """A recipe by path, or by the name of one that comes with the package.

    Raises:
        SettingError: There is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = recipe_names()
    if name in known:
        return Path(str(_packaged() / f"{name}.yaml"))
    near = difflib.get_close_matches(path.stem, known, n=1)
    advice = f"did you mean {near[0]}? " if near else ""
    raise SettingError(f"there is no recipe {name}; {advice}give a .yaml file, or one of {', '.join(known)}")


def section_of(name: str, section: str) -> dict[str, Any]:
    """One section of a recipe that comes with the package, as it is written there."""
    return dict(load_yaml(find_recipe(name))[section])


def read_chain(name: str, overrides: Sequence[str] = ()) -> ChainSettings:
    """The settings of a recipe.

    Args:
        name: See `find_recipe`.
        overrides: `section.key=value` each, the value as in YAML.

    Raises:
        SettingError: No recipe, no plain YAML, an unknown key (the nearest is suggested) or a wrong value.
    """
    path = find_recipe(name)
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise SettingError(f"{path} is no recipe of advcam run: it holds no sections such as data: and train:")
    change(content, overrides)
    return parse_chain(content, str(path))


def parse_chain(content: Mapping[str, Any], where: str) -> ChainSettings:
    """Validated settings.

    Args:
        content: As read from YAML.
        where: It comes from, for errors.

    Raises:
        SettingError: An unknown key, a missing one or a wrong value; one line names it.
    """
    try:
        return ChainSettings.model_validate(content)
    except ValidationError as error:
        raise SettingError(_in_words(where, error)) from error


def write_recipe(path: Path, settings: ChainSettings) -> None:
    """Write the settings with all their defaults, so that a later version of advcam does the same with them.

    Raises:
        RunError: The file cannot be written.
    """
    content = settings.model_dump(mode="json", exclude_none=True)
    content["baseline"] = settings.baseline  # none of it is a choice, too
    if settings.segment is not None:
        content["segment"]["inference"]["max_side"] = settings.segment.inference.max_side
    if settings.train is not None:
        del content["model"]
    write_text(path, _HEADER + yaml.safe_dump(content, sort_keys=False, width=100))


def is_kept_recipe(path: Path) -> bool:
    """Whether a file is a recipe that `write_recipe` left beside a result."""
    try:
        return path.read_bytes().startswith(_HEADER.encode())
    except OSError:
        return False


def change(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set values of a recipe, as the command line gives them.

    Args:
        content: As read from YAML; changed in place.
        overrides: `section.key=value` each, the value as in YAML.

    Raises:
        SettingError: An override is not of this form.
    """
    for override in overrides:
        _override(content, override)


def _override(content: dict[str, Any], text: str) -> None:
    """Set one value, creating sections on the way."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise SettingError(f"{text!r} changes nothing; write section.key=value, such as train.epochs=3")
    parsed = parse_yaml(value, f"the value of {key}", "put it in quotes")
    *sections, last = key.split(".")
    for section in sections:
        if not isinstance(content.setdefault(section, {}), dict):
            content[section] = {}
        content = content[section]
    content[last] = parsed


def _in_words(where: str, error: ValidationError) -> str:
    """The first problem of a recipe in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = [str(part) for part in first["loc"] if part not in _TYPES and "[" not in str(part)]
    key = ".".join(place)
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no setting {key}; {_near(place)}"
    if first["type"] == "missing":
        key = "data.root" if key == "data" else key
        return f"{where}: {key} is missing; write it into the recipe or give {key}=VALUE"
    if first["type"] == "value_error":  # of several settings together, in our own words
        return f"{where}{', ' if key else ''}{key}: {first['msg'].removeprefix('Value error, ')}"
    return f"{where}, {key}: {_PROBLEMS.get(first['type'], first['msg'])}; got {shown(first['input'])}"


def _near(place: Sequence[str]) -> str:
    """Advice on an unknown key: the nearest one beside it, or where else one of that name stands."""
    beside, elsewhere = _keys(ChainSettings), list[str]()
    kind: type[BaseModel] | None = ChainSettings
    for part in place[:-1]:
        kind = _model(kind.model_fields[part].annotation) if kind and part in kind.model_fields else None
    beside = _keys(kind) if kind else []
    near = difflib.get_close_matches(place[-1], beside, n=1, cutoff=0.6)
    if near:
        return f"did you mean {'.'.join([*place[:-1], near[0]])}?"
    for name, field in ChainSettings.model_fields.items():
        inner = _model(field.annotation)
        if inner and place[-1] in inner.model_fields:
            elsewhere.append(f"{name}.{place[-1]}")
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"{'.'.join(place[:-1]) or 'a recipe'} has {', '.join(beside)}"


def _keys(kind: type[BaseModel]) -> list[str]:
    return list(kind.model_fields)


def _model(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401, a type as annotated
    """The settings behind `Settings` or `Settings | None`."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    found = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
    return found[0] if found else None


def _packaged() -> Any:  # noqa: ANN401, importlib's Traversable
    """Folder of the recipes: in a wheel beside the package's rooms, in a checkout at its root."""
    inside = files("advcam") / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[4] / "recipes"
