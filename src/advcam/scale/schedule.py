"""How a run goes on many machines, played through in a second: a discrete-event simulation of its shards.

Shards of consecutive pictures lie in a queue, in their order; a free worker takes the next one. A worker first starts
(process and network), then works on a shard, writes it to the store and takes another. Machines fail, or are taken
back, after exponential times; all workers of one die together. The shards that a dead worker had at hand are handed out
next, the one it worked on from its last checkpoint or from its beginning, and another machine comes after a while. What
a run does at its end (boxes, report) is not part of it, nor is a store or a network that is too slow for the workers.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from advcam.errors import SettingError
from advcam.scale.workload import Cluster, Interruption, Load, shard_seconds

#: A piece of work that outlasts the life of its machine so many times is not worth a simulation: e**5 attempts.
_HOPELESS = 5.0


@dataclass(frozen=True)
class Schedule:
    """How it went. The seconds but `makespan` and `tail` are summed over the workers: together workers x makespan.

    Args:
        makespan: Seconds from the start to the last shard.
        tail: Of them, those after the first worker found nothing to do.
        useful: Work that counted.
        lost: Work that was done again.
        starting: Workers that started.
        away: Workers whose machine was gone.
        idle: Workers that found nothing to do; what the tail costs.
        workers: How many.
        shards: That were done.
        interruptions: Times that a machine was taken away.
        in_flight: Most shards that were in the hands of workers at once.
    """

    makespan: float
    tail: float
    useful: float
    lost: float
    starting: float
    away: float
    idle: float
    workers: int
    shards: int
    interruptions: int
    in_flight: int

    @property
    def busy(self) -> float:
        """Share of the workers' time that counted, 0 to 1."""
        return self.useful / (self.workers * self.makespan)


def simulate(load: Load, cluster: Cluster, seed: int = 0) -> Schedule:
    """Play a run through.

    Args:
        load: What is to be done.
        cluster: Who does it.
        seed: Of times, slow workers and interruptions; the same one gives the same schedule.

    Raises:
        SettingError: Machines live too short for a shard, or for the piece between two checkpoints, ever to be done.
    """
    _check_hope(load, cluster)
    return _Simulation(load, cluster, np.random.default_rng(seed)).run()


def expected_seconds(work: float, piece: float, interruption: Interruption, start_seconds: float = 0.0) -> float:
    """Expected time of work that one machine does in pieces, each of them again from its beginning where it is cut.

    Each piece takes (m + away) e^(start/m) (e^(piece/m) - 1), m the mean time between interruptions, which may come
    while it starts again, too (Bougeret et al., Checkpointing strategies for parallel jobs, SC 2011, proposition 1).

    Args:
        work: Seconds without interruptions.
        piece: Seconds between two checkpoints; what is left over is a shorter piece.
        interruption: Of the machine, or of the many that work in step: then `every_seconds` is that of any of them.
        start_seconds: To start again after each.
    """
    mean = interruption.every_seconds
    if math.isinf(mean):
        return work
    whole, rest = divmod(work, piece)
    growth = whole * math.expm1(piece / mean) + math.expm1(rest / mean)
    return (mean + interruption.away_seconds) * math.exp(start_seconds / mean) * growth


_State = Literal["starting", "useful", "away", "idle"]
_Event = Literal["ready", "refill", "done", "down", "up"]


class _Simulation:
    """One run: a heap of what comes next, and what each worker is at."""

    def __init__(self, load: Load, cluster: Cluster, random: np.random.Generator) -> None:
        self.cluster, self.random = cluster, random
        computing, writing = shard_seconds(load, random)
        self.computing, self.writing = computing.tolist(), writing.tolist()
        workers = cluster.workers
        slow = random.permutation(workers) < round(cluster.slow_share * workers)
        self.pace = np.where(slow, cluster.slow_factor, 1.0).tolist()
        self.state: list[_State] = ["starting"] * workers
        self.since = [0.0] * workers
        self.hand = [(0, 0.0)] * workers  # number of the shard, and seconds that are left to compute
        self.next: list[deque[tuple[int, float]]] = [deque() for _ in range(workers)]
        self.life = [0] * cluster.machines  # of which machine it is; events of an earlier one are void
        self.events: list[tuple[float, int, _Event, int, int]] = []
        self.returned: deque[tuple[int, float]] = deque()
        self.idle: dict[int, None] = {}
        self.seconds = {"starting": 0.0, "useful": 0.0, "away": 0.0, "idle": 0.0, "lost": 0.0}
        self.now, self.first_idle = 0.0, math.inf
        self.handed = self.done = self.pushed = self.interruptions = self.flying = self.in_flight = 0

    def run(self) -> Schedule:
        """Until the last shard is done."""
        for machine in range(self.cluster.machines):
            self._up(machine)
        react: dict[_Event, Callable[[int], None]] = {
            "ready": self._ready,
            "refill": self._refill,
            "done": self._done,
            "down": self._down,
            "up": self._up,
        }
        while self.done < len(self.computing):
            self.now, _, event, who, life = heapq.heappop(self.events)
            machine = who if event in ("down", "up") else who // self.cluster.per_machine
            if life == self.life[machine]:
                react[event](who)
        for worker in range(self.cluster.workers):
            self._enter(worker, "idle")
        tail = max(0.0, self.now - self.first_idle)
        return Schedule(
            self.now,
            tail,
            **self.seconds,
            workers=self.cluster.workers,
            shards=self.done,
            interruptions=self.interruptions,
            in_flight=self.in_flight,
        )

    def _up(self, machine: int) -> None:
        """A machine is there; its workers start."""
        for worker in self._workers(machine):
            self._enter(worker, "starting")
            self._push(self.cluster.start_seconds, "ready", worker, machine)
        if math.isfinite(self.cluster.life_seconds):
            self._push(self.random.exponential(self.cluster.life_seconds), "down", machine, machine)

    def _down(self, machine: int) -> None:
        """A machine is gone; what its workers held is handed out again."""
        self.interruptions += 1
        for worker in self._workers(machine):
            if self.state[worker] == "useful":
                self._lose(worker)
            self.idle.pop(worker, None)
            self._enter(worker, "away")
        self.life[machine] += 1
        self._push(self._away_seconds(), "up", machine, machine)
        while self.returned and self.idle:
            worker = next(iter(self.idle))
            del self.idle[worker]
            self._give(worker)

    def _lose(self, worker: int) -> None:
        """The shard goes back, without the pieces that were kept."""
        shard, left = self.hand[worker]
        worked, pace, piece = self.now - self.since[worker], self.pace[worker], self.cluster.checkpoint_seconds
        kept = 0.0 if piece is None else min(worked, left * pace) // piece * piece
        self.seconds["useful"] += kept - worked  # the whole of it is added when the worker enters another state
        self.seconds["lost"] += worked - kept
        given = [(shard, max(0.0, left - kept / pace)), *self.next[worker]]
        self.returned.extend(given)
        self.flying -= len(given)
        self.next[worker].clear()

    def _ready(self, worker: int) -> None:
        """A worker has started; everybody gets a first shard before anybody has a second one at hand."""
        self._give(worker)
        self._push(0.0, "refill", worker, worker // self.cluster.per_machine)

    def _refill(self, worker: int) -> None:
        waiting = self.next[worker]
        while len(waiting) < self.cluster.at_hand - 1 and self._left:
            waiting.append(self._take())

    def _done(self, worker: int) -> None:
        self.done += 1
        self.flying -= 1
        self._give(worker)
        self._refill(worker)

    def _give(self, worker: int) -> None:
        """A free worker goes on with the next shard, its own if it has one at hand."""
        waiting = self.next[worker]
        if not waiting and not self._left:
            self.first_idle = min(self.first_idle, self.now)
            self.idle[worker] = None
            self._enter(worker, "idle")
            return
        shard, left = self.hand[worker] = waiting.popleft() if waiting else self._take()
        self._enter(worker, "useful")
        machine = worker // self.cluster.per_machine
        self._push(left * self.pace[worker] + self.writing[shard], "done", worker, machine)

    @property
    def _left(self) -> bool:
        """Whether the queue holds anything."""
        return bool(self.returned) or self.handed < len(self.computing)

    def _take(self) -> tuple[int, float]:
        """The first shard of the queue."""
        self.flying += 1
        self.in_flight = max(self.in_flight, self.flying)
        if self.returned:
            return self.returned.popleft()
        self.handed += 1
        return self.handed - 1, self.computing[self.handed - 1]

    def _enter(self, worker: int, state: _State) -> None:
        """Close the account of the last state."""
        self.seconds[self.state[worker]] += self.now - self.since[worker]
        self.state[worker], self.since[worker] = state, self.now

    def _push(self, after: float, event: _Event, who: int, machine: int) -> None:
        self.pushed += 1  # equal times keep their order
        heapq.heappush(self.events, (self.now + after, self.pushed, event, who, self.life[machine]))

    def _workers(self, machine: int) -> range:
        first = machine * self.cluster.per_machine
        return range(first, min(first + self.cluster.per_machine, self.cluster.workers))

    def _away_seconds(self) -> float:
        """Of the kind of interruption that came first: chances are as the rates."""
        kinds = self.cluster.interruptions
        if len(kinds) == 1:
            return kinds[0].away_seconds
        rates = np.array([1 / kind.every_seconds for kind in kinds])
        return kinds[int(self.random.choice(len(kinds), p=rates / rates.sum()))].away_seconds


def _check_hope(load: Load, cluster: Cluster) -> None:
    shard = min(load.shard_pictures, load.pictures) * load.picture_seconds * cluster.slow_factor + load.write_seconds
    piece = cluster.start_seconds + min(shard, cluster.checkpoint_seconds or math.inf)
    if piece > _HOPELESS * cluster.life_seconds:
        raise SettingError(
            f"machines live {cluster.life_seconds:g} s on average, too short to start and do {piece:g} s of work in "
            "one go; take smaller shards, checkpoints, or machines that live longer"
        )
