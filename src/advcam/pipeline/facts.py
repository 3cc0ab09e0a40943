"""How a run was made, in words, for its report."""

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.method import Method
from advcam.classifiers.classifier import Classifier
from advcam.pipeline.config import LocalizeSettings

_BEFOREHAND = "set beforehand; no mask of these pictures was looked at"


def facts_of(settings: LocalizeSettings, classifier: Classifier, method: Method) -> list[tuple[str, str]]:
    """Name and value of everything that was chosen."""
    described = classifier.describe()
    network = described.pop("network")
    of_dataset = settings.data is not None and settings.labels != "predicted"
    climb = _climb_in_words(method) if isinstance(method, AdvCAM) else None
    variant = f" ({settings.method.variant or 'paper'})" if climb else ""
    threshold = settings.outputs.threshold
    return [
        ("Classifier", f"{network} ({', '.join(f'{k}: {v}' for k, v in described.items())})"),
        ("Method", method.title + variant),
        *([("Climb", climb)] if climb else []),
        ("Scales", _scales_in_words(method)),
        ("Precision", method.precision),
        ("Threshold", f"{threshold:g}, {settings.supervision or _BEFOREHAND}"),
        ("Labels", f"of the split {settings.split}" if of_dataset else settings.labels),
    ]


def _climb_in_words(method: AdvCAM) -> str:
    climb = method.settings
    steps = ", ".join(f"{climb.steps_at(scale)} at {scale:g}" for scale in method.scales)
    return (
        f"steps of {climb.step_size:g} ({climb.step_norm}): {steps}; penalty {climb.penalty:g} above "
        f"{climb.mask_threshold:g}, other classes: {climb.other_classes}"
    )


def _scales_in_words(method: Method) -> str:
    words = ", ".join(f"{scale:g}" for scale in method.scales) + (" with flips" if method.flip else "")
    return words if len(method.scales) == 1 else f"{words} ({method.fusion})"
