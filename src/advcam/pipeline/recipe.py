"""A recipe: settings that were chosen for some data, with where they come from; `recipe.yaml`."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import Field, ValidationError

from advcam import untrusted
from advcam.errors import SettingError, one_line
from advcam.pipeline.config import MethodSettings, OutputSettings, Settings
from advcam.store.files import write_text

_HEADER = "# Settings of advcam localize, chosen on labelled pictures; `chosen` says how.\n"
_SHOWN = 40  # characters of a wrong value in an error
_MAX_BYTES = 1_000_000
_DEEPEST = 10


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain YAML in which no key stands twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: ANN401, PyYAML's own
        """A dictionary."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class Provenance(Settings):
    """Where the settings of a recipe come from.

    Args:
        supervision: In words, such as "validated on 20 labelled pictures".
        recommended: "tuned" if the search gained on pictures that it had not chosen on, else "defaults".
        command: What was typed.
        data: Name of the root folder of the data set.
        split: Of the data set.
        labelled: Ids of the labelled pictures: no score on them counts as unseen.
        model: Name of the classifier.
        classifier: Fingerprint of its weights; for other weights the constants have to be chosen anew.
        seed: Of the draw and the search.
        folds: Of the cross-validation.
        trials: That were finished or given up.
        passes: Network passes spent, of one view at scale 1.
        figures: Scores as shares between 0 and 1, by name.
    """

    supervision: str
    recommended: str = ""
    command: str = ""
    data: str = ""
    split: str = ""
    labelled: tuple[str, ...] = ()
    model: str = ""
    classifier: str = ""
    seed: int | None = None
    folds: int | None = None
    trials: int | None = None
    passes: float | None = None
    figures: dict[str, float] = Field(default_factory=dict)


class Recipe(Settings):
    """Settings of the method and of the outputs; a key that is left out keeps its default."""

    method: MethodSettings = MethodSettings()
    outputs: OutputSettings = OutputSettings()
    chosen: Provenance | None = None


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe: what was set, nothing else.

    Raises:
        RunError: The file cannot be written.
    """
    content = recipe.model_dump(mode="json", exclude_unset=True)
    # In ASCII: PyYAML reads some characters (U+0085) back as others unless they are escaped.
    write_text(path, _HEADER + yaml.safe_dump(content, sort_keys=False, width=100))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        SettingError: The file is missing, no YAML, or holds an unknown key or a wrong value; one line names it.
    """
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise SettingError(f"{path} is no recipe: it holds no `method:` or `outputs:`; see recipe.yaml of advcam tune")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:_SHOWN] for part in first["loc"] if part not in ("int", "str"))
        raise SettingError(f"{path}, {where}: {first['msg']}; got {shown(first['input'])}") from error


def load_yaml(path: Path) -> Any:  # noqa: ANN401, whatever the file holds
    """What a recipe file holds, of plain YAML.

    Raises:
        SettingError: The file is missing, too large, no plain YAML, or nests too deeply.
    """
    try:
        text = untrusted.read_bytes(path, _MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise SettingError(f"cannot read the recipe {path} ({error.strerror}); name a recipe.yaml") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is no plain YAML ({one_line(error)}); mend it or write it anew") from error
    except ValueError as error:
        raise SettingError(f"{path} has {error}; a recipe is a page of text") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str, advice: str = "mend it or write it anew") -> Any:  # noqa: ANN401, whatever the text holds
    """The value of a text in plain YAML.

    Args:
        text: Of a recipe, or of one value.
        where: It comes from, for errors.
        advice: What to do about text that is no YAML.

    Raises:
        SettingError: It is no plain YAML, or nests too deeply.
    """
    try:
        _check_shape(text, where)
        return yaml.load(text, Loader=_Loader)  # noqa: S506, a SafeLoader that refuses more
    except SettingError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = " ".join(str(error.problem).split())
        raise SettingError(f"{where} is no plain YAML ({problem}{line}); {advice}") from error
    except Exception as error:  # the constructors of !!int, !!bool and !!timestamp raise what they like
        raise SettingError(f"{where} is no plain YAML ({one_line(error)}); {advice}") from error


def _check_shape(text: str, where: str) -> None:
    """Refuse what a recipe never has before anything is built of it.

    References can blow a page up to gigabytes, deep nesting takes the parser minutes, and half a character, which
    YAML has escapes for, cannot be written again.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise SettingError(f"{where} uses YAML references (*name); write the values out")
        if isinstance(event, yaml.ScalarEvent) and not _is_text(event.value):
            raise SettingError(f"{where} holds {event.value!r}, a half of a character; write it anew")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise SettingError(
                f"{where} nests more than {_DEEPEST} lists or groups of keys; a recipe is a page of text"
            )


def _is_text(value: str) -> bool:
    """Whether a text can be written: no half of a character stands alone."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def shown(value: object) -> str:
    """A wrong value for an error: short, and of a list or an object only what it is."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'group of keys'}"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + ".."
