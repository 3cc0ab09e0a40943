"""The loss around a picture along the climb and along an attack: surfaces, lines and how sharply they bend.

Paper (arXiv 2204.04890): the loss surface is flat along the climbing direction and sharply curved along the attack
direction. Here both directions have the same length, that of the climb: coordinate 0 is the picture x^0, 1 on the
first axis of the climb is x^T. The second axis is random, orthogonal to the first and as long.

A gradient and its opposite are one line, whose second difference AT x^0 is the same from both ends. The displacements
of a climb and of an attack after several steps are two lines, but what tells flat from sharp is still what lies ahead
of x^0 on each (`Bend.change`, `Bend.sharpest`). A classification loss cannot fall below 0, so a picture that is
classified well is flat ahead of the climb whatever the network; the class score has no such floor and is always given
beside the loss.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from advcam.attribution.climb import climb
from advcam.attribution.method import Classifier
from advcam.attribution.response import Network, Response
from advcam.attribution.settings import ClimbSettings
from advcam.errors import SettingError
from advcam.types import Trajectory

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """Loss and score of one class over a grid of pictures x^0 + a * first + b * second.

    Args:
        first: The P coordinates a; 1 is the length of the climb.
        second: The Q coordinates b; Q = 1 with b = 0 for a line.
        loss: (P, Q), see `classification_loss`.
        score: Score of the class before softmax or sigmoid, (P, Q).
    """

    first: Numbers
    second: Numbers
    loss: Numbers
    score: Numbers


#: Interval of the second differences, in lengths of the climb. At much smaller ones the kinks of a piecewise linear
#: network (ReLU) rule the result, and it grows without limit.
INTERVAL = 0.25


@dataclass(frozen=True)
class Bend:
    """How a line bends; second differences (v(a + h) - 2 v(a) + v(a - h)) / h^2 with h = `INTERVAL`.

    Args:
        change: Value at 1 minus value at 0.
        at_origin: Second difference at 0, from both sides.
        sharpest: Largest absolute second difference of three points ahead, 0 <= a - h and a + h <= 1.
    """

    change: float
    at_origin: float
    sharpest: float


def classification_loss(scores: Tensor, class_id: int, multi_label: bool) -> Tensor:
    """Cross entropy of one class, or its soft-margin loss log(1 + exp(-y_c)) if classes are independent.

    Args:
        scores: Class scores before softmax or sigmoid, (B, K).
        class_id: The class c.
        multi_label: Whether the outputs are independent (sigmoid).

    Returns:
        (B,), nats, 0 or more.
    """
    if multi_label:
        return functional.softplus(-scores[:, class_id])
    return -scores.log_softmax(dim=1)[:, class_id]


def climbed_pictures(trajectory: Trajectory, classifier: Classifier) -> tuple[Tensor, Tensor]:
    """The normalised picture x^0 and the displacement x^T - x^0 of a climb, each (3, H, W).

    Raises:
        SettingError: The pictures were not recorded.
    """
    if trajectory.pictures is None:
        raise SettingError('a landscape needs the perturbed pictures; record the climb with record="all"')
    ends = torch.from_numpy(trajectory.pictures[[0, -1]]).double()
    start, end = classifier.normalise(ends)
    return start, end - start


def gradient_direction(classifier: Classifier, picture: Tensor, class_id: int) -> Tensor:
    """The gradient of the class score at a normalised picture, (3, H, W)."""
    x = picture.detach()[None].requires_grad_()
    with torch.inference_mode(False), torch.enable_grad(), classifier.frozen():
        (gradient,) = torch.autograd.grad(classifier.respond(x).scores[0, class_id], x)
    return gradient[0]


class _Attacked:
    """A network whose scores are negated, so that the climb on it is the attack x' = x - xi * grad y_c."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def respond(self, inputs: Tensor) -> Response:
        """The answer with its scores negated."""
        response = self.network.respond(inputs)
        response.scores = -response.scores
        return response


def attack_direction(
    classifier: Classifier, picture: Tensor, class_id: int, settings: ClimbSettings, steps: int, flip: bool = True
) -> Tensor:
    """Displacement of an attack on the class score, with step and clamp of the climb and no regulariser.

    Args:
        classifier: The classifier.
        picture: Normalised, (3, H, W).
        class_id: The class whose score is lowered.
        settings: Step size, step norm and clamp are used.
        steps: As many as the climb took.
        flip: Whether the mirrored picture is attacked along, as the climb has it.

    Returns:
        (3, H, W), at the length that the attack has.
    """
    plain = replace(settings, penalty=0.0, other_classes="none", score="logit", normaliser="none")
    views = torch.stack([picture, picture.flip(-1)] if flip else [picture])[None]
    classes = torch.tensor([class_id], device=picture.device)
    with torch.inference_mode(False), torch.enable_grad(), classifier.frozen():
        inputs = climb(_Attacked(classifier), views, classes, plain, steps, "all").inputs
    assert inputs is not None  # noqa: S101, for the type checker: record="all" keeps them
    return (inputs[-1, 0] - inputs[0, 0]).to(picture.device)


def scaled_to(direction: Tensor, reference: Tensor) -> Tensor:
    """A direction at the Euclidean length of another; a zero direction stays zero."""
    length = direction.double().norm()
    return direction * (reference.double().norm() / length).to(direction) if length > 0 else direction


def random_direction(axis: Tensor, seed: int) -> Tensor:
    """Gaussian noise of the shape and length of an axis, orthogonal to it; the same for the same seed."""
    noise = torch.randn(axis.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    along = axis.detach().cpu().double()
    square = along.square().sum()
    if square > 0:
        noise = noise - (noise * along).sum() / square * along
    return scaled_to(noise, along * (square > 0)).to(axis)


def coordinates(points: int) -> Numbers:
    """An odd number of points at equal distances from -1 to 1, 0 among them.

    Raises:
        SettingError: Fewer than 5 points, or an even number.
    """
    if points < 5 or points % 2 == 0:
        raise SettingError(f"a landscape has an odd number of points a side, at least 5; got {points}")
    return np.linspace(-1.0, 1.0, points)


def surface(
    classifier: Classifier,
    picture: Tensor,
    class_id: int,
    first: Tensor,
    second: Tensor,
    grid: Numbers,
    batch_size: int = 16,
) -> Surface:
    """Loss and score on the grid picture + a * first + b * second, in batches, without gradients.

    Args:
        classifier: The classifier.
        picture: Normalised, (3, H, W); only this view is looked at, not its mirror image.
        class_id: The class.
        first: First axis, (3, H, W).
        second: Second axis, (3, H, W).
        grid: Coordinates on both axes, (P,).
        batch_size: Pictures at once.
    """
    return _evaluate(classifier, picture, class_id, (first, second), (grid, grid), batch_size)


def profile(
    classifier: Classifier, picture: Tensor, class_id: int, axis: Tensor, grid: Numbers, batch_size: int = 16
) -> Surface:
    """Loss and score on the line picture + a * axis: a surface with the single column b = 0."""
    axes, grids = (axis, torch.zeros_like(axis)), (grid, np.zeros(1))
    return _evaluate(classifier, picture, class_id, axes, grids, batch_size)


def bend(grid: Numbers, values: Numbers) -> Bend:
    """How the values of a line bend.

    Args:
        grid: Of `coordinates`, (P,), with `INTERVAL` among its points.
        values: (P,).

    Raises:
        SettingError: `INTERVAL` is no point of the grid.
    """
    middle, stride = len(grid) // 2, round(INTERVAL / (grid[1] - grid[0]))
    if stride < 1 or not np.isclose(grid[middle + stride], INTERVAL):
        raise SettingError(f"second differences need {INTERVAL:g} among the coordinates; take 9, 17, 25, .. 41 points")
    second = (values[2 * stride :] - 2 * values[stride:-stride] + values[: -2 * stride]) / INTERVAL**2
    # second[i] belongs to grid[i + stride].
    ahead = second[middle:]
    return Bend(float(values[-1] - values[middle]), float(second[middle - stride]), float(np.abs(ahead).max()))


def _evaluate(
    classifier: Classifier,
    picture: Tensor,
    class_id: int,
    axes: tuple[Tensor, Tensor],
    grids: tuple[Numbers, Numbers],
    batch_size: int,
) -> Surface:
    points = torch.cartesian_prod(*(torch.from_numpy(grid).to(picture) for grid in grids))
    answers = []
    with torch.no_grad(), classifier.frozen():
        for a, b in (part.T[:, :, None, None, None] for part in torch.split(points, batch_size)):
            scores = classifier.respond(picture + a * axes[0] + b * axes[1]).scores
            answers.append(scores.detach().cpu().double())
    scores = torch.cat(answers)
    shape = (len(grids[0]), len(grids[1]))
    loss = classification_loss(scores, class_id, classifier.multi_label)
    return Surface(*grids, loss.view(shape).numpy(), scores[:, class_id].reshape(shape).numpy())
