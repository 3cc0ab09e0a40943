"""Methods by name: a plain dictionary, with the nearest names in the error."""

import difflib
import inspect
from typing import Any

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.gradients import CAM, GradCAM, GradCAMPlusPlus, LayerCAM
from advcam.attribution.method import Classifier, Method
from advcam.errors import SettingError

METHODS: dict[str, type[Method]] = {method.name: method for method in (AdvCAM, CAM, GradCAM, GradCAMPlusPlus, LayerCAM)}


def list_methods() -> list[str]:
    """Names that `create_method` takes, AdvCAM first."""
    return list(METHODS)


def method_title(name: str) -> str:
    """What people call a method, by its name as `create_method` takes it; an unknown name stays as it is."""
    method = METHODS.get(_key(name))
    return name if method is None else method.title


def create_method(name: str, classifier: Classifier, **settings: Any) -> Method:  # noqa: ANN401, each method's own
    """A method by its name, which may be written in any case and with `-` or `_`.

    Args:
        name: One of `list_methods()`.
        classifier: The classifier to explain.
        settings: Arguments of the method.

    Raises:
        SettingError: An unknown name (the nearest are suggested) or an argument that the method does not take.
    """
    key = _key(name)
    if key not in METHODS:
        near = difflib.get_close_matches(key, METHODS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SettingError(f"no method is called {name!r}; {hint}there are {', '.join(METHODS)}")
    method = METHODS[key]
    known = _settings_of(method)
    foreign = [setting for setting in settings if setting not in known]
    if foreign:
        verb = "are settings" if len(foreign) > 1 else "is a setting"
        raise SettingError(
            f"{', '.join(foreign)} {verb} of another method; {method.title} takes {', '.join(known)}: leave the others "
            f"away (in a recipe: localize={{method: {key}}})"
        )
    return method(classifier, **settings)


def _key(name: str) -> str:
    """A name as `METHODS` has it."""
    return name.lower().replace("-", "").replace("_", "")


def _settings_of(method: type[Method]) -> list[str]:
    """Names of the arguments of a method behind its classifier, those that it hands to its base included."""
    found: list[str] = []
    for kind in method.__mro__:
        if "__init__" in vars(kind):
            parameters = list(inspect.signature(kind).parameters.values())[1:]
            own = [one.name for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
            found += own
            if len(own) == len(parameters):
                break
    return found
