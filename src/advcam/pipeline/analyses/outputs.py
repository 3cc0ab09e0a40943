"""Tables, figures and summary of an analysis, in files that are whole or absent."""

import csv
import io
import json
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

import advcam
from advcam.errors import RunError
from advcam.pipeline.analyses.results import (
    AmplificationRow,
    Analysis,
    LandscapeRow,
    SeedScores,
    Sweep,
    TrajectoryRow,
)
from advcam.report.analysis_figures import (
    AmplificationCurves,
    LandscapeLines,
    LandscapePlanes,
    StepsPanel,
    SweepPanel,
    TrajectoryCurves,
    amplification_figure,
    landscape_figure,
    lines_figure,
    render,
    steps_figure,
    sweeps_figure,
    trajectory_figure,
)
from advcam.store.files import replacing, write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Numbers = NDArray[np.float64]

FIGURES = ("trajectory", "regularisers", "sweeps", "amplification", "lines", "landscape")
#: How figures write the constants.
SYMBOLS = {
    "iterations": "steps $T$",
    "penalty": "penalty $λ$",
    "mask_threshold": "mask threshold $τ$",
    "step_size": "step size $ξ$",
    "other_classes": "other classes",
}
#: Pictures whose planes a figure shows; the table has all.
SHOWN_PLANES = 3


def write_outputs(folder: Path, analysis: Analysis, sweeps: Sequence[Sweep], facts: Mapping[str, Any]) -> None:
    """Write trajectory, amplification, sweeps, landscape and curvature (CSV), analysis.json, and figures/ (PNG, PDF).

    Args:
        folder: Where to.
        analysis: The numbers.
        sweeps: Which runs make up which sweep.
        facts: What analysis.json says of settings and counts; versions and the medians of the curvature are added.

    Raises:
        RunError: A file cannot be written.
    """
    for name in ("trajectory", "amplification", "sweeps", "landscape", "curvature"):
        write_text(folder / f"{name}.csv", table(getattr(analysis, name)))
    figures = analysis_figures(analysis, sweeps, bool(facts["multi_label"]))
    _write_figures(folder / "figures", figures)
    summary = dict(facts) | {
        "figures": sorted(figures),
        "curvature_medians": _medians(analysis),
        "versions": _versions(),
    }
    write_text(folder / "analysis.json", json.dumps(_strict(summary), indent=2, ensure_ascii=False) + "\n")


def table(rows: Sequence["DataclassInstance"]) -> str:
    """Rows as CSV: a column a field, a field that is itself a record spread out; NaN is an empty cell.

    Floats are written in full, so that reading them gives the same number.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(name for name, _ in _cells(asdict(rows[0])))
        writer.writerows(["" if _is_nan(value) else value for _, value in _cells(asdict(row))] for row in rows)
    return text.getvalue()


def analysis_figures(analysis: Analysis, sweeps: Sequence[Sweep], multi_label: bool) -> dict[str, Figure]:
    """The figures by name; one that has nothing to show is absent."""
    base = analysis.trajectory[0].run
    threshold = analysis.trajectory[0].seeds.fixed_threshold
    figures = {
        "trajectory": trajectory_figure(_trajectory_curves(analysis.of_run(base))),
        "sweeps": sweeps_figure(list(_sweep_panels(analysis, sweeps)), threshold),
    }
    regularisers = [sweep for sweep in sweeps if sweep.parameter in ("penalty", "other_classes")]
    if regularisers:
        figures["regularisers"] = steps_figure([_steps_panel(analysis, sweep) for sweep in regularisers])
    panels = list(_amplification_panels(analysis, sweeps, base))
    if panels:
        figures["amplification"] = amplification_figure(panels)
    if analysis.landscape:
        loss_name = "soft-margin loss of the class" if multi_label else "cross entropy of the class"
        figures["landscape"] = landscape_figure(_planes(analysis)[:SHOWN_PLANES], loss_name)
        figures["lines"] = lines_figure(_lines(analysis, loss_name))
    return figures


def _write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Each figure as PNG and PDF; those of an earlier session that are not drawn any more are removed."""
    kinds: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")
    for name, kind in product(FIGURES, kinds):
        path = folder / f"{name}.{kind}"
        if name in figures:
            with replacing(path) as file:
                file.write(render(figures[name], kind))
        else:
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot remove {path}, which shows an earlier session ({error.strerror}); delete it") from error


def _percent(seeds: Iterable[SeedScores], label: str) -> Numbers:
    """MIoU, precision and recall at the fixed or the oracle threshold, percent, (S, 3)."""
    names = [f"{label}_{name}" for name in ("miou", "precision", "recall")]
    return 100 * np.array([[getattr(one, name) for name in names] for one in seeds])


def _trajectory_curves(rows: Sequence[TrajectoryRow]) -> TrajectoryCurves:
    return TrajectoryCurves(
        score=np.array([row.score for row in rows]),
        rival=np.array([row.rival for row in rows]),
        fixed=_percent([row.seeds for row in rows], "fixed"),
        oracle=_percent([row.seeds for row in rows], "oracle"),
        threshold=rows[0].seeds.fixed_threshold,
    )


def _sweep_panels(analysis: Analysis, sweeps: Sequence[Sweep]) -> Iterator[SweepPanel]:
    steps = len([row for row in analysis.sweeps if row.parameter == "iterations"])
    chosen = {"iterations": steps - 1} | {sweep.parameter: sweep.base for sweep in sweeps}
    for parameter, group in groupby(analysis.sweeps, key=lambda row: row.parameter):
        rows = list(group)
        curves = {label: _percent([row.seeds for row in rows], label)[:, 0].tolist() for label in ("oracle", "fixed")}
        yield SweepPanel(SYMBOLS[parameter], [row.value for row in rows], **curves, chosen=chosen[parameter])


def _steps_panel(analysis: Analysis, sweep: Sweep) -> StepsPanel:
    curves = [_percent([row.seeds for row in analysis.of_run(run)], "oracle")[:, 0] for run in sweep.runs]
    return StepsPanel(SYMBOLS[sweep.parameter], sweep.values, curves)


def _amplification_panels(analysis: Analysis, sweeps: Sequence[Sweep], base: str) -> Iterator[AmplificationCurves]:
    """The base setting, and what the L1 term changes where its weight was varied."""
    shown = [(base, "base setting")]
    for sweep in sweeps:
        if sweep.parameter == "penalty":
            shown = [(run, f"$λ$ = {value}") for run, value in zip(sweep.runs, sweep.values, strict=True)]
    for run, title in shown:
        climbs = groupby((row for row in analysis.amplification if row.run == run), key=_climb)
        grown = [rows for rows in (list(group) for _, group in climbs) if _has_both_regions(rows)]
        if grown:
            names = (
                "discriminative_total",
                "non_discriminative_total",
                "discriminative_mean",
                "non_discriminative_mean",
            )
            yield AmplificationCurves(
                title, *(np.array([[getattr(r, n) for r in rows] for rows in grown]) for n in names)
            )


def _climb(row: AmplificationRow | LandscapeRow) -> tuple[str, int]:
    return row.picture, row.class_id


def _has_both_regions(rows: Sequence[AmplificationRow]) -> bool:
    return not any(math.isnan(value) for value in (rows[0].discriminative_total, rows[0].non_discriminative_total))


def _planes(analysis: Analysis) -> list[LandscapePlanes]:
    planes = []
    for _, group in groupby((row for row in analysis.landscape if row.kind == "plane"), key=_climb):
        rows = list(group)
        grid = np.unique([row.a for row in rows])
        losses = {
            name: np.array([row.loss for row in rows if row.direction == name]).reshape(len(grid), len(grid))
            for name in ("climb", "attack")
        }
        planes.append(LandscapePlanes(f"{rows[0].picture}, {rows[0].class_name}", grid, **losses))
    return planes


def _lines(analysis: Analysis, loss_name: str) -> LandscapeLines:
    """What lies ahead of the pictures, 0 <= a <= 1."""
    ahead = [row for row in analysis.landscape if row.kind == "line" and row.a >= 0]
    grid = np.unique([row.a for row in ahead])
    values = {
        f"{direction}_{name}": np.array([getattr(r, name) for r in ahead if r.direction == direction]).reshape(
            -1, len(grid)
        )
        for direction in ("climb", "attack")
        for name in ("loss", "score")
    }
    return LandscapeLines(grid, loss_name, **values)


def _medians(analysis: Analysis) -> dict[str, dict[str, float]]:
    """Medians over the climbs of the columns of curvature.csv, by direction."""
    medians: dict[str, dict[str, float]] = {}
    for direction in ("climb", "attack"):
        rows = [asdict(row) for row in analysis.curvature if row.direction == direction]
        names = [name for name, value in rows[0].items() if isinstance(value, float)] if rows else []
        medians[direction] = {name: float(np.median([row[name] for row in rows])) for name in names}
    return medians


def _versions() -> dict[str, str]:
    return {
        "advcam": advcam.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "matplotlib": mpl.__version__,
    }


def _cells(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from value.items()
        else:
            yield name, value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _strict(value: Any) -> Any:  # noqa: ANN401, any JSON
    """The value with null for NaN and infinity, which JSON does not know."""
    if isinstance(value, Mapping):
        return {name: _strict(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
