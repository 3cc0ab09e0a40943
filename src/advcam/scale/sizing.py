"""What a job needs before it is started: hours, machines, storage, traffic and memory, from measured costs.

Stages that map pictures are played through shard by shard (`schedule.py`). Trainings work in step: all processes wait
for the slowest, and an interruption of any machine sends all of them back to the last epoch (`expected_seconds`).
"""

import math
from dataclasses import dataclass, replace

from advcam.errors import SettingError
from advcam.pipeline.shard_rows import FLUSH_SECONDS
from advcam.pipeline.shards import SHARD_PICTURES
from advcam.scale.demand import Demand, Figures, Job, StageName, demand_of
from advcam.scale.schedule import expected_seconds, simulate
from advcam.scale.workload import Cluster, Interruption, Load

#: Share of its speed that a process keeps when it trains in step with others: assumed, not measured.
IN_STEP = 0.9
#: An epoch, with the start before it, that outlasts the time between interruptions so many times will not end.
_HOPELESS = 5.0


@dataclass(frozen=True)
class StageSize:
    """What a stage needs.

    Args:
        stage: Its name.
        workers: That have something to do.
        machines: They stand on.
        picture_seconds: Of a worker for a picture.
        hours: From start to end.
        ideal_hours: Without start, slow workers, interruptions and tail.
        machine_hours: Paid for.
        busy: Share of the workers' time that counted, 0 to 1.
        lost_hours: Worker hours of work that was done twice.
        tail_hours: From the first idle worker to the end.
        stored_bytes: That stay.
        stored_objects: Files that stay.
        read_bytes: Over the network.
        written_bytes: Over the network, the pieces that a finished shard replaces among them.
        traffic: Bytes a second, both ways, mean.
        requests: To the store a second, mean.
        machine_bytes: Memory of a machine.
        head_bytes: Memory for the list of pictures, in the process that hands out the shards.
        cost: Machine hours times price; None without a price.
    """

    stage: StageName
    workers: int
    machines: int
    picture_seconds: float
    hours: float
    ideal_hours: float
    machine_hours: float
    busy: float
    lost_hours: float
    tail_hours: float
    stored_bytes: float
    stored_objects: int
    read_bytes: float
    written_bytes: float
    traffic: float
    requests: float
    machine_bytes: float
    head_bytes: float
    cost: float | None


def size(
    stage: StageName, job: Job, figures: Figures, cluster: Cluster, *, price: float | None = None, seed: int = 0
) -> StageSize:
    """What a stage of a job needs on a cluster.

    Args:
        stage: Which.
        job: What is to be done.
        figures: What it costs on a worker.
        cluster: Who does it; workers that would have nothing to do are left out.
        price: Of a machine for an hour, in any currency.
        seed: Of the simulation.

    Raises:
        SettingError: Machines live too short for the stage to end.
    """
    demand, shards = demand_of(stage, job, figures), -(-job.pictures // SHARD_PICTURES)
    workers = min(cluster.workers, shards if demand.seconds else demand.batch)
    used = replace(cluster, workers=workers)
    seconds = ideal = useful = lost = tail = 0.0
    if demand.seconds:
        played = simulate(_load(job, demand, figures), used, seed)
        seconds, useful, lost, tail = played.makespan, played.useful, played.lost, played.tail
        ideal = job.pictures * demand.seconds / workers
    if demand.taught_seconds:
        processes = min(workers, demand.batch)
        work = job.pictures * demand.taught_seconds
        seconds += _taught(work, demand, replace(used, workers=processes))
        useful, ideal = useful + work, ideal + work / processes
    traffic = _Traffic.of(job, demand)
    hours = seconds / 3600
    return StageSize(
        stage=stage,
        workers=workers,
        machines=used.machines,
        picture_seconds=demand.seconds + demand.taught_seconds,
        hours=hours,
        ideal_hours=ideal / 3600,
        machine_hours=used.machines * hours,
        busy=useful / (workers * seconds),
        lost_hours=lost / 3600,
        tail_hours=tail / 3600,
        stored_bytes=job.pictures * (sum(demand.files) + demand.row_bytes),
        stored_objects=job.pictures * len(demand.files) + (shards if demand.row_bytes else 0),
        read_bytes=job.pictures * demand.read_bytes,
        written_bytes=traffic.written_bytes,
        traffic=(job.pictures * demand.read_bytes + traffic.written_bytes) / seconds,
        requests=traffic.requests / seconds,
        machine_bytes=min(workers, used.per_machine) * figures.worker_bytes,
        head_bytes=job.pictures * figures.listed_bytes,
        cost=None if price is None else price * used.machines * hours,
    )


def _load(job: Job, demand: Demand, figures: Figures) -> Load:
    return Load(job.pictures, demand.seconds, figures.spread, SHARD_PICTURES)


def _taught(work: float, demand: Demand, cluster: Cluster) -> float:
    """Seconds of a training in step, expected."""
    processes, slow = cluster.workers, cluster.slow_share * cluster.workers >= 1
    pace = (1.0 if processes == 1 else 1 / IN_STEP) * (cluster.slow_factor if slow else 1.0)
    seconds, start = work * pace / processes, cluster.start_seconds
    mean = cluster.life_seconds / cluster.machines
    epoch = seconds / demand.epochs
    if start + epoch > _HOPELESS * mean:
        raise SettingError(
            f"an epoch takes {epoch / 3600:.3g} hours and some machine fails every {mean / 3600:.3g}: the training "
            "would not end; take machines that live longer, or fewer of them"
        )
    away = sum(one.away_seconds / one.every_seconds for one in cluster.interruptions) * cluster.life_seconds
    interruption = Interruption(mean, 0.0 if math.isinf(mean) else away)
    return start + expected_seconds(seconds, epoch, interruption, start)


@dataclass(frozen=True)
class _Traffic:
    """What goes to the store and how often it is asked."""

    written_bytes: float
    requests: float

    @classmethod
    def of(cls, job: Job, demand: Demand) -> "_Traffic":
        """A shard that takes long is written in growing pieces, one a minute, each in the place of the last."""
        shards, shard_seconds = -(-job.pictures // SHARD_PICTURES), SHARD_PICTURES * demand.seconds
        pieces = int(shard_seconds // FLUSH_SECONDS) if demand.row_bytes else 0
        share = FLUSH_SECONDS / shard_seconds * pieces * (pieces + 1) / 2 if pieces else 0.0
        written = job.pictures * (sum(demand.files) + demand.row_bytes * (1 + share))
        reads = job.pictures * (demand.epochs if demand.taught_seconds else 1)
        rows = shards * (1 + 2 * pieces) if demand.row_bytes else 0  # a piece is written and removed
        return cls(written, reads + job.pictures * len(demand.files) + rows)
