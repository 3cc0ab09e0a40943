"""What an analysis measures of one picture: a climb under one setting against the truth, and the surroundings."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

from advcam.analysis.amplification import amplification
from advcam.analysis.landscape import (
    attack_direction,
    climbed_pictures,
    coordinates,
    gradient_direction,
    profile,
    random_direction,
    scaled_to,
    surface,
)
from advcam.analysis.trajectory import nearest_to_one, score_curve, step_maps
from advcam.attribution.advcam import AdvCAM
from advcam.errors import DatasetError, PictureError
from advcam.evaluate.segmentation import SeedSweep
from advcam.pipeline.analyses.records import ClassClimb, ClassLandscape, Climbs, Direction, Landscapes
from advcam.types import Attribution, Mask, Trajectory

#: Points of the lines, from -1 to 1.
LINE_POINTS = 41


@dataclass(frozen=True, eq=False)
class TruthSample:
    """A picture whose mask is known.

    Args:
        name: Of the picture, unique in the analysis.
        picture: The picture.
        class_ids: The classes to climb, by their numbers in the classifier.
        truth: Label mask (H, W) at the size of the picture: 0 background, number of the truth's class + 1, 255 ignored.
        truth_ids: The number of each of `class_ids` among the classes of the truth, counted from 0; None where both
            count alike. With an ImageNet classifier they do not: its class 254 would be 255 in the mask.
    """

    name: str
    picture: Image.Image
    class_ids: tuple[int, ...]
    truth: Mask
    truth_ids: tuple[int, ...] | None = None

    @property
    def seed_ids(self) -> tuple[int, ...]:
        """The classes as the truth counts them."""
        return self.class_ids if self.truth_ids is None else self.truth_ids

    def check(self) -> None:
        """Raise unless a climb of this picture can be measured.

        Raises:
            PictureError: No class to climb, or one twice.
            DatasetError: The truth has another size than the picture, or other classes are given for it.
        """
        if not self.class_ids or len(set(self.class_ids)) < len(self.class_ids):
            raise PictureError(f"{self.name}: an analysis takes one or more classes, each once; got {self.class_ids}")
        if len(self.seed_ids) != len(self.class_ids):
            raise DatasetError(
                f"{self.name}: one number of the truth for each class; got {self.truth_ids} for {self.class_ids}"
            )
        width, height = self.picture.size
        if self.truth.shape != (height, width):
            raise DatasetError(f"{self.name}: the truth has the shape {self.truth.shape}, the picture {height, width}")


def measure_climbs(method: AdvCAM, sample: TruthSample, num_classes: int, thresholds: Sequence[float]) -> Climbs:
    """Scores and amplification of each class, and the seeds after each step against the truth.

    Args:
        method: The climb under one setting.
        sample: The picture.
        num_classes: Classes of the truth, the background counted.
        thresholds: Background values of the seeds.
    """
    (attribution,) = method([sample.picture], [sample.class_ids], record="maps")
    seeds = []
    for maps in step_maps(attribution):
        sweep = SeedSweep(num_classes, thresholds)
        sweep.add(sample.truth, maps, sample.seed_ids)
        seeds.append(_pixels_of_pairs(sweep))
    return Climbs([_class_climb(attribution, class_id) for class_id in attribution.class_ids], seeds)


def _pixels_of_pairs(sweep: SeedSweep) -> list[tuple[int, int, list[int]]]:
    """Confusion at every threshold, as (true, predicted, pixels at each threshold) of the pairs that occur."""
    counts = np.stack([sweep.confusion(index).counts for index in range(len(sweep.thresholds))])
    pairs = np.argwhere(counts.any(axis=0)).tolist()
    return [(true, claimed, counts[:, true, claimed].tolist()) for true, claimed in pairs]


def _class_climb(attribution: Attribution, class_id: int) -> ClassClimb:
    trajectory = nearest_to_one(attribution, class_id)
    growth, scores = amplification(trajectory.maps), score_curve(trajectory)
    inside, outside = growth.discriminative, growth.non_discriminative
    return ClassClimb(
        class_id,
        attribution.class_names[attribution.class_ids.index(class_id)],
        score=scores.own.tolist(),
        rival=scores.rival.tolist(),
        discriminative_mean=inside.mean.tolist(),
        discriminative_total=inside.total.tolist(),
        non_discriminative_mean=outside.mean.tolist(),
        non_discriminative_total=outside.total.tolist(),
        discriminative_positions=inside.positions,
        non_discriminative_positions=outside.positions,
        undefined_positions=inside.undefined + outside.undefined,
    )


@dataclass(frozen=True)
class LandscapeView:
    """Which surroundings of a picture are looked at.

    Args:
        axis: "climb" is x^T - x^0, against an attack of as many steps; "gradient" is the gradient of the class score
            at x^0, and the attack its opposite. Both are brought to the length of the climb.
        points: Side of the planes, odd.
        seed: Of the random directions.
    """

    axis: Literal["climb", "gradient"]
    points: int
    seed: int


def measure_landscapes(method: AdvCAM, sample: TruthSample, view: LandscapeView) -> Landscapes:
    """Loss and score along the climb and the attack, and on their planes, at the scale nearest to 1.

    Args:
        method: The climb of the base setting.
        sample: The picture.
        view: What to look at.
    """
    nearest = method.with_settings(method.settings, [min(method.scales, key=lambda scale: abs(scale - 1))])
    (attribution,) = nearest([sample.picture], [sample.class_ids], record="all")
    trajectories = (nearest_to_one(attribution, class_id) for class_id in attribution.class_ids)
    named = zip(trajectories, attribution.class_names, strict=True)
    return Landscapes([_class_landscape(nearest, sample, view, *one) for one in named])


def _class_landscape(
    method: AdvCAM, sample: TruthSample, view: LandscapeView, trajectory: Trajectory, class_name: str
) -> ClassLandscape:
    classifier, class_id = method.classifier, trajectory.class_id
    picture, climbed = climbed_pictures(trajectory, classifier)
    seed = int.from_bytes(hashlib.sha256(f"{view.seed} {class_id} {sample.name}".encode()).digest()[:7])
    line, plane = coordinates(LINE_POINTS), coordinates(view.points)

    def look(direction: Tensor) -> Direction:
        axis = scaled_to(direction, climbed)
        along = profile(classifier, picture, class_id, axis, line)
        across = surface(classifier, picture, class_id, axis, random_direction(axis, seed), plane)
        return Direction(
            length=float(direction.double().square().mean().sqrt()),
            line_loss=along.loss[:, 0].tolist(),
            line_score=along.score[:, 0].tolist(),
            plane_loss=across.loss.tolist(),
            plane_score=across.score.tolist(),
        )

    if view.axis == "gradient":
        gradient = gradient_direction(classifier, picture, class_id)
        climb, attack = look(gradient), look(-gradient)
    else:
        steps = len(trajectory.maps) - 1
        attacked = attack_direction(classifier, picture, class_id, method.settings, steps, method.flip)
        climb, attack = look(climbed), look(attacked)
    return ClassLandscape(class_id, class_name, line.tolist(), plane.tolist(), climb, attack)
