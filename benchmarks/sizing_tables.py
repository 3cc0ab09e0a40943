"""The tables and the plot of docs/sizing.md, from measured figures."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from advcam.attribution.advcam import AdvCAM
from advcam.attribution.views import working_size
from advcam.classifiers.catalogue import load_classifier
from advcam.cli.size import AWAY_SECONDS, SLOW_FACTOR, SLOW_SHARE, START_SECONDS, in_bytes
from advcam.cli.watch import duration
from advcam.errors import SettingError
from advcam.pipeline.chain.stage import PASS_PIXELS
from advcam.pipeline.shard_rows import FLUSH_SECONDS
from advcam.report.plotting import BLACK, BLUE, GREEN, VERMILION, panel_row, render
from advcam.scale.demand import STAGES, Figures, Job, demand_of
from advcam.scale.ray_engine import AT_HAND
from advcam.scale.schedule import simulate
from advcam.scale.sizing import size
from advcam.scale.workload import Cluster, Interruption, Load

#: Pictures, mean classes of one and its mean size in pixels: of the train splits, and of two sizes that are made up.
SIZES: dict[str, tuple[int, float, tuple[int, int]]] = {
    "VOC 2012 train_aug": (10_582, 1.5, (500, 375)),
    "COCO 2014 train": (82_081, 2.9, (640, 480)),
    "ImageNet-1K": (1_281_167, 1.0, (400, 350)),
    "10 M": (10_000_000, 1.5, (500, 375)),
    "100 M": (100_000_000, 1.5, (500, 375)),
}
#: Of a machine of cores and of one of GPUs.
CORES, GPUS = 16, 8


def job_of(name: str, overlays: bool = True) -> Job:
    """`balanced` on a data set."""
    pictures, classes, size_ = SIZES[name]
    width, height = working_size(size_, 512)
    passes = AdvCAM(load_classifier()).cost([1]).passes * classes
    return Job(pictures, passes, classes, width * height / PASS_PIXELS, overlays)


def cluster_of(workers: int, per_machine: int, **others: Any) -> Cluster:  # noqa: ANN401, fields of Cluster
    """As `advcam size` assumes it."""
    common = {"slow_share": SLOW_SHARE, "slow_factor": SLOW_FACTOR, "at_hand": AT_HAND}
    return Cluster(workers, per_machine, START_SECONDS, **(common | others))


def size_table(core: Figures, gpu: Figures) -> None:
    """`localize` of each data set: time from start to end, and what it leaves."""
    head("data set, pictures, passes, 16 cores, 64, 1000, core hours, 1 GPU (assumed), 8, 64, maps, masks, overlays")
    for name in SIZES:
        job = job_of(name)
        cells = [name, f"{job.pictures:,}", f"{job.passes * job.area:.1f}"]
        sizes = [size("localize", job, core, cluster_of(workers, CORES)) for workers in (16, 64, 1000)]
        cells += [duration(3600 * one.hours) for one in sizes]
        cells.append(f"{job.pictures * sizes[0].picture_seconds / 3600:,.0f}")
        sizes = [size("localize", job, gpu, cluster_of(workers, GPUS)) for workers in (1, 8, 64)]
        cells += [duration(3600 * one.hours) for one in sizes]
        demand = demand_of("localize", job, core)
        cells += [in_bytes(job.pictures * one) for one in (demand.row_bytes, *demand.files)]
        row(*cells)


def stage_table(core: Figures, gpu: Figures) -> None:
    """Each stage of a chain on ten million pictures."""
    job = job_of("10 M")
    head("stage, core seconds a picture, 1000 cores, machine hours, read, written, kept, requests/s, 64 GPUs (assumed)")
    for stage in STAGES:
        one = size(stage, job, core, cluster_of(1000, CORES))
        other = size(stage, job, gpu, cluster_of(64, GPUS))
        cells = [stage, f"{one.picture_seconds:.3g}", duration(3600 * one.hours), f"{one.machine_hours:,.0f}"]
        cells += [in_bytes(one.read_bytes), in_bytes(one.written_bytes), in_bytes(one.stored_bytes)]
        row(*cells, f"{one.requests:,.0f}", duration(3600 * other.hours))


def troubles() -> Iterator[tuple[str, int, float, dict[str, Any]]]:
    """What goes wrong: in words, pictures of a shard, share of requests that fail, and how the cluster differs."""
    calm: dict[str, Any] = {"slow_share": 0.0}
    yield "nothing", 64, 0.0, calm
    for pictures in (16, 256, 1024, 4096):
        yield f"shards of {pictures:,}", pictures, 0.0, calm
    for share, factor in ((0.05, 1.5), (0.05, 4.0), (0.2, 4.0)):
        slow = {"slow_share": share, "slow_factor": factor}
        yield f"{100 * share:g} % of the workers take {factor:g} times as long", 64, 0.0, slow
    for hours in (100, 24, 4, 1):
        failing = calm | {"interruptions": (Interruption(3600.0 * hours, AWAY_SECONDS),)}
        yield f"a machine lives {hours:,} h", 64, 0.0, failing
    failing = calm | {"interruptions": (Interruption(3600.0 * 4, AWAY_SECONDS),)}
    for pictures in (16, 1024):
        yield f"a machine lives 4 h, shards of {pictures:,}", pictures, 0.0, failing
    yield "a machine lives 4 h, going on at the last minute", 64, 0.0, failing | {"checkpoint_seconds": FLUSH_SECONDS}
    yield "one shard at hand", 64, 0.0, calm | {"at_hand": 1}
    yield "5 % of the requests fail, for 1 s each", 64, 0.05, calm


def trouble_table(core: Figures) -> None:
    """Ten million pictures on 1,000 cores: mean of three seeds."""
    job = job_of("10 M")
    seconds = demand_of("localize", job, core).seconds
    head("what, hours, longer by, done twice (core hours), gone or starting, tail, idle in it (core hours)")
    for name, pictures, failing, others in troubles():
        load = Load(
            job.pictures, seconds, core.spread, pictures, requests=3 * pictures, failing=failing, retry_seconds=1
        )
        played = [simulate(load, cluster_of(1000, CORES, **others), seed) for seed in range(3)]
        makespan, lost, gone, tail, idle = (
            fmean(column)
            for column in zip(
                *((one.makespan, one.lost, one.away + one.starting, one.tail, one.idle) for one in played), strict=True
            )
        )
        longer = 100 * (makespan * 1000 / job.pictures / seconds - 1)
        row(name, f"{makespan / 3600:.2f}", f"{longer:.1f} %", hours(lost), hours(gone), duration(tail), hours(idle))


def head(names: str) -> None:
    """The first two lines of a table."""
    row(*names.split(", "))
    print("|" + "---|" * len(names.split(", ")))


def row(*cells: str) -> None:
    """A line of a table."""
    print("| " + " | ".join(cells) + " |")


def hours(seconds: float) -> str:
    """Seconds as hours."""
    return f"{seconds / 3600:,.1f}"


def plot(core: Figures, path: Path) -> None:
    """How many workers make sense, and what machines that fail cost."""
    with panel_row([1, 1], 2.6) as (figure, (left, right)):
        counts = [1, 4, 16, 64, 256, 1000, 4000, 10_000]
        for name, colour in zip(SIZES, (BLUE, VERMILION, GREEN, BLACK), strict=False):
            job = job_of(name)
            used = [count for count in counts if count <= -(-job.pictures // 64)]
            busy = [size("localize", job, core, cluster_of(count, CORES)).busy for count in used]
            left.plot(used, [100 * one for one in busy], marker="o", color=colour, label=name)
        left.set(xscale="log", xlabel="workers of one core", ylabel="useful share of their time, %", ylim=(0, 102))
        left.legend(loc="lower left")
        seconds = demand_of("localize", job_of("10 M"), core).seconds
        lives = [0.5, 1, 2, 4, 8, 24, 100, 1000]
        for shard, piece, colour, label in (
            (64, FLUSH_SECONDS, BLUE, "shards of 64, going on at the last minute"),
            (64, None, GREEN, "shards of 64, from the beginning"),
            (1024, None, VERMILION, "shards of 1,024, from the beginning"),
        ):
            shares = []
            for hours in lives:
                cluster = cluster_of(
                    250, CORES, interruptions=(Interruption(3600 * hours, AWAY_SECONDS),), checkpoint_seconds=piece
                )
                try:
                    shares.append(100 * simulate(Load(1_000_000, seconds, core.spread, shard), cluster).busy)
                except SettingError:  # it would never end
                    shares.append(float("nan"))
            right.plot(lives, shares, marker="o", color=colour, label=label)
        right.set(xscale="log", xlabel="hours that a machine of 16 workers lives", ylim=(0, 102))
        right.legend(loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(figure, "png"))
