"""Methods by name: a plain dictionary, with the nearest names in the error."""

import difflib
from typing import Any

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.gradients import CAM, GradCAM, GradCAMPlusPlus, LayerCAM
from advcam.attribution.method import Classifier, Method
from advcam.errors import SettingError

METHODS: dict[str, type[Method]] = {method.name: method for method in (AdvCAM, CAM, GradCAM, GradCAMPlusPlus, LayerCAM)}


def list_methods() -> list[str]:
    """Names that `create_method` takes, AdvCAM first."""
    return list(METHODS)


def create_method(name: str, classifier: Classifier, **settings: Any) -> Method:  # noqa: ANN401, each method's own
    """A method by its name, which may be written in any case and with `-` or `_`.

    Args:
        name: One of `list_methods()`.
        classifier: The classifier to explain.
        settings: Arguments of the method.

    Raises:
        SettingError: An unknown name (the nearest are suggested) or an argument that the method does not take.
    """
    key = name.lower().replace("-", "").replace("_", "")
    if key not in METHODS:
        near = difflib.get_close_matches(key, METHODS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SettingError(f"no method is called {name!r}; {hint}there are {', '.join(METHODS)}")
    try:
        return METHODS[key](classifier, **settings)
    except TypeError as error:
        raise SettingError(f"{METHODS[key].title} does not take these settings: {error}") from error
