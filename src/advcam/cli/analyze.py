"""`advcam analyze`: the paper's analyses on pictures with masks, as figures and tables."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from advcam.cli.folders import LocalPath
from advcam.errors import counted

if TYPE_CHECKING:
    from advcam.pipeline.analyses.analyze import AnalysisPlan

Numbers = Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True)]


def analyze(
    data: Path,
    *,
    out: LocalPath,
    split: str,
    layout: str | None = None,
    groups: Path | None = None,
    pictures: int = 20,
    iterations: int | None = None,
    scales: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (1.0,),
    max_side: int | None = None,
    penalties: Numbers = None,
    mask_thresholds: Numbers = None,
    step_sizes: Numbers = None,
    sweep: bool = True,
    landscape_pictures: int = 4,
    landscape_points: int = 21,
    model: str = "lite0",
    weights: Path | None = None,
    class_names: Path | None = None,
    multi_label: bool = False,
    device: str = "cpu",
    seed: int = 0,
    quiet: bool = False,
) -> int:
    """What a climb does: loss landscape, amplification, score and seeds over the steps, sweeps of the constants.

    Writes figures (PNG and PDF) and their numbers (CSV). The same command goes on where it stopped.

    Args:
        data: Root folder of a data set with masks.
        out: Folder of figures and tables.
        split: Such as train.
        layout: Of the data set; found if left out.
        groups: JSON with the classifier's outputs for each class, where it was trained on other classes.
        pictures: So many of the split, evenly spread.
        iterations: T, steps of the climb.
        scales: Of the working picture.
        max_side: Larger pictures are worked on at this size.
        penalties: Values of lambda to compare (0, 0.3, 1, 3).
        mask_thresholds: Values of tau (0.3, 0.5, 0.7).
        step_sizes: Values of xi (0.0125, 0.025, 0.05, 0.1).
        sweep: Whether constants are varied at all; each value costs a run.
        landscape_pictures: The surroundings of so many pictures are looked at.
        landscape_points: Side of the planes, odd.
        model: See `advcam models`.
        weights: safetensors or PyTorch file (tensors only).
        class_names: Text file, one name a line.
        multi_label: The outputs are independent (sigmoid).
        device: cpu, cuda, cuda:1, mps.
        seed: Of the random directions.
        quiet: No progress.
    """
    from advcam.pipeline.analyses.dataset import analyze_dataset

    values = {"penalty": penalties, "mask_threshold": mask_thresholds, "step_size": step_sizes}
    sweeps: dict[str, object] = {name: given for name, given in values.items() if given is not None}
    if not sweep:
        sweeps = dict.fromkeys([*values, "other_classes"], ())
    network: dict[str, object] = {"model": model, "weights": weights, "class_names": class_names}
    network |= {"multi_label": multi_label, "device": device}
    console = Console(stderr=True, quiet=quiet)
    skipped = analyze_dataset(
        data,
        split,
        Watch(console),
        layout=layout,
        groups=groups,
        count=pictures,
        settings={
            "out": out,
            "model": network,
            "method": {} if max_side is None else {"max_side": max_side},
            "scales": scales,
            "iterations": iterations,
            "sweeps": sweeps,
            "landscape_pictures": landscape_pictures,
            "landscape_points": landscape_points,
            "seed": seed,
        },
    )
    if not quiet:
        sys.stdout.write(f"figures and tables in {out}\n")
    return 1 if skipped else 0


class Watch:
    """A line for each finished piece of work, and how many there are."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.done = 0

    def announce(self, plan: "AnalysisPlan") -> None:
        """What will be measured."""
        pictures = "pictures" if plan.pictures is None else counted(plan.pictures, "picture")
        self.console.print(
            f"AdvCAM with {escape(plan.model)}: {pictures} under {counted(len(plan.runs), 'setting')} "
            f"({escape(', '.join(plan.runs))}), landscapes of {plan.landscape_pictures}",
            highlight=False,
            soft_wrap=True,
        )

    def unit_done(self, picture: str, unit: str, measured: bool) -> None:
        """One (picture, setting)."""
        self.done += 1
        before = "" if measured else " (measured before)"
        self.console.print(f"{self.done}: {escape(picture)} {escape(unit)}{before}", highlight=False, soft_wrap=True)

    def picture_skipped(self, picture: str, reason: str) -> None:
        """A picture that cannot be used."""
        self.console.print(f"[yellow]skipped[/yellow] {escape(picture)}: {escape(reason)}", highlight=False)
