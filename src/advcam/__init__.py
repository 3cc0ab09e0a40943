"""advcam: from image labels to pixels.

An image classifier, pictures and their labels in; attribution maps, masks and boxes out. The names below are all that
is public; they are imported when first used, so that the command line answers at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from advcam.attribution.advcam import AdvCAM
    from advcam.attribution.gradients import CAM, GradCAM, GradCAMPlusPlus, LayerCAM
    from advcam.attribution.registry import create_method, list_methods
    from advcam.attribution.response import DenseResponse, GradientResponse, LinearResponse, Response
    from advcam.attribution.settings import ClimbSettings
    from advcam.classifiers.catalogue import list_models, load_classifier
    from advcam.classifiers.classifier import Classifier, Prediction
    from advcam.errors import (
        AdvcamError,
        DatasetError,
        LabelError,
        ModelError,
        OutOfMemoryError,
        PictureError,
        RunError,
        SettingError,
        WeightsError,
    )
    from advcam.segment.trained import Segmenter, load_segmenter
    from advcam.types import Attribution, Box, Sample, Trajectory

_HOMES = {
    "advcam.attribution.advcam": ("AdvCAM",),
    "advcam.attribution.settings": ("ClimbSettings",),
    "advcam.attribution.gradients": ("CAM", "GradCAM", "GradCAMPlusPlus", "LayerCAM"),
    "advcam.attribution.registry": ("create_method", "list_methods"),
    "advcam.attribution.response": ("DenseResponse", "GradientResponse", "LinearResponse", "Response"),
    "advcam.classifiers.catalogue": ("list_models", "load_classifier"),
    "advcam.classifiers.classifier": ("Classifier", "Prediction"),
    "advcam.errors": (
        "AdvcamError",
        "DatasetError",
        "LabelError",
        "ModelError",
        "OutOfMemoryError",
        "PictureError",
        "RunError",
        "SettingError",
        "WeightsError",
    ),
    "advcam.segment.trained": ("Segmenter", "load_segmenter"),
    "advcam.types": ("Attribution", "Box", "Sample", "Trajectory"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CAM",
    "AdvCAM",
    "AdvcamError",
    "Attribution",
    "Box",
    "Classifier",
    "ClimbSettings",
    "DatasetError",
    "DenseResponse",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientResponse",
    "LabelError",
    "LayerCAM",
    "LinearResponse",
    "ModelError",
    "OutOfMemoryError",
    "PictureError",
    "Prediction",
    "Response",
    "RunError",
    "Sample",
    "Segmenter",
    "SettingError",
    "Trajectory",
    "WeightsError",
    "__version__",
    "create_method",
    "list_methods",
    "list_models",
    "load_classifier",
    "load_segmenter",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401, whatever the name stands for
    if name not in _HOME_OF:
        raise AttributeError(f"module 'advcam' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
