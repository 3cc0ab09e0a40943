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
number them.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from advcam.attribution.response import Network, Record, Response, ScaleMaps, join_views, mean_scores
from advcam.errors import SettingError

Variant = Literal["paper", "published"]
StepNorm = Literal["max", "rms", "raw"]
OtherClasses = Literal["all", "none", "logsumexp"] | int


@dataclass(frozen=True)
class ClimbSettings:
    """Every constant of the climb. `paper()` and `published()` are the two variants; any field can be replaced.

    Args:
        iterations: T, number of steps. Code: 27; the author's 8 for Wide ResNet-38 (AdvCAM#7) is the default.
        step_size: xi, in units of the normalised picture. Code: 0.08 (D2).
        step_norm: What the gradient is divided by (D1): "max" its largest absolute value over the triple (code: the
            most sensitive pixel moves by xi), "rms" its root mean square (an L2 step of the same length per pixel at
            every resolution), "raw" nothing (the paper's formula).
        penalty: lambda, weight of the L1 term. Code: 7 with `normaliser="grad_cam"`, `penalty_reduction="sum"`.
        penalty_reduction: "mean" divides the L1 term by the number of positions, so that lambda = 1 means at every
            resolution and class count: raising a masked position costs what it earns (D10). "sum" is the paper's norm.
        mask_threshold: tau of the mask M, on the map divided by its maximum. Code: 0.5.
        other_classes: Classes whose scores are pushed down (D5): "all" but c (paper, code), "none", "logsumexp" a
            smooth maximum of them, or a number k: the k strongest at this step.
        score: "logit" the score as trained (paper) or "relu_gap", the mean of the rectified class map (code, D4).
        normaliser: "none" CAM = ReLU(class map), or "grad_cam" the factor of the published Grad-CAM,
            s_b = N_b / (K+ (N_0 + N_1)): positive positions of flip b over positive weights (D9).
        clamp: "none" (paper) or "running", to the range of the current triple, which can only shrink (code, D3).
        last_map: Whether the map after the last step counts: T + 1 maps (paper) or T (code, D8).
        shorten_half_scale: Scale 0.5 takes T // 2 steps (5 for 6 <= T <= 10, T below) and, where it halves, doubles
            the weight of the maps of ALL scales by a variable that is never reset (code, D6 and D7).
        epsilon: Added to the maximum in the final division. Code: 1e-5; paper: none.
    """

    iterations: int = 8
    step_size: float = 0.05
    step_norm: StepNorm = "max"
    penalty: float = 1.0
    penalty_reduction: Literal["mean", "sum"] = "mean"
    mask_threshold: float = 0.5
    other_classes: OtherClasses = "none"
    score: Literal["logit", "relu_gap"] = "logit"
    normaliser: Literal["none", "grad_cam"] = "none"
    clamp: Literal["none", "running"] = "none"
    last_map: bool = True
    shorten_half_scale: bool = False
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        _require(self.iterations >= 1, "iterations (T) is at least 1; for no climb use CAM", self.iterations)
        _require(
            0 < self.step_size < math.inf,
            "step_size (xi) is positive and finite; a negative one would be an attack",
            self.step_size,
        )
        _require(0 <= self.penalty < math.inf, "penalty (lambda) is finite and not negative", self.penalty)
        _require(0 <= self.mask_threshold <= 1, "mask_threshold (tau) lies in [0, 1]", self.mask_threshold)
        _choice("step_norm", self.step_norm, ("max", "rms", "raw"))
        _choice("penalty_reduction", self.penalty_reduction, ("mean", "sum"))
        _choice("score", self.score, ("logit", "relu_gap"))
        _choice("normaliser", self.normaliser, ("none", "grad_cam"))
        _choice("clamp", self.clamp, ("none", "running"))
        if isinstance(self.other_classes, str):
            _choice("other_classes", self.other_classes, ("all", "none", "logsumexp"), " or a number of classes")
        else:
            _require(
                self.other_classes >= 1,
                'other_classes as a number is at least 1 (or "none")',
                self.other_classes,
            )

    @classmethod
    def paper(cls, multi_label: bool = False) -> "ClimbSettings":
        """The equations of the paper with this package's constants (docs/defaults.md) and lambda's own scale.

        Args:
            multi_label: Of a multi-label classifier the smooth maximum of the other classes is pushed down, since they
                share pictures; of a single-label one of many classes, none.
        """
        return cls(other_classes="logsumexp" if multi_label else "none")

    @classmethod
    def published(cls) -> "ClimbSettings":
        """The authors' code to the letter (jbeomlee93/AdvCAM, obtain_CAM_masking.py; D1 to D9)."""
        return cls(
            iterations=27,
            step_size=0.08,
            other_classes="all",
            penalty=7.0,
            penalty_reduction="sum",
            score="relu_gap",
            normaliser="grad_cam",
            clamp="running",
            last_map=False,
            shorten_half_scale=True,
            epsilon=1e-5,
        )

    def steps_at(self, scale: float) -> int:
        """Number of steps whose result is looked at, for one scale."""
        count = self.iterations
        if self.shorten_half_scale and scale == 0.5 and count >= 6:
            count = count // 2 if count > 10 else 5
        return count if self.last_map else count - 1

    def map_weight(self, scales: tuple[float, ...]) -> float:
        """Weight of every map in the sum; it cancels but for `epsilon` (D7)."""
        return 2.0 if self.shorten_half_scale and self.iterations > 10 and 0.5 in scales else 1.0

    def with_overrides(self, **overrides: object) -> "ClimbSettings":
        """A copy with the given fields replaced; None keeps a field."""
        return replace(self, **{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]


def climb(
    network: Network,
    views: Tensor,
    classes: Tensor,
    settings: ClimbSettings,
    steps: int,
    record: Record = "none",
) -> ScaleMaps:
    """Climb N triples at once: one forward and one backward pass to the input per step.

    Args:
        network: Answers to (N * V, 3, H, W).
        views: The triples, normalised, (N, V, 3, H, W): V = 1 picture, or V = 2 with its horizontal flip second.
        classes: The class to climb of each triple, (N,), int64.
        settings: The constants.
        steps: Number of steps; steps + 1 maps are added up.
        record: Keep the maps and scores of each step, or the perturbed pictures too.
    """
    x, recorder = views, _Recorder(record)
    total = initial = torch.zeros((), device=views.device)
    for t in range(steps + 1):
        x = x.detach().requires_grad_(t < steps)
        response = network.respond(x.flatten(0, 1))
        cam, accumulated = _joint_maps(response, classes, x.shape[:2], settings)
        total = total + accumulated.detach()
        recorder.keep(accumulated, response, x)
        if t == steps:
            break
        if t == 0:
            initial = cam.detach()
        objective = _score_term(response, classes, x.shape[:2], settings) - _penalty(cam, initial, settings)
        (gradient,) = torch.autograd.grad(objective.sum(), x)
        x = _step(x.detach(), gradient, settings)
    return recorder.result(total, steps + 1)


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
    if rule == "none" or not rivals.any():
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


def _step(x: Tensor, gradient: Tensor, settings: ClimbSettings) -> Tensor:
    """X + xi * gradient, normalised and clamped per triple; a zero gradient makes no step."""
    per_triple = (1, 2, 3, 4)
    if settings.step_norm == "max":
        gradient = gradient / (gradient.abs().amax(dim=per_triple, keepdim=True) + 1e-12)
    elif settings.step_norm == "rms":
        gradient = gradient / (gradient.square().mean(dim=per_triple, keepdim=True).sqrt() + 1e-12)
    moved = x + settings.step_size * gradient
    if settings.clamp == "none":
        return moved
    lowest, highest = x.amin(dim=per_triple, keepdim=True), x.amax(dim=per_triple, keepdim=True)
    return moved.maximum(lowest).minimum(highest)


class _Recorder:
    """Keeps what was asked for of each step, on the CPU; the scores of the unperturbed picture always."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.maps: list[Tensor] = []
        self.scores: list[Tensor] = []
        self.inputs: list[Tensor] = []

    def keep(self, maps: Tensor, response: Response, x: Tensor) -> None:
        if self.record != "none" or not self.scores:
            self.scores.append(mean_scores(response, x.shape[:2]))
        if self.record != "none":
            self.maps.append(maps.detach().cpu())
        if self.record == "all":
            self.inputs.append(x.detach()[:, 0].cpu())

    def result(self, total: Tensor, count: int) -> ScaleMaps:
        maps, inputs = (torch.stack(kept) if kept else None for kept in (self.maps, self.inputs))
        return ScaleMaps(total, torch.stack(self.scores), maps, inputs, count)


def _require(condition: bool, rule: str, value: object) -> None:
    if not condition:
        raise SettingError(f"{rule}; got {value}")


def _choice(name: str, value: str, choices: tuple[str, ...], more: str = "") -> None:
    if value not in choices:
        raise SettingError(f"{name} is one of {', '.join(choices)}{more}; got {value!r}")
