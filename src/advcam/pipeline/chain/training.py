"""The stage "train": the classifier, from the image labels alone."""

from collections.abc import Sequence
from pathlib import Path

from advcam import untrusted
from advcam.errors import RunError, SettingError, counted, one_line
from advcam.pipeline.chain.pictures import Pictures
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import PASS_PIXELS, Cost, Outcome, Stage, Watcher
from advcam.pipeline.config import ModelSettings
from advcam.training.classifier import (
    CLASSES_FILE,
    FACTS_FILE,
    TrainedClassifier,
    train_classifier,
)
from advcam.training.loop import BEST_FILE, Progress
from advcam.training.settings import ClassifierSettings
from advcam.training.targets import Kind
from advcam.types import Sample

NAME = "train"
#: Passes of a network for a picture in training: there, and back to the inputs and to the weights.
_PASSES_OF_A_STEP = 3


def training_stage(settings: ClassifierSettings, pictures: Pictures, folder: Path, device: str) -> Stage:
    """Train, or go on with, the classifier of a chain."""

    def work(watcher: Watcher) -> Outcome:
        trained = train(settings, pictures, folder, device, watcher)
        facts = facts_of(trained, pictures.val)
        return Outcome(facts, (*pictures.notes, *trained.warnings), tuple(trained.unreadable.items()))

    def cost() -> Cost:
        area = settings.side**2 / PASS_PIXELS
        looks = settings.epochs * (_PASSES_OF_A_STEP * len(pictures.train) + len(pictures.val))
        return Cost(len(pictures.train), looks * area)

    return Stage(NAME, folder, settings.deciding(), (), work, cost, trains=True)


def train(
    settings: ClassifierSettings, pictures: Pictures, folder: Path, device: str, watcher: Watcher
) -> TrainedClassifier:
    """Train the classifier of a data set, or go on with its training.

    Raises:
        AdvcamError: As `train_classifier`.
    """
    if not pictures.train:
        raise SettingError(f"no picture of {pictures.dataset.root} has labels to learn from")
    return train_classifier(
        pictures.train,
        pictures.val,
        pictures.dataset.class_names,
        settings.model_copy(update={"kind": _kind(settings, pictures)}),
        folder,
        progress=LoopWatch(watcher),
        device=device,
    )


def model_of(settings: ChainSettings, pictures: Pictures, folder: Path) -> ModelSettings:
    """The classifier that a chain explains: the trained one of a folder, or the one that is named."""
    if settings.train is None:
        return settings.model.model_copy(update={"device": settings.device})
    trained = settings.train
    return ModelSettings(
        model=trained.model,
        weights=folder / BEST_FILE,
        class_names=folder / CLASSES_FILE,
        output_stride=trained.output_stride,
        multi_label=_kind(trained, pictures) == "multi-label",
        device=settings.device,
    )


def _kind(settings: ClassifierSettings, pictures: Pictures) -> Kind:
    """What "auto" means, held out pictures included: by chance they may be the ones with several labels or none."""
    if settings.kind != "auto":
        return settings.kind
    single = all(len(sample.labels or ()) == 1 for sample in (*pictures.train, *pictures.val))
    return "single-label" if single else "multi-label"


def trained_model(run: Path) -> ModelSettings:
    """The classifier that `advcam train` or `advcam run` left in a run, or in a folder of its own.

    Raises:
        RunError: There is none, or it is damaged.
    """
    folder = run / "classifier" if (run / "classifier").is_dir() else run
    path = folder / FACTS_FILE
    try:
        facts = untrusted.read_json(path)
        return ModelSettings(
            model=facts["model"],
            weights=folder / BEST_FILE,
            class_names=folder / CLASSES_FILE,
            output_stride=facts["output_stride"],
            multi_label=facts["multi_label"],
        )
    except FileNotFoundError as error:
        raise RunError(f"{folder} holds no classifier of advcam train; name its --out") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({one_line(error)}); train again in another folder") from error


def facts_of(trained: TrainedClassifier, held_out: Sequence[Sample]) -> list[tuple[str, str]]:
    """Name and value of what came out.

    Args:
        trained: The classifier.
        held_out: The pictures that it was measured on; those that cannot be read do not count.
    """
    measured = sum(sample.id not in trained.unreadable for sample in held_out)
    of = f" of {counted(measured, 'held-out picture')}"
    metrics = [
        (name.replace("_", " "), in_words(name, value) + ("" if _is_loss(name) else of))
        for name, value in trained.metrics.items()
    ]
    epochs = f"{trained.training.best_epoch} of {trained.training.epoch}"
    early = " (stopped early)" if trained.training.stopped_early else ""
    kind = "multi-label" if trained.multi_label else "single-label"
    network = f"{trained.model}, {kind}, {len(trained.class_names)} classes"
    return [("network", network), *metrics, ("kept epoch", epochs + early)]


def in_words(name: str, value: float) -> str:
    """A metric: losses as they are, the others, which are shares, in percent."""
    return f"{value:.4f}" if _is_loss(name) else f"{100 * value:.3g} %"


def _is_loss(name: str) -> bool:
    return name.endswith("loss")


class LoopWatch:
    """Hands the words of the training loop on to a watcher.

    Args:
        watcher: Hears of every step.
        what: Before "epoch 1 of 5".
    """

    def __init__(self, watcher: Watcher, what: str = "") -> None:
        self.watcher, self.what, self.epoch, self.step = watcher, what, 0, 0

    def __call__(self, progress: Progress) -> None:
        """The steps since the last word, and the metrics at the end of an epoch."""
        if progress.epoch != self.epoch:
            self.epoch, self.step = progress.epoch, 0
            self.watcher.start(self._where(progress), progress.steps)
        for _ in range(progress.step - self.step):
            self.watcher.step()
        self.step = progress.step
        if progress.step == progress.steps:  # told once, at the end of an epoch
            metrics = [f"{name.replace('_', ' ')} {in_words(name, value)}" for name, value in progress.metrics.items()]
            learnt = [] if progress.loss is None else [f"training loss {progress.loss:.4f}", *metrics]
            self.watcher.say(": ".join([self._where(progress), *([", ".join(learnt)] if learnt else [])]))

    def _where(self, progress: Progress) -> str:
        """An epoch; or a look at the pictures, from which all is learnt at once in the end."""
        if not progress.steps:
            return f"{self.what}learnt from what was seen"
        step = "looking at the pictures," if progress.loss is None else "epoch"
        return f"{self.what}{step} {progress.epoch} of {progress.epochs}"
