"""From the records of an analysis to its results: rows of tables, summed over pictures where a protocol asks for it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from advcam.analysis.landscape import Bend, bend
from advcam.errors import DatasetError
from advcam.evaluate.segmentation import ConfusionMatrix, SegmentationScores
from advcam.pipeline.analyses.records import ClassLandscape, Climbs, Direction, Landscapes

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class SeedScores:
    """Seeds of all pictures as shares: at the fixed threshold, and at the best one of this very row (an oracle).

    Precision and recall are those of the foreground, pooled over pixels.
    """

    fixed_threshold: float
    fixed_miou: float
    fixed_precision: float
    fixed_recall: float
    oracle_threshold: float
    oracle_miou: float
    oracle_precision: float
    oracle_recall: float


@dataclass(frozen=True)
class TrajectoryRow:
    """One run after step t; `score` and `rival` are means over its climbs at the scale nearest to 1."""

    run: str
    t: int
    pictures: int
    climbs: int
    score: float
    rival: float
    seeds: SeedScores


@dataclass(frozen=True)
class SweepRow:
    """The seeds after the last step (for `iterations`: after that many steps) at one value of one constant."""

    parameter: str
    value: str
    run: str
    t: int
    seeds: SeedScores


@dataclass(frozen=True)
class AmplificationRow:
    """One climb (picture, class) of one run after step t; see `advcam.analysis.amplification`."""

    run: str
    picture: str
    class_id: int
    class_name: str
    t: int
    score: float
    rival: float
    discriminative_mean: float
    discriminative_total: float
    non_discriminative_mean: float
    non_discriminative_total: float
    discriminative_positions: int
    non_discriminative_positions: int
    undefined_positions: int


@dataclass(frozen=True)
class LandscapeRow:
    """One point: a and b in lengths of the climb; `kind` is "line" (b = 0, finer) or "plane"."""

    picture: str
    class_id: int
    class_name: str
    direction: str
    kind: str
    a: float
    b: float
    loss: float
    score: float


@dataclass(frozen=True)
class CurvatureRow:
    """How the line along one direction bends; see `advcam.analysis.landscape.Bend`.

    `length` is the root mean square over the values of the normalised picture, of the attack before it was brought to
    the length of the climb.
    """

    picture: str
    class_id: int
    class_name: str
    direction: str
    length: float
    loss_change: float
    loss_at_origin: float
    loss_sharpest: float
    score_change: float
    score_at_origin: float
    score_sharpest: float


@dataclass(frozen=True)
class Sweep:
    """One constant of the climb and the runs of its values, in order.

    Args:
        parameter: Field of `ClimbSettings`.
        values: As tables and figures write them.
        runs: Names of the runs.
        base: Index of the base setting.
    """

    parameter: str
    values: tuple[str, ...]
    runs: tuple[str, ...]
    base: int


@dataclass(frozen=True, eq=False)
class Analysis:
    """The results, row by row as in the tables."""

    trajectory: list[TrajectoryRow]
    amplification: list[AmplificationRow]
    sweeps: list[SweepRow]
    landscape: list[LandscapeRow]
    curvature: list[CurvatureRow]

    def of_run(self, name: str) -> list[TrajectoryRow]:
        """The trajectory of one run, t ascending."""
        return [row for row in self.trajectory if row.run == name]


class Collector:
    """Adds up records, picture by picture; what it holds grows with climbs, not with pixels.

    Args:
        runs: Names of the runs, the base first.
        num_classes: The background counted.
        thresholds: Background values of the seeds, ascending.
        threshold: The fixed one among them.
    """

    def __init__(self, runs: Sequence[str], num_classes: int, thresholds: Sequence[float], threshold: float) -> None:
        self.num_classes, self.thresholds = num_classes, np.array(thresholds)
        self.fixed = int(np.abs(self.thresholds - threshold).argmin())
        self.pictures = 0
        self._seeds: dict[str, list[dict[tuple[int, int], Numbers]]] = {name: [] for name in runs}
        self._climbs: dict[str, list[AmplificationRow]] = {name: [] for name in runs}
        self._landscape: list[LandscapeRow] = []
        self._curvature: list[CurvatureRow] = []

    def add(self, picture: str, climbs: Iterable[tuple[str, Climbs]], landscapes: Landscapes | None) -> None:
        """One picture: its record under each run, and its surroundings if they were looked at."""
        self.pictures += 1
        for run, record in climbs:
            self._add_seeds(run, record)
            self._climbs[run] += _climb_rows(run, picture, record)
        for one in landscapes.classes if landscapes else []:
            for name, direction in (("climb", one.climb), ("attack", one.attack)):
                self._landscape += _landscape_rows(picture, one, name, direction)
                self._curvature.append(_curvature_row(picture, one, name, direction))

    def analysis(self, sweeps: Sequence[Sweep]) -> Analysis:
        """The results of everything that was added.

        Raises:
            DatasetError: The truth of all pictures is ignored everywhere.
        """
        rows = {run: [self._row(run, t) for t in range(len(seeds))] for run, seeds in self._seeds.items()}
        return Analysis(
            trajectory=[row for of_run in rows.values() for row in of_run],
            amplification=[row for of_run in self._climbs.values() for row in of_run],
            sweeps=_sweep_rows(rows, sweeps),
            landscape=self._landscape,
            curvature=self._curvature,
        )

    def _add_seeds(self, run: str, record: Climbs) -> None:
        self._seeds[run] = pooled = self._seeds[run] or [{} for _ in record.seeds]
        for sums, counts in zip(pooled, record.seeds, strict=True):
            for true, claimed, pixels in counts:
                sums[true, claimed] = sums.get((true, claimed), np.zeros(1)) + np.array(pixels)

    def _row(self, run: str, t: int) -> TrajectoryRow:
        scores = self._scores(self._seeds[run][t])
        here = [row for row in self._climbs[run] if row.t == t]
        return TrajectoryRow(
            run=run,
            t=t,
            pictures=self.pictures,
            climbs=len(here),
            score=float(np.mean([row.score for row in here])),
            rival=float(np.mean([row.rival for row in here])),
            seeds=self._chosen(scores),
        )

    def _scores(self, sums: dict[tuple[int, int], Numbers]) -> list[SegmentationScores]:
        """Scores at each threshold of pixels summed over pictures, as `SeedSweep` has them of its own."""
        scores = []
        for index in range(len(self.thresholds)):
            matrix = ConfusionMatrix(self.num_classes)
            for pair, pixels in sums.items():
                matrix.counts[pair] = pixels[index]
            scores.append(matrix.scores())
        return scores

    def _chosen(self, scores: Sequence[SegmentationScores]) -> SeedScores:
        curve = np.array([one.miou for one in scores])
        if np.isnan(curve).all():
            raise DatasetError("no pixel to score; add pictures whose truth is not ignored everywhere")
        chosen: dict[str, float] = {}
        for label, index in (("fixed", self.fixed), ("oracle", int(np.nanargmax(curve)))):
            chosen[f"{label}_threshold"] = float(self.thresholds[index])
            chosen[f"{label}_miou"] = scores[index].miou
            chosen[f"{label}_precision"] = scores[index].foreground_precision
            chosen[f"{label}_recall"] = scores[index].foreground_recall
        return SeedScores(**chosen)


def _climb_rows(run: str, picture: str, record: Climbs) -> list[AmplificationRow]:
    rows = []
    for one in record.classes:
        values = asdict(one)
        for t in range(len(one.score)):
            at_t = {name: value[t] if isinstance(value, list) else value for name, value in values.items()}
            rows.append(AmplificationRow(run=run, picture=picture, t=t, **at_t))
    return rows


def _landscape_rows(picture: str, one: ClassLandscape, name: str, direction: Direction) -> list[LandscapeRow]:
    about = (picture, one.class_id, one.class_name, name)
    line = zip(one.line, direction.line_loss, direction.line_score, strict=True)
    rows = [LandscapeRow(*about, "line", a, 0.0, loss, score) for a, loss, score in line]
    for a, losses, scores in zip(one.plane, direction.plane_loss, direction.plane_score, strict=True):
        along_b = zip(one.plane, losses, scores, strict=True)
        rows += [LandscapeRow(*about, "plane", a, b, loss, score) for b, loss, score in along_b]
    return rows


def _curvature_row(picture: str, one: ClassLandscape, name: str, direction: Direction) -> CurvatureRow:
    def of(values: Sequence[float]) -> tuple[float, float, float]:
        found: Bend = bend(np.array(one.line), np.array(values))
        return found.change, found.at_origin, found.sharpest

    about = (picture, one.class_id, one.class_name, name, direction.length)
    return CurvatureRow(*about, *of(direction.line_loss), *of(direction.line_score))


def _sweep_rows(rows: dict[str, list[TrajectoryRow]], sweeps: Sequence[Sweep]) -> list[SweepRow]:
    """The runs of each sweep after their last step, and the base run after each of its steps."""
    base = next(iter(rows))
    found = [("iterations", str(row.t), row) for row in rows[base]]
    for sweep in sweeps:
        pairs = zip(sweep.values, sweep.runs, strict=True)
        found += [(sweep.parameter, value, rows[run][-1]) for value, run in pairs]
    return [SweepRow(parameter, value, row.run, row.t, row.seeds) for parameter, value, row in found]
