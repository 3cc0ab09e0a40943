"""`advcam size`: what a large job needs, before anything is paid for."""

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from advcam.errors import SettingError, counted

if TYPE_CHECKING:
    from advcam.attribution.method import Method
    from advcam.scale.demand import Figures, Job, StageName
    from advcam.scale.sizing import StageSize
    from advcam.scale.workload import Cluster

#: Assumed, and said below the table: seconds until a worker has its network, and until another machine is there.
START_SECONDS, AWAY_SECONDS = 30.0, 300.0
#: Assumed: one worker in twenty is half as fast again as slow as the others.
SLOW_SHARE, SLOW_FACTOR = 0.05, 1.5


def size(
    *,
    pictures: int,
    workers: int = 16,
    workers_per_machine: int = 16,
    stages: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ("localize",),
    classes_per_picture: float = 1.5,
    picture_size: Annotated[tuple[int, int], Parameter(negative=())] = (500, 375),
    method: str = "advcam",
    effort: Literal["fast", "balanced", "paper"] | None = None,
    scales: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True, negative=())] = None,
    model: str = "lite0",
    device: str = "cpu",
    device_seconds_per_pass: float | None = None,
    overlays: bool = True,
    mttf_hours: float | None = None,
    price_per_machine_hour: float | None = None,
    seed: int = 0,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Hours, machines, storage, traffic and memory of a large job, by a simulation of its shards; writes nothing.

    Args:
        pictures: How many.
        workers: Processes that work on shards: one core each, or one GPU each.
        workers_per_machine: They die together where a machine fails.
        stages: train-classifier, localize, refine-crf, refine-affinity, refine-irn, train-segmenter, predict.
        classes_per_picture: Mean number of classes to explain.
        picture_size: Mean width and height in pixels.
        method: See `advcam methods`.
        effort: What the climb may cost; balanced when left away.
        scales: Sizes of the picture whose maps are joined.
        model: Any name of `advcam models --search`; weights do not matter here.
        device: What a worker has: cpu is one core; of a GPU, reading and writing go on beside it.
        device_seconds_per_pass: Of a picture of 375 x 500; when left away it is measured here, on one thread.
        overlays: Whether pictures with their maps over them are written.
        mttf_hours: Mean time until a machine fails, or a spot machine is taken back; never when left away.
        price_per_machine_hour: In any currency.
        seed: Of the simulation.
        json_: Print everything as JSON.
    """
    from dataclasses import asdict

    from advcam.attribution.registry import create_method
    from advcam.attribution.views import working_size
    from advcam.classifiers.catalogue import load_classifier
    from advcam.pipeline.chain.stage import PASS_PIXELS
    from advcam.scale.demand import Figures, Job
    from advcam.scale.ray_engine import AT_HAND
    from advcam.scale.sizing import size as size_stage
    from advcam.scale.workload import Cluster, Interruption

    names = _checked(stages)
    _check_positive(
        pictures=pictures,
        workers=workers,
        workers_per_machine=workers_per_machine,
        classes_per_picture=classes_per_picture,
        picture_size=min(picture_size),
        device_seconds_per_pass=device_seconds_per_pass,
        mttf_hours=mttf_hours,
        price_per_machine_hour=price_per_machine_hour,
    )
    given = {"effort": effort, "scales": scales or None}
    # Neither passes nor speed depend on the weights, so that any network can be asked about.
    classifier = load_classifier(model, weights="random", device="cpu" if device_seconds_per_pass else device)
    chosen = create_method(method, classifier, **{name: value for name, value in given.items() if value is not None})
    width, height = working_size(picture_size, chosen.max_side)
    passes = chosen.cost([1]).passes * (min(classes_per_picture, 1) if chosen.one_pass else classes_per_picture)
    job = Job(pictures, passes, classes_per_picture, width * height / PASS_PIXELS, overlays)
    measured = device_seconds_per_pass is None
    clock = time.process_time if device == "cpu" else time.perf_counter  # a busy core is not a slow one
    seconds = device_seconds_per_pass or seconds_of_a_pass(chosen, (width, height), clock)
    figures = Figures().at_pass(seconds, apart=device != "cpu")
    failing = () if mttf_hours is None else (Interruption(3600 * mttf_hours, AWAY_SECONDS),)
    cluster = Cluster(workers, workers_per_machine, START_SECONDS, SLOW_SHARE, SLOW_FACTOR, failing, at_hand=AT_HAND)
    sizes = [size_stage(name, job, figures, cluster, price=price_per_machine_hour, seed=seed) for name in names]
    if json_:
        found = {"job": asdict(job), "cluster": asdict(cluster), "figures": asdict(figures)}
        sys.stdout.write(json.dumps(found | {"stages": [asdict(one) for one in sizes]}) + "\n")
    else:
        lines = [*table(sizes), "", *assumptions(job, figures, cluster, device, measured)]
        sys.stdout.write("\n".join(lines) + "\n")
    return 0


def seconds_of_a_pass(method: "Method", size: tuple[int, int], clock: Callable[[], float]) -> float:
    """Seconds of a pass over 375 x 500 pixels, as this method makes them: the least steps of it at each of its scales.

    On a CPU on one thread, as a worker has one core. A pass of the whole method is dearer than one that is timed alone
    (by half with the embedded network): the way back is, and pictures of twice the size leave the cache.

    Args:
        method: Which.
        size: Width and height of the picture, of noise.
        clock: In seconds.
    """
    import numpy as np
    import torch
    from PIL import Image

    from advcam.pipeline.chain.stage import PASS_PIXELS

    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    threads, seconds = torch.get_num_threads(), 0.0
    torch.set_num_threads(1)
    try:
        for scale in method.scales:
            brief = method.brief(scale)
            times = []
            for _ in range(3):  # the first makes ready what later ones use
                started = clock()
                brief([Image.fromarray(noise)], [[0]])
                times.append(clock() - started)
            seconds += min(times[1:]) * method.passes(scale) / brief.passes(scale)
    finally:
        torch.set_num_threads(threads)
    return seconds / (method.cost([1]).passes * size[0] * size[1] / PASS_PIXELS)


def table(sizes: "Sequence[StageSize]") -> list[str]:
    """Lines: a row for each quantity, a column for each stage."""
    rows: list[tuple[str, list[str]]] = [("", [one.stage for one in sizes])]
    rows += [(name, [say(one) for one in sizes]) for name, say in _ROWS.items()]
    if sizes[0].cost is not None:
        rows.append(("cost", [f"{one.cost:,.2f}" for one in sizes]))
    wide = [max(len(name) for name, _ in rows)]
    wide += [max(len(cells[column]) for _, cells in rows) for column in range(len(sizes))]
    lines = []
    for name, cells in rows:
        columns = [cell.rjust(width) for cell, width in zip(cells, wide[1:], strict=True)]
        lines.append("  ".join([name.ljust(wide[0]), *columns]))
    if len(sizes) > 1:
        hours, machine_hours = sum(one.hours for one in sizes), sum(one.machine_hours for one in sizes)
        stored = in_bytes(sum(one.stored_bytes for one in sizes))
        lines.append(f"together: {_in_time(hours)}, {machine_hours:,.0f} machine hours, {stored} to keep")
    return lines


def assumptions(job: "Job", figures: "Figures", cluster: "Cluster", device: str, measured: bool) -> list[str]:
    """What the table stands on, a line each."""
    from advcam.pipeline.chain.stage import PASS_PIXELS
    from advcam.pipeline.shards import SHARD_PICTURES
    from advcam.scale.sizing import IN_STEP

    what = "one core" if device == "cpu" else device
    how = "measured here" if measured else "as given"
    passes, megapixels = job.passes * job.area, job.area * PASS_PIXELS / 1e6
    of_pictures = f"{counted(job.pictures, 'picture')} of {megapixels:.2f} megapixels with {job.classes:g} classes"
    slow = f"{100 * cluster.slow_share:g} % of the workers take {cluster.slow_factor:g} times as long"
    failing = [
        f"a machine fails every {one.every_seconds / 3600:g} hours and another comes in {one.away_seconds:g} s"
        for one in cluster.interruptions
    ]
    overlays = "" if job.overlays else "; no overlays"
    return [
        "measured",
        f"  {figures.pass_seconds:.3g} s for a pass of 375 x 500 pixels on {what}, {how}",
        "  all other seconds and bytes: VOC 2012, the embedded network (benchmarks/sizing.py, docs/sizing.md)",
        "assumed",
        f"  {of_pictures}; {passes:.1f} passes each for maps{overlays}",
        f"  {cluster.start_seconds:g} s to start a worker; {slow}",
        f"  {'; '.join(failing) or 'no machine fails'}",
        f"  shards of {SHARD_PICTURES}, {cluster.at_hand} at hand; a dead worker's are done again from their beginning",
        f"  trainings keep {100 * IN_STEP:g} % of their speed in step; store and network keep up",
    ]


def in_bytes(count: float) -> str:
    """Bytes in the unit that a person would use (powers of 1,000)."""
    for size_, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size_:
            return f"{count / size_:.3g} {unit}"
    return f"{count:.0f} B"


#: What the table says of a stage.
_ROWS: "dict[str, Callable[[StageSize], str]]" = {
    "workers with work": lambda one: f"{one.workers:,}",
    "machines": lambda one: f"{one.machines:,}",
    "worker seconds a picture": lambda one: f"{one.picture_seconds:.3g}",
    "from start to end": lambda one: _in_time(one.hours),
    "machine hours": lambda one: f"{one.machine_hours:,.0f}",
    "useful share of the workers' time": lambda one: f"{100 * one.busy:.1f} %",
    "work done twice, worker hours": lambda one: f"{one.lost_hours:,.1f}",
    "from the first idle worker to the end": lambda one: _in_time(one.tail_hours),
    "to keep": lambda one: in_bytes(one.stored_bytes),
    "files to keep": lambda one: f"{one.stored_objects:,}",
    "read": lambda one: in_bytes(one.read_bytes),
    "written": lambda one: in_bytes(one.written_bytes),
    "traffic a second": lambda one: in_bytes(one.traffic),
    "requests a second": lambda one: f"{one.requests:,.1f}",
    "memory of a machine": lambda one: in_bytes(one.machine_bytes),
    "memory of the list of pictures": lambda one: in_bytes(one.head_bytes),
}


def _in_time(hours: float) -> str:
    from advcam.cli.watch import duration  # which is heavy: --help is to answer at once

    return duration(3600 * hours)


def _checked(stages: Sequence[str]) -> "list[StageName]":
    from advcam.scale.demand import STAGES

    for name in stages:
        if name not in STAGES:
            raise SettingError(f"no stage is called {name!r}; there are {', '.join(STAGES)}")
    return [stage for stage in STAGES if stage in stages]


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise SettingError(f"--{name.replace('_', '-')} is positive; got {value:g}")
