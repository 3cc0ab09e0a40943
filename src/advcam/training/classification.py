"""What training a classifier means: its two losses, its pictures, and how well it answers."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from advcam.classifiers.layers import score_tensor
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, one_line
from advcam.evaluate.classification import average_precision, top_k_accuracy
from advcam.evaluate.pixels import defined_mean
from advcam.training.augment import Preparation
from advcam.training.objective import Objective
from advcam.training.order import picture_generator
from advcam.training.sharing import in_turn, own_batches
from advcam.training.targets import Kind
from advcam.types import Sample


class ClassificationObjective(Objective):
    """A network with the loss of its labels.

    "multi-label": binary cross-entropy of each class, averaged over classes and pictures: PyTorch's multi-label
    soft margin loss (IRN, AdvCAM). "single-label": cross-entropy of the softmax. With class weights that one is divided
    by the number of pictures, where PyTorch divides by the sum of their weights: so a loss does not depend on how a
    batch is cut into passes.

    Args:
        network: Takes (N, 3, H, W), returns scores (N, K), or class maps (N, K, h, w) whose mean is the score.
        kind: Which of the two losses.
        weights: Of the classes (single-label) or of their positive pictures (multi-label), (K,); None: 1.
        label_smoothing: Share of the target that is spread over all classes (single-label).
        frozen_statistics: Batch normalisations keep their stored statistics; scale and shift are trained all the same.
    """

    weights: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        kind: Kind,
        *,
        weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        frozen_statistics: bool = True,
    ) -> None:
        super().__init__(network)
        self.kind = kind
        self.label_smoothing = label_smoothing
        self.frozen_statistics = frozen_statistics
        self.register_buffer("weights", weights)

    def train(self, mode: bool = True) -> "ClassificationObjective":
        """Training mode, but for batch normalisations with frozen statistics."""
        super().train(mode)
        for layer in self.network.modules():
            if self.frozen_statistics and isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss of `pictures` (N, 3, H, W) with `labels` (N, K), 0 or 1; ()."""
        return self.loss(class_scores(self.network, batch["pictures"]), batch["labels"])

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of scores (N, K), in float32; ()."""
        if self.kind == "multi-label":
            return functional.binary_cross_entropy_with_logits(scores.float(), labels, pos_weight=self.weights)
        return functional.cross_entropy(
            scores.float(),
            labels.argmax(dim=1),
            weight=self.weights,
            label_smoothing=self.label_smoothing,
            reduction="none",
        ).mean()


def class_scores(network: nn.Module, pictures: Tensor) -> Tensor:
    """Scores before softmax or sigmoid, (N, K); channels-last memory is faster for convolutions."""
    scores = score_tensor(network(pictures.contiguous(memory_format=torch.channels_last)))
    return scores if scores.ndim == 2 else scores.mean(dim=(2, 3))


class Pictures:
    """Reads the pictures of samples, and remembers which cannot be read, in all worker processes together."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = tuple(samples)
        self._broken = torch.zeros(len(self.samples), dtype=torch.bool)
        self._broken.share_memory_()  # type: ignore[no-untyped-call]

    def read(self, number: int) -> Image.Image | None:
        """A picture, or None if it cannot be read."""
        if self._broken[number]:
            return None
        try:
            return read_picture(self.samples[number].path)
        except PictureError:
            self._broken[number] = True
            return None

    def unreadable(self) -> dict[str, str]:
        """What is wrong with the pictures that could not be read so far, by id."""
        reasons = {}
        for number in self._broken.nonzero().flatten().tolist():
            sample = self.samples[number]
            try:
                read_picture(sample.path)
                reasons[sample.id] = f"{sample.path} could not be read before"
            except PictureError as error:
                reasons[sample.id] = one_line(error)
        return reasons


class TrainingPictures(Dataset[dict[str, Tensor]]):
    """Pictures and labels to train with; one that cannot be read is replaced by the next that can.

    What a picture looks like in an epoch depends on the seed, the epoch and its number alone.

    Args:
        samples: N of them.
        labels: (N, K), 0 or 1.
        preparation: How pictures are augmented.
        seed: Of the training.
    """

    def __init__(self, samples: Sequence[Sample], labels: Tensor, preparation: Preparation, seed: int = 0) -> None:
        self.pictures = Pictures(samples)
        self.labels, self.preparation, self.seed = labels, preparation, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        """Told before each epoch, counted from 0."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`pictures` (3, crop, crop) and `labels` (K,).

        Raises:
            PictureError: Not one of all pictures can be read.
        """
        random = picture_generator(self.seed, self.epoch, index)
        for offset in range(len(self)):
            number = (index + offset) % len(self)
            picture = self.pictures.read(number)
            if picture is not None:
                return {"pictures": self.preparation.train(picture, random), "labels": self.labels[number]}
        first = next(iter(self.pictures.unreadable().values()))
        raise PictureError(f"none of the {len(self)} pictures to train with can be read; the first: {first}")


class EvaluationPictures(Dataset[dict[str, Tensor]]):
    """Pictures and labels to measure with, whole and unchanged; `readable` is False for one to be left out.

    Args:
        samples: N of them.
        labels: (N, K), 0 or 1.
        preparation: What is done to pictures.
    """

    def __init__(self, samples: Sequence[Sample], labels: Tensor, preparation: Preparation) -> None:
        self.pictures = Pictures(samples)
        self.labels, self.preparation = labels, preparation

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`pictures` (3, crop, crop), `labels` (K,) and `readable` ()."""
        picture = self.pictures.read(index)
        blank = torch.zeros((3, self.preparation.crop, self.preparation.crop))
        pixels = blank if picture is None else self.preparation.evaluate(picture)
        return {"pictures": pixels, "labels": self.labels[index], "readable": torch.tensor(picture is not None)}


def measure(
    objective: ClassificationObjective,
    dataset: EvaluationPictures,
    *,
    batch_size: int = 16,
    precision: torch.dtype = torch.float32,
    workers: int = 0,
) -> dict[str, float]:
    """How well a classifier answers: its loss, and `mean_average_precision` or `top_1` and `top_5`.

    The processes of a launch share the batches, and all of them get the numbers of one process.

    Args:
        objective: Network and loss, on their device; set to evaluation mode.
        dataset: The pictures.
        batch_size: Pictures a pass.
        precision: In which the network is run.
        workers: Processes that read pictures.

    Raises:
        PictureError: Not one picture can be read.
    """
    objective.eval()
    device = next(objective.parameters()).device
    own = own_batches(len(dataset), batch_size)
    loader = DataLoader(dataset, batch_sampler=own, num_workers=workers, generator=torch.Generator())
    found: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        for batch in loader:
            readable = batch["readable"]
            if readable.any():
                scores = class_scores(objective.network, batch["pictures"][readable].to(device)).float().cpu()
                found.append((scores, batch["labels"][readable]))
            else:
                found.append((batch["labels"][:0], batch["labels"][:0]))
    scores, labels = (torch.cat(parts) for parts in zip(*in_turn(found), strict=True))
    if not len(scores):
        raise PictureError("none of the pictures to validate with can be read; check their paths")
    return classification_metrics(objective, scores, labels)


def classification_metrics(objective: ClassificationObjective, scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss and metrics of scores (N, K) and labels (N, K), on the CPU."""
    weights = objective.weights
    device = scores.device if weights is None else weights.device
    found: dict[str, float] = {"loss": float(objective.loss(scores.to(device), labels.to(device)))}
    if objective.kind == "multi-label":
        precisions = average_precision(scores.numpy(), labels.numpy() > 0)
        return found | {"mean_average_precision": defined_mean(precisions)}
    true = labels.argmax(dim=1).numpy()
    found["top_1"] = top_k_accuracy(scores.numpy(), true, 1)
    if scores.shape[1] > 5:
        found["top_5"] = top_k_accuracy(scores.numpy(), true, 5)
    return found


def best_metric(kind: Kind) -> str:
    """Name of the metric that tells the best epoch."""
    return "mean_average_precision" if kind == "multi-label" else "top_1"
