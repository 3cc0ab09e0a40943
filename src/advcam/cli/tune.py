"""`advcam tune`: settings for your data from a labelled handful. `app.py` registers it."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from advcam.cli.folders import LocalPath

if TYPE_CHECKING:
    from advcam.pipeline.tuning.search import Trial
    from advcam.pipeline.tuning.tune import TunePlan


def tune(
    data: Path,
    *,
    out: LocalPath,
    split: str | None = None,
    ids: Path | None = None,
    labelled: int = 20,
    layout: str | None = None,
    groups: Path | None = None,
    budget: float = 100_000,
    max_trials: int = 40,
    max_iterations: int = 12,
    scales: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True)] = None,
    max_side: int | None = None,
    folds: int = 5,
    seed: int = 0,
    model: str = "lite0",
    weights: Path | None = None,
    class_names: Path | None = None,
    num_classes: int | None = None,
    output_stride: Literal[8, 16, 32] | None = None,
    multi_label: bool = False,
    device: str = "cpu",
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Choose settings on 10 to 50 pictures with masks: recipe.yaml, and what it gains on pictures held out.

    The same command goes on where it stopped; a larger --budget adds trials.

    Args:
        data: Root folder of the data set.
        out: Folder of the search.
        split: Draw the pictures from this split; do not test on them afterwards.
        ids: Or take the pictures of this text file, an id a line.
        labelled: Pictures to draw.
        layout: Of the data set; found if left out.
        groups: JSON with the classifier's outputs for each class, where it was trained on other classes.
        budget: Network passes (of a working picture at scale 1) that may be spent.
        max_trials: Settings to try at most.
        max_iterations: Most steps T.
        scales: Sizes of which every choice is tried, 4 at most.
        max_side: Larger pictures are worked on at this size; 0 for no limit.
        folds: Of the cross-validation.
        seed: Of the draw and the search.
        model: See `advcam models`.
        weights: safetensors or PyTorch file (tensors only).
        class_names: Text file, one name a line.
        num_classes: Outputs of the network.
        output_stride: Finer maps, where the network allows it.
        multi_label: The outputs are independent (sigmoid).
        device: cpu, cuda, cuda:1, mps.
        quiet: No progress.
        json_: Print the content of tune.json.
    """
    from advcam.pipeline.tuning.outputs import words
    from advcam.pipeline.tuning.tune import tune as run_tune
    from advcam.pipeline.tuning.tune import tune_settings

    network = {
        "model": model,
        "weights": weights,
        "class_names": class_names,
        "num_classes": num_classes,
        "output_stride": output_stride,
        "multi_label": multi_label,
        "device": device,
    }
    settings = tune_settings(
        data=data,
        out=out,
        split=split,
        ids=ids,
        labelled=labelled,
        layout=layout,
        groups=groups,
        model=network,
        budget=budget,
        max_trials=max_trials,
        max_iterations=max_iterations,
        scales=scales or None,
        max_side=max_side,
        folds=folds,
        seed=seed,
    )
    console = Console(stderr=True, quiet=quiet)
    with Watch(console) as progress:
        result = run_tune(settings, progress, "advcam " + shlex.join(sys.argv[1:]))
    for line in words(result):
        console.print(escape(line), highlight=False, soft_wrap=True)
    if json_:
        sys.stdout.write(json.dumps(result.content(), ensure_ascii=False) + "\n")
    return 0


class Watch:
    """The cost before the start, and a bar of the budget with the best score so far; a quiet console shows nothing."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} % of the budget"),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("so far,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self.task = self.bar.add_task("the defaults", total=None, best="")

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:  # a bar that was not started would leave an empty line
            self.bar.stop()

    def announce(self, plan: "TunePlan") -> None:
        """What it takes, in words, then the bar."""
        for note in plan.notes:
            self.console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)
        done = f", {plan.trials_done} trials already done" if plan.trials_done else ""
        self.console.print(
            f"AdvCAM with {escape(plan.model)} on {plan.pictures} labelled pictures{done}; a trial takes up to "
            f"{plan.trial_passes:,.0f} network passes of a working picture, the budget is {plan.budget:,.0f}",
            highlight=False,
            soft_wrap=True,
        )
        self.bar.start()
        self.bar.update(self.task, total=plan.budget, completed=plan.spent)

    def picture_done(self, trial: int, passes: float) -> None:
        """So many passes more."""
        self.bar.update(self.task, advance=passes, description=f"trial {trial}" if trial else "the defaults")

    def trial_done(self, trial: "Trial", best: float) -> None:
        """The best score so far, on the pictures that it is chosen on."""
        self.bar.update(self.task, best=f"best mIoU {100 * best:.1f} %")
