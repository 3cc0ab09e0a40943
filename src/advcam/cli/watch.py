"""What people see while a run works: its cost before the start, a bar with rate and time left, its end in words.

Everything goes to standard error, so that `--json` on standard output stays clean.
"""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from advcam.errors import counted, printable
from advcam.pipeline.localize import Plan, Summary
from advcam.store.places import Place

#: Pictures before which a rate says little.
_RATED = 10


class Quiet:
    """Says nothing."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def announce(self, plan: Plan) -> None:
        """Nothing."""

    def begins(self, id_: str) -> None:
        """Nothing."""

    def picture_done(self, name: str) -> None:
        """Nothing."""

    def picture_skipped(self, name: str, reason: str) -> None:
        """Nothing."""


class Watch(Quiet):
    """A progress bar with rate and time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("so far,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self.task = self.bar.add_task("starting", total=None, rate="")

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:  # a bar that was not started would leave an empty line
            self.bar.stop()

    def announce(self, plan: Plan) -> None:
        """The cost in words, then the bar."""
        self.console.print(escape(plan_in_words(plan)), highlight=False, soft_wrap=True)
        self.bar.start()
        self.bar.update(self.task, description="pictures", total=plan.pictures, completed=plan.already_done, rate="")

    def picture_done(self, name: str) -> None:
        """One step."""
        self.bar.advance(self.task)
        task = self.bar.tasks[0]
        speed = task.finished_speed or task.speed
        known = speed and task.completed >= _RATED
        self.bar.update(self.task, rate=f"{speed:.2f} pictures/s" if known else "")

    def picture_skipped(self, name: str, reason: str) -> None:
        """One step, and why the picture is left out."""
        words = escape(printable(f"{name}: {reason}"))
        self.bar.console.print(f"[yellow]skipped[/yellow] {words}", highlight=False, soft_wrap=True)
        self.bar.advance(self.task)


def plan_in_words(plan: Plan) -> str:
    """What a run is about to do, and how long it will take, in a line."""
    done = f", {plan.already_done} of them already done" if plan.already_done else ""
    time = "" if plan.seconds is None else f"; about {duration(plan.seconds)}, by a trial on a few of them"
    return (
        f"{plan.method} with {plan.model} in {plan.precision}: {counted(plan.pictures, 'picture')}{done}; "
        f"{counted(plan.cost.triples, 'map')} (picture x class x scale), "
        f"about {plan.cost.passes:,.0f} network passes of a working picture{time}"
    )


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}" if seconds >= 10 * length else f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def say_summary(console: Console, summary: Summary, folder: Place) -> None:
    """The end of a run in words."""
    for warning in summary.warnings:
        console.print(f"[yellow]note[/yellow] {escape(printable(warning))}", highlight=False, soft_wrap=True)
    done = f"{counted(summary.computed, 'picture')} computed in {summary.seconds:g} s"
    done += f", {summary.already_done} were already done" if summary.already_done else ""
    done += f", {len(summary.skipped)} skipped (named in summary.json and the report)" if summary.skipped else ""
    state = "[yellow]interrupted[/yellow]" if summary.interrupted else "[green]done[/green]"
    console.print(f"{state} {done}", soft_wrap=True)
    if summary.interrupted:
        console.print("everything so far is valid; the same command goes on where it stopped")
    if not summary.interrupted or (folder / "report.html").exists():
        console.print(f"look at   {escape(str(folder / 'report.html'))}", highlight=False, soft_wrap=True)
    console.print(
        f"masks in  {escape(str(folder / 'masks'))}, boxes in boxes.json, maps in maps/",
        highlight=False,
        soft_wrap=True,
    )
