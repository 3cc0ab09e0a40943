"""What a simulation is told: the shards to be done, the workers that do them, and what takes their machines away.

Times of pictures are Gamma distributed, since the sum of n of them is again a Gamma: a shard is one draw.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcam.errors import SettingError

#: Below such a variance, relative to the square of the mean, times are taken as equal.
_CONSTANT = 1e-9


@dataclass(frozen=True)
class Load:
    """What is to be done, in shards; the last one may be shorter.

    Args:
        pictures: How many.
        picture_seconds: Mean time of one on a worker, reading and encoding included.
        spread: Standard deviation of that time over its mean, for sizes and classes that differ.
        shard_pictures: Pictures of a shard.
        write_seconds: To bring a shard to the store; the worker waits for it.
        requests: To the store for a shard.
        failing: Share of the requests that fail and are sent again.
        retry_seconds: That a failed request costs.

    Raises:
        SettingError: A value outside of its range.
    """

    pictures: int
    picture_seconds: float
    spread: float = 0.0
    shard_pictures: int = 64
    write_seconds: float = 0.0
    requests: int = 1
    failing: float = 0.0
    retry_seconds: float = 1.0

    def __post_init__(self) -> None:
        _at_least(1, pictures=self.pictures, shard_pictures=self.shard_pictures)
        _at_least(0, spread=self.spread, write_seconds=self.write_seconds, requests=self.requests)
        _at_least(0, retry_seconds=self.retry_seconds)
        _require(0 < self.picture_seconds < math.inf, "picture_seconds is positive", self.picture_seconds)
        _require(0 <= self.failing < 1, "failing is a share, at least 0 and below 1", self.failing)


@dataclass(frozen=True)
class Interruption:
    """What takes machines away: breakdowns, or an owner who wants spot machines back.

    Args:
        every_seconds: Mean time until it meets a machine; the time is exponential.
        away_seconds: Until another machine is there.

    Raises:
        SettingError: A value outside of its range.
    """

    every_seconds: float
    away_seconds: float = 0.0

    def __post_init__(self) -> None:
        _require(self.every_seconds > 0, "every_seconds is positive", self.every_seconds)
        _at_least(0, away_seconds=self.away_seconds)


@dataclass(frozen=True)
class Cluster:
    """Who does it.

    Args:
        workers: How many.
        per_machine: Workers of a machine, which die together.
        start_seconds: Of a worker, before its first shard.
        slow_share: Share of the workers that are slow, and stay so.
        slow_factor: How many times as long they take to compute.
        interruptions: What takes machines away.
        checkpoint_seconds: A dead worker's shard goes on at the last multiple of so much work; None begins it anew.
        at_hand: Shards that a worker has, the one that it works on among them, so that it need not wait for the next.

    Raises:
        SettingError: A value outside of its range.
    """

    workers: int
    per_machine: int = 1
    start_seconds: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    interruptions: tuple[Interruption, ...] = ()
    checkpoint_seconds: float | None = None
    at_hand: int = 1

    def __post_init__(self) -> None:
        _at_least(1, workers=self.workers, per_machine=self.per_machine, at_hand=self.at_hand)
        _at_least(1, slow_factor=self.slow_factor)
        _at_least(0, start_seconds=self.start_seconds)
        _require(0 <= self.slow_share <= 1, "slow_share is a share between 0 and 1", self.slow_share)
        piece = self.checkpoint_seconds
        _require(piece is None or piece > 0, "checkpoint_seconds is positive, or None", piece)

    @property
    def machines(self) -> int:
        """How many they stand on; the last one may have fewer workers."""
        return -(-self.workers // self.per_machine)

    @property
    def life_seconds(self) -> float:
        """Mean time until anything takes a machine away."""
        rate = sum(1 / one.every_seconds for one in self.interruptions)
        return 1 / rate if rate else math.inf


def shard_seconds(load: Load, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds to compute each shard and to write it, (S,) each.

    Args:
        load: The shards.
        random: Draws the times, and how many requests fail.
    """
    counts = np.full(-(-load.pictures // load.shard_pictures), load.shard_pictures, dtype=np.float64)
    counts[-1] = load.pictures - load.shard_pictures * (len(counts) - 1)
    computing = counts * load.picture_seconds
    variance = load.spread**2
    if variance > _CONSTANT:
        computing = random.gamma(counts / variance, load.picture_seconds * variance)
    writing = np.full(len(counts), load.write_seconds, dtype=np.float64)
    if load.failing and load.requests:
        writing += load.retry_seconds * random.negative_binomial(load.requests, 1 - load.failing, len(counts))
    return computing, writing


def _at_least(least: float, **values: float) -> None:
    for name, value in values.items():
        _require(least <= value < math.inf, f"{name} is at least {least:g} and finite", value)


def _require(condition: bool, rule: str, value: object) -> None:
    if not condition:
        raise SettingError(f"{rule}; got {value}")
