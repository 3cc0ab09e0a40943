"""AdvCAM as a method: the climb of `climb.py` at every scale, with defaults for the classifier at hand."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from advcam.attribution.climb import climb
from advcam.attribution.effort import SCHEDULES, Effort, Schedule, steps_below_one
from advcam.attribution.fusion import Fusion
from advcam.attribution.method import DEFAULT_SCALES, Batch, Classifier, Method
from advcam.attribution.precision import Precision
from advcam.attribution.response import Network, Record, ScaleMaps
from advcam.attribution.settings import ClimbSettings, OtherClasses, StepNorm, Variant
from advcam.errors import SettingError

#: Scales of the published code.
PUBLISHED_SCALES = (0.5, 1.0, 1.5, 2.0)


class AdvCAM(Method):
    """Anti-adversarial climbing (Lee et al., arXiv 2204.04890): see `advcam.attribution.climb` for the equations.

    Args:
        classifier: The classifier to explain.
        variant: "paper" follows the equations, with this package's defaults (docs/defaults.md says where they come
            from); "published" is the authors' code to the letter, its scales and full-size pictures included.
        effort: How much the climb may cost: "fast" (2 steps), "balanced" (4 steps) or "paper" (8 steps and
            flips), where iterations and flip are not given. Default "balanced"; the published variant has none.
        iterations: T. Published: 27.
        small_iterations: T at scales below 1. Default T // 4; published: see `ClimbSettings.shorten_half_scale`.
        step_size: xi. Published: 0.08.
        penalty: lambda. Default 1 on the resolution-independent scale (paper), 7 on the code's scale (published).
        mask_threshold: tau. Default 0.5.
        other_classes: "all", "none", "logsumexp", or the k strongest. Default (paper) "none", or
            "logsumexp" for a multi-label classifier; "all" (published).
        step_norm: "max", "rms" or "raw". Default "max".
        scales: Default 0.5, 1, 2 (paper); 0.5, 1, 1.5, 2 (published).
        flip: Whether the mirrored picture is climbed along, as one problem with the picture. Published: yes.
        fusion: How scales are joined, "sum" or "geometric"; see `advcam.attribution.fusion`.
        max_side: Longer side of the working picture. Default 512 (paper); 0, the picture's own (published).
        momentum: Share of the last step that the next one takes along. Default 0.
        stop: A climb ends early where a step changes its map by less, on average. Default 0, never.
        size_grid: See `Method`.
        precision: See `Method`. Published: the network's own, batch normalisations left in place.
        batch_size: Triples at once; see `Method`.
        compiled: See `Method`.
        settings: Replaces all constants of the climb at once, for the switches that are not arguments here.

    Raises:
        SettingError: A constant outside its range, an unknown variant or effort, an effort of the published variant.
    """

    name = "advcam"
    title = "AdvCAM"
    one_pass: ClassVar[bool] = False
    summary = "climbs the class score and adds up the maps on the way: the whole object"

    def __init__(
        self,
        classifier: Classifier,
        *,
        variant: Variant = "paper",
        effort: Effort | None = None,
        iterations: int | None = None,
        small_iterations: int | None = None,
        step_size: float | None = None,
        penalty: float | None = None,
        mask_threshold: float | None = None,
        other_classes: OtherClasses | None = None,
        step_norm: StepNorm | None = None,
        scales: Sequence[float] | None = None,
        flip: bool | None = None,
        fusion: Fusion = "sum",
        max_side: int | None = None,
        momentum: float | None = None,
        stop: float | None = None,
        size_grid: int = 1,
        precision: Precision = "auto",
        batch_size: int | None = None,
        compiled: bool = False,
        settings: ClimbSettings | None = None,
    ) -> None:
        schedule = _schedule(variant, effort)
        self.exact = schedule is None
        if scales is None and classifier.fixed_size is None:
            scales = PUBLISHED_SCALES if schedule is None else DEFAULT_SCALES
        if max_side is None:
            max_side = 0 if schedule is None else 512
        super().__init__(
            classifier,
            scales=scales,
            flip=(schedule is None or schedule.flip) if flip is None else flip,
            fusion=fusion,
            max_side=max_side,
            size_grid=size_grid,
            precision=precision,
            batch_size=batch_size,
            compiled=compiled,
        )
        base = settings or _settings(schedule, classifier.multi_label)
        if schedule is not None and settings is None and small_iterations is None:
            small_iterations = steps_below_one(iterations or schedule.iterations)
        self.settings = base.with_overrides(
            iterations=iterations,
            small_iterations=small_iterations,
            step_size=step_size,
            penalty=penalty,
            mask_threshold=mask_threshold,
            other_classes=other_classes,
            step_norm=step_norm,
            momentum=momentum,
            stop=stop,
        )

    def with_settings(self, settings: ClimbSettings, scales: Sequence[float] | None = None) -> "AdvCAM":
        """The same method with other constants of the climb, and other scales if given."""
        other = copy.copy(self)
        other.settings = settings
        other.scales = self.scales if scales is None else tuple(scales)
        return other

    def brief(self, scale: float) -> "AdvCAM":
        """See `Method.brief`: one step, or two maps."""
        one = replace(self.settings, iterations=1, small_iterations=1, last_map=True, stop=0.0)
        return self.with_settings(one, (scale,))

    def scale_maps(self, network: Network, batch: Batch, scale: float, record: Record) -> ScaleMaps:
        """See `Method.scale_maps`: the climb."""
        steps = self.settings.steps_at(scale)
        return climb(network, batch.views, batch.classes, self.settings, steps, record, batch.pictures)

    def passes(self, scale: float) -> int:
        """One forward and one backward pass a step, and the last forward pass."""
        return 2 * self.settings.steps_at(scale) + 1

    def map_weight(self) -> float:
        """The leaked multiplier of the published code (D7)."""
        return self.settings.map_weight(self.scales)

    def epsilon(self) -> float:
        """Of the final division."""
        return self.settings.epsilon


def _schedule(variant: str, effort: str | None) -> Schedule | None:
    """The schedule of an effort; None for the published variant."""
    if variant not in ("paper", "published"):
        raise SettingError(f'variant is "paper" or "published"; got {variant!r}')
    if variant == "published":
        if effort is not None:
            raise SettingError(f'variant="published" has steps and scales of its own; leave effort={effort!r} away')
        return None
    for name, schedule in SCHEDULES.items():
        if name == ("balanced" if effort is None else effort):
            return schedule
    raise SettingError(f"effort is one of {', '.join(SCHEDULES)}; got {effort!r}")


def _settings(schedule: Schedule | None, multi_label: bool) -> ClimbSettings:
    if schedule is None:
        return ClimbSettings.published()
    return replace(ClimbSettings.paper(multi_label), iterations=schedule.iterations)
