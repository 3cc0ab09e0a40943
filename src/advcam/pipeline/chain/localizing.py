"""The stages "localize" and "baseline": attribution maps of every picture that gets masks."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from advcam.attribution.registry import create_method
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.classifier import Classifier
from advcam.datasets.sizes import stored_size
from advcam.errors import AdvcamError
from advcam.pipeline.chain.pictures import Pictures
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Watcher
from advcam.pipeline.config import LocalizeSettings, MethodSettings, ModelSettings
from advcam.pipeline.localize import Plan, localize
from advcam.pipeline.targets import evenly
from advcam.types import Sample

#: Pictures whose size is looked at for the cost.
_SIZED = 20
NAME, BASELINE = "localize", "baseline"


def localizing_stage(
    settings: ChainSettings, pictures: Pictures, model: ModelSettings, folder: Path, after: tuple[str, ...]
) -> Stage:
    """The maps that everything behind is made of."""
    return _stage(NAME, settings, settings.localize, pictures, model, folder, after)


def baseline_stage(
    settings: ChainSettings, pictures: Pictures, model: ModelSettings, folder: Path, after: tuple[str, ...]
) -> Stage:
    """Maps of a method that does not climb, at the same scales, to be scored beside the others."""
    plain = MethodSettings(method=settings.baseline or "cam", scales=settings.localize.scales)
    plain = plain.model_copy(update={"max_side": settings.localize.max_side, "flip": settings.localize.flip})
    return _stage(BASELINE, settings, plain, pictures, model, folder, after)


def _stage(
    name: str,
    settings: ChainSettings,
    method: MethodSettings,
    pictures: Pictures,
    model: ModelSettings,
    folder: Path,
    after: tuple[str, ...],
) -> Stage:
    outputs = settings.outputs
    if name == BASELINE:
        outputs = outputs.model_copy(update={"overlays": False, "report_pictures": 0})
    asked = LocalizeSettings(
        labels="data",
        data=settings.data.root,
        split=settings.data.masks_split,
        limit=settings.data.limit,
        layout=settings.data.layout,
        out=folder,
        model=model,
        method=method,
        outputs=outputs,
    )

    def work(watcher: Watcher) -> Outcome:
        summary = localize(asked, _Told(watcher))
        if summary.interrupted:
            raise KeyboardInterrupt
        facts = [("method", method.method), ("pictures", f"{summary.pictures - len(summary.skipped)}")]
        return Outcome(facts, summary.warnings, summary.skipped)

    def cost() -> Cost:
        classifier = load_untrained(model, len(pictures.dataset.class_names))
        estimate = create_method(method.method, classifier, **method.chosen()).cost(
            len(sample.labels or ()) for sample in pictures.masks
        )
        return Cost(len(pictures.masks), estimate.passes * mean_area(pictures.masks) / PASS_PIXELS)

    # "auto" precision is what it means on the device; where that has changed, localize itself refuses to go on.
    chosen = method.deciding() | {"precision": method.precision}
    decides = {"method": chosen, "model": model.model_dump(mode="json", exclude={"device", "weights"})}
    decides["model"].pop("class_names")
    if settings.train is None:
        decides["model"]["weights"] = str(model.weights)
    decides["outputs"] = outputs.model_dump(mode="json", exclude={"report_pictures"})
    return Stage(name, folder, decides, after, work, cost)


def load_untrained(model: ModelSettings, num_classes: int | None = None) -> Classifier:
    """The network of a classifier that may not be trained yet, for what does not depend on its weights."""
    return load_classifier(
        model.model,
        weights="random" if model.class_names or model.weights else None,
        num_classes=num_classes if model.class_names else model.num_classes,
        output_stride=model.output_stride,
        multi_label=model.multi_label,
        device=model.device,
    )


def mean_area(samples: Sequence[Sample]) -> float:
    """Mean number of pixels of some of the pictures; that of a pass where none can be read."""
    sizes = []
    for sample in evenly(samples, _SIZED):
        with suppress(AdvcamError):
            width, height = stored_size(sample.path)
            sizes.append(width * height)
    return sum(sizes) / len(sizes) if sizes else PASS_PIXELS


class _Told:
    """Hands the words of a localization on."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def announce(self, plan: Plan) -> None:
        """The plan, and how many pictures are to come."""
        self.watcher.start(f"{plan.method} with {plan.model} in {plan.precision}", plan.pictures)

    def picture_done(self, name: str) -> None:
        """One step."""
        self.watcher.step()

    def picture_skipped(self, name: str, reason: str) -> None:
        """One step, and why."""
        self.watcher.say(f"skipped {name}: {reason}")
        self.watcher.step()
