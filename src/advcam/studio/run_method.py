"""How the maps of a run were made, so that a live climb of it is the same climb."""

from contextlib import suppress
from typing import Any

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.effort import SCHEDULES
from advcam.attribution.registry import method_title
from advcam.attribution.settings import ClimbSettings
from advcam.errors import AdvcamError
from advcam.pipeline.album import Album
from advcam.pipeline.chain.localizing import NAME as LOCALIZE
from advcam.pipeline.config import LocalizeSettings, MethodSettings, kept_settings

#: Settings that decide how fast maps come, on the machine of the run.
_SPEED = ("batch_size", "compiled", "precision")


def kept_localization(album: Album) -> LocalizeSettings | None:
    """What the localization was asked for whose maps a run has; None where it has none, or does not say."""
    store = album.stores.get(LOCALIZE)
    if store is not None:
        with suppress(AdvcamError):
            return kept_settings(store.parent, LocalizeSettings)
    return None


def title_of(method: MethodSettings | None) -> str:
    """Name for people of the method of a run; that of AdvCAM where the run does not say."""
    return AdvCAM.title if method is None else method_title(method.method)


def climb_settings(method: MethodSettings | None) -> dict[str, Any]:
    """The arguments of `AdvCAM` that a run was made with; none where it was made by another method.

    Args:
        method: Of the run.
    """
    if method is None or method.method != AdvCAM.name:
        return {}
    return {name: value for name, value in method.chosen().items() if name not in _SPEED}


def climb_steps(method: MethodSettings | None) -> int:
    """T of a climb as in the run: as it was set, else by the variant, else by the effort."""
    chosen = climb_settings(method)
    if "iterations" in chosen:
        return int(chosen["iterations"])
    if chosen.get("variant") == "published":
        return ClimbSettings.published().iterations
    return SCHEDULES[chosen.get("effort", "balanced")].iterations


def climb_words(method: MethodSettings | None) -> str:
    """Which settings a live climb takes beside its number of steps, in words."""
    chosen = {name: value for name, value in climb_settings(method).items() if name != "iterations"}
    if chosen:
        return "those of the run, " + ", ".join(f"{name.replace('_', ' ')} {_plain(chosen[name])}" for name in chosen)
    defaults = f"the defaults of {AdvCAM.title}"
    if method is None:
        return defaults
    own = method.method == AdvCAM.name
    made = "as the run has them" if own else f"the run's maps are of {method_title(method.method)}"
    return f"{defaults} ({made})"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " / ".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)
