"""The stages "localize" and "baseline": attribution maps of every picture that gets masks.

"localize-labelled" and "baseline-labelled" are the same for the split whose truth chooses the threshold.
"""

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
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Stepping, Watcher
from advcam.pipeline.config import LocalizeSettings, MethodSettings, ModelSettings
from advcam.pipeline.localize import Plan, localize
from advcam.pipeline.shards import Engine
from advcam.pipeline.targets import evenly
from advcam.store.run import JSON
from advcam.types import Sample

#: Pictures whose size is looked at for the cost.
_SIZED = 20
NAME, BASELINE = "localize", "baseline"
#: Behind the name of a stage: of the split whose truth chooses the threshold.
LABELLED = "-labelled"


def maps_stage(
    name: str,
    settings: ChainSettings,
    pictures: Pictures,
    model: ModelSettings,
    folder: Path,
    after: tuple[str, ...],
    engine: Engine | None,
) -> Stage:
    """Maps of the split that gets masks, or of the labelled one.

    Args:
        name: "localize": the maps that everything behind is made of. "baseline": maps of a method that does not climb,
            at the same scales, to be scored beside them. Either with `LABELLED`.
        settings: The recipe.
        pictures: Of the chain.
        model: The classifier.
        folder: Of the maps.
        after: Stages that come before.
        engine: Brings the pictures to processes; None: this process works on them.
    """
    labelled, method, outputs = name.endswith(LABELLED), settings.localize, settings.outputs
    samples = pictures.labelled if labelled else pictures.masks
    if name.startswith(BASELINE):
        method = _plain(settings)
    if name != NAME:
        outputs = outputs.model_copy(update={"overlays": False, "report_pictures": 0})
    asked = LocalizeSettings(
        labels="data",
        data=settings.data.root,
        split=settings.data.thresholds if labelled else settings.data.masks_split,
        limit=settings.data.limit,
        layout=settings.data.layout,
        out=folder,
        model=model,
        method=method,
        outputs=outputs,
    )

    def work(watcher: Watcher) -> Outcome:
        summary = localize(asked, _Told(watcher), engine=engine)
        if summary.interrupted:
            raise KeyboardInterrupt
        facts = [("method", method.method), ("pictures", f"{summary.pictures - len(summary.skipped)}")]
        return Outcome(facts, summary.warnings, summary.skipped)

    def cost() -> Cost:
        classifier = load_untrained(model, len(pictures.dataset.class_names))
        estimate = create_method(method.method, classifier, **method.chosen()).cost(
            len(sample.labels or ()) for sample in samples
        )
        return Cost(len(samples), estimate.passes * mean_area(samples) / PASS_PIXELS)

    # "auto" precision is what it means on the device; where that has changed, localize itself refuses to go on.
    chosen = method.deciding() | {"precision": method.precision}
    decides: dict[str, JSON] = {"method": chosen, "model": deciding_model(settings, model)}
    decides["outputs"] = outputs.model_dump(mode="json", exclude={"report_pictures"})
    return Stage(name, folder, decides, after, work, cost)


def deciding_model(settings: ChainSettings, model: ModelSettings) -> dict[str, JSON]:
    """What of a classifier decides its answers; the weights of a trained one are decided by its training."""
    decides: dict[str, JSON] = model.model_dump(mode="json", exclude={"device", "weights", "class_names"})
    return decides if settings.train is not None else decides | {"weights": str(model.weights)}


def load_model(model: ModelSettings) -> Classifier:
    """The classifier that settings name."""
    return load_classifier(model.model, **model.model_dump(exclude={"model"}))


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


def _plain(settings: ChainSettings) -> MethodSettings:
    plain = MethodSettings(method=settings.baseline or "cam", scales=settings.localize.scales)
    return plain.model_copy(update={"max_side": settings.localize.max_side, "flip": settings.localize.flip})


class _Told(Stepping):
    """Hands the words of a localization on."""

    def announce(self, plan: Plan) -> None:
        """The plan, and how many pictures are to come."""
        left = plan.pictures - plan.already_done
        self.watcher.start(f"{plan.method} with {plan.model} in {plan.precision}", left)
