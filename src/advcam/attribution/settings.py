"""Every constant of the climb, what it means, and the two sets of them: the paper's and the published code's."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from advcam.errors import SettingError

Variant = Literal["paper", "published"]
StepNorm = Literal["max", "rms", "raw"]
OtherClasses = Literal["all", "none", "logsumexp"] | int


@dataclass(frozen=True)
class ClimbSettings:
    """Every constant of the climb. `paper()` and `published()` are the two variants; any field can be replaced.

    Args:
        iterations: T, number of steps. Code: 27; the author's 8 for Wide ResNet-38 (AdvCAM#7) is the default.
        small_iterations: T at scales below 1; 0 adds their plain map, None takes `iterations`. As maps are added up, a
            scale weighs the more the more steps it takes.
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
        momentum: Share of the last step that the next one takes along, in [0, 1); paper and code: 0.
        stop: A triple whose map A / max changes by less than this at a step, on average over the positions, climbs no
            further; its last map counts for the steps that it leaves out. 0 (paper, code) never stops.
        epsilon: Added to the maximum in the final division. Code: 1e-5; paper: none.
    """

    iterations: int = 8
    small_iterations: int | None = None
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
    momentum: float = 0.0
    stop: float = 0.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        _require(self.iterations >= 1, "iterations (T) is at least 1; for no climb use CAM", self.iterations)
        small = self.small_iterations
        _require(small is None or small >= 0, "small_iterations is at least 0", small)
        _require(
            0 < self.step_size < math.inf,
            "step_size (xi) is positive and finite; a negative one would be an attack",
            self.step_size,
        )
        _require(0 <= self.penalty < math.inf, "penalty (lambda) is finite and not negative", self.penalty)
        _require(0 <= self.mask_threshold <= 1, "mask_threshold (tau) lies in [0, 1]", self.mask_threshold)
        _require(0 <= self.momentum < 1, "momentum lies in [0, 1)", self.momentum)
        _require(0 <= self.stop < 1, "stop, a change of the map, lies in [0, 1)", self.stop)
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
        if scale < 1 and self.small_iterations is not None:
            return self.small_iterations
        if self.shorten_half_scale and scale == 0.5 and count >= 6:
            count = count // 2 if count > 10 else 5
        return count if self.last_map else count - 1

    def map_weight(self, scales: tuple[float, ...]) -> float:
        """Weight of every map in the sum; it cancels but for `epsilon` (D7)."""
        return 2.0 if self.shorten_half_scale and self.iterations > 10 and 0.5 in scales else 1.0

    def with_overrides(self, **overrides: object) -> "ClimbSettings":
        """A copy with the given fields replaced; None keeps a field."""
        return replace(self, **{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]


def _require(condition: bool, rule: str, value: object) -> None:
    if not condition:
        raise SettingError(f"{rule}; got {value}")


def _choice(name: str, value: str, choices: tuple[str, ...], more: str = "") -> None:
    if value not in choices:
        raise SettingError(f"{name} is one of {', '.join(choices)}{more}; got {value!r}")
