"""The stage "refine-irn": confident labels from the maps, a network of boundaries learnt from them, the random walk."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate.state import PartialState  # type: ignore[import-untyped]
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from advcam.attribution.precision import resolve
from advcam.classifiers.classifier import Classifier
from advcam.datasets.pictures import read_picture
from advcam.errors import SettingError
from advcam.pipeline.chain.filing import FilesOfMaps, write_files
from advcam.pipeline.chain.irn_files import InstanceWriter, LabelWriter
from advcam.pipeline.chain.localizing import load_model
from advcam.pipeline.chain.processes import by_main
from advcam.pipeline.chain.refining import refine_store
from advcam.pipeline.chain.settings import IrnRefinement
from advcam.pipeline.chain.stage import Outcome, Watcher
from advcam.pipeline.chain.training import LoopWatch
from advcam.pipeline.config import ModelSettings
from advcam.pipeline.shards import Engine
from advcam.pipeline.targets import evenly
from advcam.refine.irn.instances import instance_masks
from advcam.refine.irn.labels import grid_labels
from advcam.refine.irn.losses import PairCounts, irn_loss, pair_counts
from advcam.refine.irn.network import IRNetwork
from advcam.refine.irn.walk import refine_maps
from advcam.store.masks import read_mask
from advcam.store.run import output_names
from advcam.training.augment import Normalisation, flip, random_crop
from advcam.training.loop import BEST_FILE, train
from advcam.training.objective import Objective
from advcam.training.order import picture_generator
from advcam.training.schedule import Polynomial, create_optimizer
from advcam.training.settings import LoopSettings
from advcam.types import IGNORE, Attribution, FloatArray, Instance, Sample

#: Of the random rescaling of pictures (jiwoon-ahn/irn).
_SCALES = (0.5, 1.5)
#: Pictures that the mean displacement is measured on.
_MEASURED = 200


class IrnObjective(Objective):
    """The branches of IRN with their two losses, over all pairs of a batch, however it is divided."""

    network: IRNetwork

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """L_B + L_D of `pictures` (N, 3, H, W) and `labels` (N, H, W); ()."""
        edges, displacement = self.network(batch["pictures"])
        labels, whole = grid_labels(batch["labels"]), None
        if self.whole is not None:
            whole = PairCounts(self.whole.counts, len(labels) / self.whole.pictures)
        return irn_loss(edges, displacement, labels, whole=whole).total

    def counts(self, batch: dict[str, Tensor]) -> Tensor:
        """Pairs of each kind, (3,)."""
        return pair_counts(grid_labels(batch["labels"]))


class LabelledPictures(Dataset[dict[str, Tensor]]):
    """Pictures and their confident labels, randomly rescaled, flipped and cropped (jiwoon-ahn/irn).

    Args:
        samples: The pictures.
        labels: File of the label mask of each.
        crop: Side in pixels.
        normalise: Of the classifier.
        seed: Of the training.
    """

    def __init__(
        self, samples: Sequence[Sample], labels: Sequence[Path], crop: int, normalise: Normalisation, seed: int
    ) -> None:
        self.samples, self.labels = tuple(samples), tuple(labels)
        self.crop, self.normalise, self.seed, self.epoch = crop, normalise, seed, 0

    def __len__(self) -> int:
        return len(self.samples)

    def set_epoch(self, epoch: int) -> None:
        """Told before each epoch, counted from 0."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`pictures` (3, crop, crop) and `labels` (crop, crop)."""
        random = picture_generator(self.seed, self.epoch, index)
        picture, labels = read_picture(self.samples[index].path).convert("RGB"), read_mask(self.labels[index])
        factor = random.uniform(*_SCALES)
        width, height = (max(1, round(side * factor)) for side in picture.size)
        pixels = self.normalise(picture.resize((width, height)))
        # Together, so that both are flipped and cropped alike; 255 - label, since what is padded is 0.
        known = IGNORE - torch.from_numpy(labels).float()
        known = functional.interpolate(known[None, None], size=(height, width), mode="nearest")[0]
        both = random_crop(flip(torch.cat([pixels, known]), random), self.crop, random)
        return {"pictures": both[:3], "labels": IGNORE - both[3].long()}


class Irn:
    """IRN on the maps of a run.

    Args:
        settings: Its constants.
        model: The classifier whose backbone it stands on.
        source: Folder of the map store.
        samples: The pictures.
        threshold: Of the maps, from which confidence is measured where no other is set.
        folder: Of labels, network, refined maps and instances.
        watcher: Hears of everything.
        engine: Brings the walk to processes.

    Raises:
        SettingError: The two confidences are crossed.
    """

    def __init__(
        self,
        settings: IrnRefinement,
        model: ModelSettings,
        source: Path,
        samples: Sequence[Sample],
        threshold: float,
        folder: Path,
        watcher: Watcher,
        engine: Engine,
    ) -> None:
        self.settings, self.model, self.source, self.engine = settings, model, source, engine
        self.classifier = load_model(model)
        self.samples, self.folder, self.watcher = samples, folder, watcher
        self.names = output_names([sample.id for sample in samples])
        self.conf_fg, self.conf_bg = confidences(settings, threshold)

    def run(self) -> Outcome:
        """Labels, training and walk; each goes on where it stopped. All processes train, the main one does the rest."""
        by_main(self._write_labels)
        with torch.random.fork_rng(devices=()):  # its new layers start at random, the same in every process
            torch.manual_seed(self.settings.seed)
            network = IRNetwork(self.classifier.module)
        final_loss = self._train(network)
        if not PartialState().is_main_process:
            return Outcome()
        network.load_state_dict(load_file(self.folder / "network" / BEST_FILE))
        network.eval()
        if self.settings.instances:
            network.measure_mean_displacement(self._inputs(evenly(self._labelled(), _MEASURED)))
        walk = _Walk(self.settings, self.model, self.classifier, network, self.folder / "network" / BEST_FILE)
        outcome = refine_store(
            self.source, self.samples, walk, self.folder / "maps", self.watcher, "IRN: random walk", self.engine
        )
        if self.settings.instances:
            self._write_instances(walk)
        facts = [("confident above / below", f"{self.conf_fg:g} / {self.conf_bg:g}"), ("loss", f"{final_loss:.4f}")]
        return Outcome([*facts, *outcome.facts], outcome.notes, outcome.skipped)

    def _write_labels(self) -> None:
        write = LabelWriter(self.conf_fg, self.conf_bg, str(self.classifier.device))
        files = {sample.id: self._label_file(sample) for sample in self.samples}
        task = FilesOfMaps(self.source, write)
        write_files(task, self.samples, files, self.engine, self.watcher, "IRN: confident labels")

    def _train(self, network: IRNetwork) -> float:
        """Train the branches; the mean loss of the last epoch."""
        chosen, labelled = self.settings, self._labelled()
        if not labelled:
            raise SettingError(f"no picture has maps in {self.source}: IRN has nothing to learn from")
        normalise = Normalisation(self.classifier.mean, self.classifier.std)
        files = [self._label_file(sample) for sample in labelled]
        groups = network.parameter_groups(chosen.lr)
        for group, multiplier in zip(groups, (1.0, 10.0), strict=True):
            group |= {"weight_decay": chosen.weight_decay, "multiplier": multiplier}
        loop = LoopSettings(epochs=chosen.epochs, batch_size=min(chosen.batch_size, len(labelled)), seed=chosen.seed)
        result = train(
            IrnObjective(network).to(self.classifier.device),
            create_optimizer(chosen.optimizer, groups),
            Polynomial(),
            LabelledPictures(labelled, files, chosen.crop, normalise, chosen.seed),
            loop,
            self.folder / "network",
            facts={"optimizer": chosen.optimizer, "lr": chosen.lr, "crop": chosen.crop},
            progress=LoopWatch(self.watcher, "IRN: "),
        )
        return float(result.history[-1]["training_loss"] or 0.0)

    def _write_instances(self, walk: "_Walk") -> None:
        files = {sample.id: self.folder / "instances" / f"{self.names[sample.id]}.json" for sample in self.samples}
        task = FilesOfMaps(self.source, InstanceWriter(walk.instances))
        write_files(task, self.samples, files, self.engine, self.watcher, "IRN: instances")

    def _inputs(self, samples: Sequence[Sample]) -> Iterator[Tensor]:
        for sample in samples:
            yield _as_input(self.classifier, np.asarray(read_picture(sample.path).convert("RGB")))

    def _labelled(self) -> list[Sample]:
        return [sample for sample in self.samples if self._label_file(sample).exists()]

    def _label_file(self, sample: Sample) -> Path:
        return self.folder / "labels" / f"{self.names[sample.id]}.png"


class _Walk:
    """The trained network, applied; sent to another process it is loaded there from the weights on disk."""

    def __init__(
        self, settings: IrnRefinement, model: ModelSettings, classifier: Classifier, network: IRNetwork, weights: Path
    ) -> None:
        self.settings, self.model, self.weights = settings, model, weights
        self.classifier, self.network = classifier, network

    def __reduce__(self) -> tuple[Callable[..., "_Walk"], tuple[IrnRefinement, ModelSettings, Path, list[float]]]:
        return _load_walk, (self.settings, self.model, self.weights, self.network.mean_displacement.tolist())

    def __call__(self, attribution: Attribution, picture: NDArray[np.uint8]) -> FloatArray:
        """Scores (C, H, W) after the walk."""
        edges, _ = self._answer(picture)
        chosen = self.settings
        maps = torch.from_numpy(attribution.maps).to(edges.device)
        refined = refine_maps(
            maps, edges[0], attribution.image_size, power=chosen.power, beta=chosen.beta, steps=chosen.steps
        )
        return np.asarray(refined.cpu().numpy())

    def instances(self, attribution: Attribution, picture: NDArray[np.uint8]) -> list[Instance]:
        """Objects of a picture."""
        if not attribution.class_ids:
            return []
        edges, displacement = self._answer(picture)
        maps = torch.from_numpy(attribution.maps).to(edges.device)
        return instance_masks(maps, attribution.class_ids, edges[0], displacement[0], attribution.image_size)

    def _answer(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        inputs = _as_input(self.classifier, picture)
        half = resolve("auto", next(self.network.parameters()))
        with torch.autocast(inputs.device.type, half, enabled=half != torch.float32):
            edges, displacement = self.network.infer(inputs)
        return edges.float(), displacement.float()


def _load_walk(settings: IrnRefinement, model: ModelSettings, weights: Path, mean_displacement: list[float]) -> _Walk:
    """The walk of a trained network, whose mean displacement was measured after its weights were written."""
    classifier = load_model(model)
    network = IRNetwork(classifier.module)
    network.load_state_dict(load_file(weights))
    network.mean_displacement.copy_(torch.tensor(mean_displacement))
    return _Walk(settings, model, classifier, network.eval(), weights)


def confidences(settings: IrnRefinement, threshold: float) -> tuple[float, float]:
    """conf_fg and conf_bg: as set, or 0.05 above and 0.15 below a threshold, as AdvCAM's 0.35 and 0.15 lie around 0.3.

    Raises:
        SettingError: They are crossed.
    """
    conf_fg = min(1.0, threshold + 0.05) if settings.conf_fg is None else settings.conf_fg
    conf_bg = max(0.0, threshold - 0.15) if settings.conf_bg is None else settings.conf_bg
    if conf_bg > conf_fg:
        raise SettingError(
            f"thresholds crossed: conf_bg {conf_bg:g} is above conf_fg {conf_fg:g}, and nothing would be unsure; set "
            "refine.irn.conf_bg below refine.irn.conf_fg"
        )
    return conf_fg, conf_bg


def _as_input(classifier: Classifier, picture: NDArray[np.uint8]) -> Tensor:
    pixels = torch.from_numpy(picture.copy()).movedim(2, 0)[None].float() / 255
    return classifier.normalise(pixels)
