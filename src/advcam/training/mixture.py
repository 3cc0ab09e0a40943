"""A new head as a mixture of the old one: each class a sparse, non-negative sum of pretrained outputs.

A linear head of K classes on D features has K D weights, more than a few hundred pictures can settle, and the class
activation maps of such a head are wide. Here its weights are W = A V with the J outputs V (J, D) of the pretrained
head, and A (K, J), not negative, is all that is learnt:

    minimise over A >= 0, b    mean loss( A V f + b )  +  penalty * sum A

The sum of A is its L1 norm, so most entries end at 0: a class becomes a handful of ImageNet classes, found from the
image labels alone. The network itself is not trained. This is our own, not of the paper; docs/training.md says what it
gains.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import torch
from accelerate.state import PartialState  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader

from advcam.attribution.precision import resolve
from advcam.classifiers.catalogue import load_classifier
from advcam.classifiers.weights import read_weights
from advcam.errors import ModelError, SettingError, WeightsError
from advcam.training.checkpoint import Epoch, write_weights
from advcam.training.classification import ClassificationObjective, TrainingPictures, class_scores
from advcam.training.loop import BEST_FILE, Progress, TrainingResult
from advcam.training.network import StartingPoint
from advcam.training.settings import ClassifierSettings
from advcam.training.sharing import in_turn, own_batches

#: Where every root of A starts: small, so that only what helps grows.
_START = 0.03
_STEPS = 300
#: Looks at pictures whose features are kept in memory and fitted at once.
_MOST_LOOKS = 100_000


def train_mixture(
    start: StartingPoint,
    objective: ClassificationObjective,
    pictures: TrainingPictures,
    settings: ClassifierSettings,
    folder: Path,
    *,
    validate: Callable[[], dict[str, float]] | None,
    better: str,
    progress: Callable[[Progress], None] | None,
) -> TrainingResult:
    """Look at the pictures, fit the head, measure it, and write the weights; all processes fit the same.

    Args:
        start: The pretrained network with a new head.
        objective: That network with its loss.
        pictures: To learn.
        settings: `epochs` are the times that every picture is looked at.
        folder: Of the weights.
        validate: Measures the network.
        better: Name of the metric that counts.
        progress: Told after every pass and at the end.

    Raises:
        ModelError: The head is not linear.
        SettingError: More looks than fit into memory.
        WeightsError: The pretrained weights hold no head to mix.
    """
    head = head_weights(start.network, start.head)
    old = pretrained_outputs(settings.model, settings.weights, start.head, settings.seed)
    told = progress if progress is not None and PartialState().is_main_process else _silent
    objective.eval()
    features, labels = collect_features(
        start.network,
        start.head[0],
        pictures,
        looks=settings.epochs,
        batch_size=settings.batch_size,
        precision=resolve(settings.precision, next(objective.parameters())),
        progress=told,
    )
    weight, bias = fit_mixture(
        features,
        old.to(features.device),
        lambda scores: objective.loss(scores, labels),
        labels.shape[1],
        settings.mixture_penalty,
    )
    set_head(head, weight, bias)
    with torch.no_grad():
        loss = float(objective.loss(features @ weight.T + bias, labels))
    metrics = validate() if validate is not None else {}
    if PartialState().is_main_process:
        write_weights(folder / BEST_FILE, start.network, {"epoch": settings.epochs, **metrics})
    told(Progress(settings.epochs, settings.epochs, 0, 0, loss, 0.0, metrics))
    entry: Epoch = {"epoch": settings.epochs, "training_loss": loss, "lr": 0.0, **metrics}
    return TrainingResult(metrics.get(better), settings.epochs, settings.epochs, 0, (entry,), False)


def fit_mixture(
    features: Tensor,
    pretrained: Tensor,
    loss: Callable[[Tensor], Tensor],
    num_classes: int,
    penalty: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Weights and bias of the new head; the same at every run.

    A is the square of what L-BFGS moves, which keeps it from being negative.

    Args:
        features: Means of the last features over each picture, (N, D).
        pretrained: V, weights of the pretrained head, (J, D).
        loss: Of scores (N, K), a scalar.
        num_classes: K.
        penalty: Weight of the L1 norm; the greater, the fewer pretrained outputs make a class.

    Returns:
        W (K, D) and b (K,).
    """
    answers = features @ pretrained.T
    roots = torch.full((num_classes, len(pretrained)), _START).to(answers).requires_grad_()
    bias = torch.zeros(num_classes).to(answers).requires_grad_()
    optimizer = torch.optim.LBFGS([roots, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        mixture = roots**2
        total = loss(answers @ mixture.T + bias) + penalty * mixture.sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return (roots.detach() ** 2) @ pretrained, bias.detach()


def collect_features(
    network: nn.Module,
    head: str,
    pictures: TrainingPictures,
    *,
    looks: int,
    batch_size: int,
    precision: torch.dtype,
    progress: Callable[[Progress], None],
) -> tuple[Tensor, Tensor]:
    """What the head sees of augmented pictures, and their labels; the processes of a launch share the pictures.

    Args:
        network: In evaluation mode, on its device.
        head: Name of its head.
        pictures: N of them.
        looks: Times that every picture is seen, augmented anew.
        batch_size: Pictures a pass.
        precision: In which the network is run.
        progress: Told after every pass.

    Returns:
        Features (looks N, D) and labels (looks N, K), on the device of the network.

    Raises:
        SettingError: More looks than fit into memory.
    """
    if looks * len(pictures) > _MOST_LOOKS:
        raise SettingError(
            f'trained="mixture" keeps what it sees of every picture: {looks} epochs of {len(pictures):,} pictures are '
            f"more than {_MOST_LOOKS:,}; take fewer epochs, or another choice of trained"
        )
    device, found = next(network.parameters()).device, list[tuple[Tensor, Tensor]]()
    with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        for look in range(looks):
            pictures.set_epoch(look)
            own = own_batches(len(pictures), batch_size)
            loader = DataLoader(pictures, batch_sampler=own, generator=torch.Generator())
            of_look = list[tuple[Tensor, Tensor]]()
            for number, batch in enumerate(loader, start=1):
                with _inputs_of(network, head) as seen:
                    class_scores(network, batch["pictures"].to(device))
                of_look.append((_pooled(seen[0]).float().cpu(), batch["labels"]))
                progress(Progress(look + 1, looks, number, len(loader), None, 0.0, {}))
            found += in_turn(of_look)
    features, labels = (torch.cat(parts).to(device) for parts in zip(*found, strict=True))
    return features, labels


def head_weights(network: nn.Module, head: Sequence[str]) -> nn.Linear | nn.Conv2d:
    """The linear head of a network.

    Raises:
        ModelError: Its head is something else.
    """
    layer = network.get_submodule(head[0]) if len(head) == 1 else None
    if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)):
        return layer
    raise ModelError(
        f'trained="mixture" mixes the outputs of a linear head; {type(network).__name__} has none; '
        'take "head", "last" or "all"'
    )


def pretrained_outputs(model: str, weights: str | PathLike[str] | None, head: Sequence[str], seed: int) -> Tensor:
    """Weights of the outputs that a network was pretrained with, (J, D).

    Args:
        model: Name as `advcam.load_classifier` takes it.
        weights: A file with any number of classes; the word "random", in tests; None takes the embedded ones.
        head: Name of its head.
        seed: Of random weights.

    Raises:
        ModelError: Its head is not linear.
        WeightsError: The file holds no such head, or another network.
    """
    count = None
    if weights not in (None, "random"):
        name = f"{head[0]}.weight"
        found = [value for key, value in read_weights(weights).items() if f".{key}".endswith(f".{name}")]
        if not found:
            raise WeightsError(
                f'{weights} holds no {name}, the outputs that trained="mixture" mixes; take "head", "last" or "all"'
            )
        count = len(found[0])
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        pretrained = load_classifier(model, weights=weights, num_classes=count)
    return head_weights(pretrained.module, head).weight.detach().flatten(1)


def set_head(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    """Fill a linear head with weights (K, D) and a bias (K,), which is left out where the head has none."""
    with torch.no_grad():
        layer.weight.copy_(weight.view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(bias)


@contextmanager
def _inputs_of(network: nn.Module, head: str) -> Iterator[list[Tensor]]:
    """The inputs of a layer at each call while this lasts."""
    seen: list[Tensor] = []
    handle = network.get_submodule(head).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _pooled(inputs: Tensor) -> Tensor:
    """(N, D) of what a head sees, (N, D) or (N, D, h, w)."""
    return inputs if inputs.ndim == 2 else inputs.mean(dim=(2, 3))


def _silent(_progress: Progress) -> None:
    pass
