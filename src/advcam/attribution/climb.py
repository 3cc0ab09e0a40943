"""AdvCAM: climb a class score along the pixel gradients and add up the class activation maps on the way.

Lee, Kim, Mok, Yoon, "Anti-Adversarially Manipulated Attributions for Weakly Supervised Semantic Segmentation and
Object Localization", TPAMI 2022, arXiv 2204.04890 (CVPR 2021: arXiv 2103.08896). For one picture x, class c, scale:

    x^t = x^{t-1} + xi * grad L,    1 <= t <= T,    x^0 = x
    L   = y_c - sum_{k != c} y_k - lambda * || M . |CAM(x^{t-1}) - CAM(x^0)| ||_1
    M   = 1[ CAM(x^{t-1}) / max > tau ]
    A   = sum_{t=0..T} CAM(x^t) / max

One unit of work is the triple (picture, class, scale) with its flip: a batch holds N triples of V views, (N, V, 3,
H, W). The views of a triple are one optimisation problem: CAM is the sum of their maps, the second mirrored back,
and L sums their scores. Every scalar of the method (step norm, clamp, mask, counts) belongs to one triple, so a
batch gives what its triples give alone. Deviations of the published code are switches of `ClimbSettings`; D1 to D10
number them. Nothing here waits for the device, but for the early stop, which has to know who is left.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advcam.attribution.response import Network, Record, Response, ScaleMaps, join_views, mean_scores
from advcam.attribution.settings import ClimbSettings, OtherClasses
from advcam.errors import SettingError

#: The objective is multiplied by it and the gradient divided: exact in float32, and in float16 nothing is lost below 0.
_GRADIENT_SCALE = 1024.0


def climb(
    network: Network,
    views: Tensor,
    classes: Tensor,
    settings: ClimbSettings,
    steps: int,
    record: Record = "none",
    pictures: Sequence[int] | None = None,
) -> ScaleMaps:
    """Climb N triples at once: one forward and one backward pass to the input per step.

    Args:
        network: Answers to (N * V, 3, H, W).
        views: P pictures, normalised, (P, V, 3, H, W): V = 1, or V = 2 with the horizontal flip second.
        classes: The class to climb of each triple, (N,), int64.
        settings: The constants.
        steps: Number of steps; steps + 1 maps are added up.
        record: Keep the maps and scores of each step, or the perturbed pictures too.
        pictures: Which of the P pictures each triple climbs, N numbers; None: each its own, N = P.
    """
    owners = range(len(views)) if pictures is None else pictures
    everyone = torch.arange(len(classes), device=views.device)
    rounds = _rounds(owners, len(views), views.device)
    x = views[torch.tensor(owners, device=views.device)]
    look = _look(network, views if len(rounds) > 1 else x, classes, rounds, None, settings, climbing=steps > 0)
    total = current = look.accumulated
    initial, active, velocity = look.cam, everyone, torch.zeros((), device=views.device)
    recorder = _Recorder(record)
    recorder.keep(current, look.scores, x, active)
    for t in range(1, steps + 1):
        x, velocity = _step(x, look.gradient, velocity, settings)
        look = _look(network, x, classes[active], [everyone[: len(x)]], initial, settings, climbing=t < steps)
        current = current.index_copy(0, active, look.accumulated)
        before, total = total, total + current
        recorder.keep(current, look.scores, x, active)
        if settings.stop == 0 or t == steps:
            continue
        moving = (_change(before, total) >= settings.stop)[active].nonzero().squeeze(1)
        if len(moving) == 0:
            total = total + (steps - t) * current
            break
        if len(moving) < len(active):
            active, x, initial, look = active[moving], x[moving], initial[moving], look.of(moving)
            velocity = velocity[moving] if velocity.ndim else velocity
    return recorder.result(total, steps + 1)


@dataclass(frozen=True)
class _Look:
    """What one pass says of N triples: CAM as it is watched and as it is added up, scores, and where to climb."""

    cam: Tensor
    accumulated: Tensor
    scores: Tensor
    gradient: Tensor

    def of(self, rows: Tensor) -> "_Look":
        """Of some of the triples."""
        return _Look(self.cam[rows], self.accumulated[rows], self.scores[rows], self.gradient[rows])


def _rounds(owners: Sequence[int], count: int, device: torch.device) -> list[Tensor]:
    """How the unperturbed pass is divided: each round has one triple of each picture, in the order of the pictures.

    Where all pictures have equally many classes one forward pass of each picture serves them all, with a backward pass
    for each round. Otherwise one round with every triple: a backward pass of pictures without a class would be wasted.
    """
    each = Counter(owners)
    per_picture = len(owners) // count
    if per_picture == 1 or len(each) < count or set(each.values()) != {per_picture}:
        return [torch.arange(len(owners), device=device)]
    ordered = sorted(range(len(owners)), key=lambda n: owners[n])
    return [torch.tensor(ordered[k::per_picture], device=device) for k in range(per_picture)]


def _look(
    network: Network,
    x: Tensor,
    classes: Tensor,
    rounds: Sequence[Tensor],
    initial: Tensor | None,
    settings: ClimbSettings,
    climbing: bool,
) -> _Look:
    """One forward pass of x (P, V, 3, H, W), and for each round of triples a backward pass to it."""
    x = x.detach().requires_grad_(climbing)
    response = network.respond(x.flatten(0, 1))
    looks = []
    for k, chosen in enumerate(rounds):
        cam, accumulated = _joint_maps(response, classes[chosen], x.shape[:2], settings)
        gradient = x
        if climbing:
            objective = _score_term(response, classes[chosen], x.shape[:2], settings)
            if initial is not None:
                objective = objective - _penalty(cam, initial[chosen], settings)
            more = k + 1 < len(rounds)
            (gradient,) = torch.autograd.grad(_GRADIENT_SCALE * objective.sum(), x, retain_graph=more)
        scores = mean_scores(response, x.shape[:2])
        looks.append(_Look(cam.detach(), accumulated.detach(), scores, gradient.detach() / _GRADIENT_SCALE))
    if len(looks) == 1:
        return looks[0]
    names = ("cam", "accumulated", "scores", "gradient")
    joined = _Look(*(torch.cat([getattr(look, name) for look in looks]) for name in names))
    return joined.of(torch.cat(list(rounds)).argsort())


def _joint_maps(
    response: Response, classes: Tensor, shape: torch.Size, settings: ClimbSettings
) -> tuple[Tensor, Tensor]:
    """CAM of each triple, flips joined, (N, h, w): the one that is watched and the one that is accumulated."""
    rows = classes.repeat_interleave(shape[1])
    watched = response.class_map(rows)
    accumulated = response.accumulated_map(rows)
    factor = torch.ones((), device=watched.device)
    if settings.normaliser == "grad_cam":
        factor = _grad_cam_factor(response, rows, shape)[:, None, None]
    cam = join_views(factor * watched.relu(), shape)
    return cam, cam if accumulated is None else join_views(factor * accumulated.relu(), shape)


def _grad_cam_factor(response: Response, rows: Tensor, shape: torch.Size) -> Tensor:
    """s_b = N_b / (K+ (N_0 + N_1)) of each row, a constant of the backward pass (method.md 4); 0 for an empty map."""
    if response.positive_weights is None:
        raise SettingError(
            'normaliser="grad_cam" (variant="published") needs a linear class map with known weights; this network '
            'has none: use variant="paper"'
        )
    index = torch.arange(len(rows), device=rows.device)
    positive = (response.score_maps().detach()[index, rows] > 0).sum(dim=(1, 2)).view(shape).to(response.scores.dtype)
    pair = positive.sum(dim=1, keepdim=True).clamp(min=1)
    weights = response.positive_weights[rows].view(shape).clamp(min=1)
    return (positive / (weights * pair)).flatten()


def _score_term(response: Response, classes: Tensor, shape: torch.Size, settings: ClimbSettings) -> Tensor:
    """y_c minus the other-class term, summed over the views, (N,)."""
    rectified = settings.score == "relu_gap"
    scores = response.score_maps().relu().mean(dim=(2, 3)) if rectified else response.scores
    own = classes.repeat_interleave(shape[1])[:, None]
    value = scores.gather(1, own).squeeze(1) - _other_classes(scores, own, response.competing, settings.other_classes)
    return value.view(shape).sum(dim=1)


def _other_classes(scores: Tensor, own: Tensor, competing: Tensor | None, rule: OtherClasses) -> Tensor:
    """The other-class term of each row, (B,); zero where no class competes."""
    rivals = torch.ones_like(scores, dtype=torch.bool) if competing is None else competing.expand_as(scores)
    rivals = rivals.scatter(1, own, False)
    if rule == "none":
        return torch.zeros_like(scores[:, 0])
    if rule == "all":
        return (scores * rivals).sum(dim=1)
    # Not -inf: where a row has no rival at all, the gradient would be NaN.
    absent = torch.finfo(scores.dtype).min / 4
    others = scores.masked_fill(~rivals, absent)
    if rule == "logsumexp":
        return others.logsumexp(dim=1).where(rivals.any(dim=1), 0)
    strongest = others.topk(min(rule, scores.shape[1]), dim=1).values
    return strongest.where(strongest > absent / 2, 0).sum(dim=1)


def _penalty(cam: Tensor, initial: Tensor, settings: ClimbSettings) -> Tensor:
    """The L1 term, lambda || M . |CAM - CAM_0| ||_1, (N,); M is rebuilt each step and carries no gradient (D12)."""
    peak = cam.detach().amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(cam.dtype).tiny)
    mask = cam.detach() / peak > settings.mask_threshold
    change = (mask * (cam - initial).abs()).flatten(1)
    return settings.penalty * (change.mean(dim=1) if settings.penalty_reduction == "mean" else change.sum(dim=1))


def _step(x: Tensor, gradient: Tensor, velocity: Tensor, settings: ClimbSettings) -> tuple[Tensor, Tensor]:
    """X + xi * gradient, normalised and clamped per triple, and its velocity; a zero gradient makes no step."""
    per_triple = (1, 2, 3, 4)
    if settings.step_norm == "max":
        gradient = gradient / (gradient.abs().amax(dim=per_triple, keepdim=True) + 1e-12)
    elif settings.step_norm == "rms":
        gradient = gradient / (gradient.square().mean(dim=per_triple, keepdim=True).sqrt() + 1e-12)
    if settings.momentum:
        gradient = velocity = settings.momentum * velocity + gradient
    moved = x + settings.step_size * gradient
    if settings.clamp == "none":
        return moved, velocity
    lowest, highest = x.amin(dim=per_triple, keepdim=True), x.amax(dim=per_triple, keepdim=True)
    return moved.maximum(lowest).minimum(highest), velocity


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Mean absolute change of A / max over the positions, (N,)."""
    shares = [total / total.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12) for total in (before, after)]
    return (shares[1] - shares[0]).abs().mean(dim=(1, 2))


class _Recorder:
    """Keeps what was asked for of each step, on the CPU; the scores of the unperturbed picture always."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.maps: list[Tensor] = []
        self.scores: list[Tensor] = []
        self.inputs: list[Tensor] = []

    def keep(self, maps: Tensor, scores: Tensor, x: Tensor, active: Tensor) -> None:
        """A step: maps of all N triples; scores and pictures of those that still climb, the others keep their last."""
        if not self.scores:
            self.scores.append(scores)
        elif self.record != "none":
            self.scores.append(self.scores[-1].index_copy(0, active, scores))
        if self.record != "none":
            self.maps.append(maps.cpu())
        if self.record == "all":
            here = x[:, 0].cpu()
            self.inputs.append(self.inputs[-1].index_copy(0, active.cpu(), here) if self.inputs else here)

    def result(self, total: Tensor, count: int) -> ScaleMaps:
        """The sum of the maps and what was kept; where all stopped early the last step stands for the rest."""
        kept = (self._stack(steps, count) for steps in (self.maps, self.inputs))
        scores = torch.stack(self.scores) if self.record == "none" else self._stack(self.scores, count)
        assert scores is not None  # noqa: S101, for the type checker: the first pass always leaves scores
        maps, inputs = kept
        return ScaleMaps(total, scores, maps, inputs, count)

    def _stack(self, steps: list[Tensor], count: int) -> Tensor | None:
        return torch.stack(steps + [steps[-1]] * (count - len(steps))) if steps else None
