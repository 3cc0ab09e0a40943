"""How a run was made: settings that differ from the defaults, what it cost, and the command that makes it again."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from advcam.pipeline.chain.recipe_file import RECIPE
from advcam.pipeline.config import LocalizeSettings
from advcam.pipeline.operations.log import LOG_FILE
from advcam.pipeline.predicting.settings import PredictSettings
from advcam.report.sections import Difference, Repeat
from advcam.untrusted import read_json, read_text

METRICS = "metrics.json"
_AGAIN = "again"
#: What of a localization does not decide the result, and what only a recipe of `advcam tune` says.
_APART = ("out", "shard_pictures", "supervision", "labelled")
#: Bytes of a recipe that are shown.
_MOST_TEXT = 100_000
_PATHS = "Paths are as they were given: the command is for the folder in which the run was started."


def differences(settings: BaseModel, leave: tuple[str, ...] = ()) -> list[Difference]:
    """Settings that differ from their defaults; those that have no default count as differing.

    Args:
        settings: Of a run.
        leave: Sections, or settings of none, that are left out.
    """
    return [one for one in _differing(settings, "") if one.name.partition(".")[0] not in leave]


def _differing(settings: BaseModel, prefix: str) -> Iterator[Difference]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        if isinstance(value, BaseModel):
            base = default if isinstance(default, type(value)) else None
            yield from _sections(value, base, f"{prefix}{name}.")
        elif field.is_required() or value != default:
            shown = "none, it has to be given" if field.is_required() else in_json(default)
            yield Difference(f"{prefix}{name}", in_json(value), shown)


def _sections(value: BaseModel, base: BaseModel | None, prefix: str) -> Iterator[Difference]:
    """A section against the default of this section, where its owner has one, else against those of its fields."""
    if base is None:
        yield from _differing(value, prefix)
        return
    for name in type(value).model_fields:
        one, other = getattr(value, name), getattr(base, name)
        if isinstance(one, BaseModel):
            yield from _sections(one, other if isinstance(other, type(one)) else None, f"{prefix}{name}.")
        elif one != other:
            yield Difference(f"{prefix}{name}", in_json(one), in_json(other))


def in_json(value: object) -> str:
    """A value for people: text as it is, nothing as "none", the rest as JSON."""
    if value is None:
        return "none"
    return str(value) if isinstance(value, str | Path) else json.dumps(value, default=str, ensure_ascii=False)


def flat(settings: BaseModel) -> dict[str, str]:
    """Every setting by its dotted name."""
    return dict(_leaves(settings.model_dump(mode="json"), ""))


def _leaves(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", in_json(value)


def repeat_chain(folder: Path) -> Repeat:
    """The command that makes a chain again in another folder, and the recipe that it reads."""
    command = shlex.join(["advcam", "run", str(folder / RECIPE), "--out", str(_beside(folder))])
    files = []
    with suppress(OSError, ValueError):
        files = [(RECIPE, read_text(folder / RECIPE, _MOST_TEXT))]
    note = f"The recipe lies in the run, with every setting that counts. {_PATHS}"
    return Repeat(command, note, files)


def repeat_localize(settings: LocalizeSettings) -> Repeat:
    """The command that localizes again in another folder."""
    given = _plain(settings, _APART) | _plain(settings.method) | _plain(settings.model) | _plain(settings.outputs)
    words = ["advcam", "localize", *settings.inputs, *_options(given), "--out", str(_beside(settings.out))]
    note = _PATHS
    if settings.supervision:
        note += f" The threshold stands in the command; it was {settings.supervision}."
    return Repeat(shlex.join(words), note)


def repeat_predict(settings: PredictSettings) -> Repeat:
    """The command that predicts again in another folder."""
    given = _plain(settings, ("out", "shard_pictures")) | _plain(settings.inference)
    if settings.inference.max_side is None:
        given["max_side"] = 0
    words = ["advcam", "predict", *settings.inputs, *_options(given), "--out", str(_beside(settings.out))]
    return Repeat(shlex.join(words), _PATHS)


def _beside(out: object) -> Path | str:
    """Another folder beside a run: a command that is given again goes on with a run, and finds it done."""
    text = str(out).rstrip("/")
    return f"{text}-{_AGAIN}"


def _plain(settings: BaseModel, leave: tuple[str, ...] = ("out",)) -> dict[str, object]:
    """The settings of one section that differ from the defaults."""
    kept = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name in leave or name == "inputs" or isinstance(value, BaseModel):
            continue
        if field.is_required() or value != field.get_default(call_default_factory=True):
            kept[name] = value
    return kept


def _options(given: Mapping[str, object]) -> Iterator[str]:
    """Options of the command line; what is None is left away."""
    for name, value in given.items():
        option = name.replace("_", "-")
        if value is True or value is False:
            yield f"--{option}" if value else f"--no-{option}"
        elif isinstance(value, tuple | list):
            yield f"--{option}"
            yield from map(str, value)
        elif value is not None:
            yield from (f"--{option}", str(value))


def cost_of(folder: Path) -> list[tuple[str, str]]:
    """What the last session of a localization or prediction took, from its metrics and its log."""
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError):
        found = dict(read_json(folder / METRICS))
    facts, rate = [], found.get("pictures_per_second")
    if isinstance(rate, int | float) and rate > 0:
        facts.append(("Pace", f"{rate:.3g} pictures a second" if rate >= 1 else f"{1 / rate:.2g} seconds a picture"))
    workers = found.get("workers")
    if isinstance(workers, int) and workers > 1:
        facts.append(("Processes", f"{workers}"))
    peak = found.get("resident_memory_peak_bytes")
    if isinstance(peak, int | float) and peak > 0:
        facts.append(("Memory at most", f"{peak / 2**30:.1f} GiB"))
    started = _started(folder)
    words = [str(started[name]) for name in ("device", "precision") if started.get(name)]
    if words:
        facts.append(("Computed on", ", in ".join(words)))
    return facts


def version_of(folder: Path) -> str:
    """The version of advcam that worked on a run last; "" where the log does not say."""
    return str(_started(folder).get("version", ""))


def _started(folder: Path) -> Mapping[str, Any]:
    """The last event of the log that a session began with."""
    last: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        for line in read_text(folder / LOG_FILE).splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == "started":
                    last = event
    return last
