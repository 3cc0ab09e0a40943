"""The simulation of a run against closed forms, bounds and a literal reference; nothing is lost and nothing twice."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import SettingError
from advcam.scale.schedule import Schedule, expected_seconds, simulate
from advcam.scale.workload import Cluster, Interruption, Load, shard_seconds


def greedy(durations: list[float], workers: int) -> list[float]:
    """List scheduling, literally: each shard goes to the worker that is free first. When each worker is done."""
    free = [0.0] * workers
    for duration in durations:
        first = free.index(min(free))
        free[first] += duration
    return free


def durations(load: Load, seed: int) -> np.ndarray:
    computing, writing = shard_seconds(load, np.random.default_rng(seed))
    return computing + writing


def worker_seconds(schedule: Schedule) -> float:
    return schedule.useful + schedule.lost + schedule.starting + schedule.away + schedule.idle


def test_one_worker_takes_the_sum() -> None:
    load = Load(1000, 0.5, spread=0.7, write_seconds=2.0, failing=0.1)
    schedule = simulate(load, Cluster(1, start_seconds=5.0), seed=3)
    assert schedule.makespan == pytest.approx(5 + durations(load, 3).sum())
    assert (schedule.tail, schedule.idle, schedule.in_flight, schedule.shards) == (0.0, 0.0, 1, 16)


@pytest.mark.parametrize(("shards", "workers"), [(1, 4), (8, 4), (9, 4), (12, 5), (100, 7)])
def test_equal_shards_go_in_rounds(shards: int, workers: int) -> None:
    schedule = simulate(Load(shards * 10, 1.0, shard_pictures=10), Cluster(workers, per_machine=3))
    assert schedule.makespan == pytest.approx(10 * math.ceil(shards / workers))
    assert schedule.in_flight == min(shards, workers)
    assert schedule.busy == pytest.approx(shards / (workers * math.ceil(shards / workers)))
    assert schedule.tail == (10.0 if shards % workers and shards > workers else schedule.makespan * (shards < workers))


def test_last_shard_is_shorter() -> None:
    assert simulate(Load(130, 1.0), Cluster(1)).makespan == pytest.approx(130)
    assert simulate(Load(130, 1.0), Cluster(3)).makespan == pytest.approx(64)


def test_slow_workers_by_hand() -> None:
    # One of two takes 3.5 times as long: the quick one does four of five shards, and ends after it.
    load = Load(5, 10.0, shard_pictures=1)
    schedule = simulate(load, Cluster(2, slow_share=0.5, slow_factor=3.5))
    assert schedule.makespan == pytest.approx(40)
    assert schedule.tail == pytest.approx(5)
    assert schedule.useful == pytest.approx(75)


def test_shards_at_hand_are_not_there_for_others() -> None:
    # Whichever of the two is slow: with two shards each it does two of four, with one each only one.
    load, cluster = Load(4, 10.0, shard_pictures=1), Cluster(2, slow_share=0.5, slow_factor=3.5)
    assert simulate(load, cluster).makespan == pytest.approx(35)
    ahead = simulate(load, dataclasses.replace(cluster, at_hand=2))
    assert (ahead.makespan, ahead.tail, ahead.in_flight) == (pytest.approx(70), pytest.approx(50), 4)


def test_everybody_has_a_first_shard_before_anybody_a_second() -> None:
    schedule = simulate(Load(5, 10.0, shard_pictures=1), Cluster(4, at_hand=3))
    assert (schedule.makespan, schedule.in_flight) == (pytest.approx(20), 5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 12), st.floats(0, 1.5), st.integers(1, 100), st.integers(0, 99))
def test_without_interruptions_it_is_list_scheduling(
    pictures: int, workers: int, spread: float, shard: int, seed: int
) -> None:
    load = Load(pictures, 0.3, spread, shard, write_seconds=0.2, failing=0.05)
    schedule, times = simulate(load, Cluster(workers), seed), durations(load, seed)
    free = greedy(times.tolist(), workers)
    assert schedule.makespan == pytest.approx(max(free))
    assert schedule.tail == pytest.approx(max(free) - min(free))
    assert schedule.idle == pytest.approx(sum(max(free) - one for one in free), abs=1e-6)
    # Graham, Bounds on multiprocessing timing anomalies, 1969.
    assert schedule.makespan <= (times.sum() / workers + (1 - 1 / workers) * times.max()) * (1 + 1e-9)
    assert schedule.makespan >= max(times.sum() / workers, times.max()) * (1 - 1e-9)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 2000),
    st.integers(1, 12),
    st.integers(1, 5),
    st.sampled_from([None, 3.0, 1e6]),
    st.floats(40, 4000),
    st.floats(0, 30),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_nothing_is_lost_and_nothing_is_done_twice(
    pictures: int,
    workers: int,
    per_machine: int,
    checkpoint: float | None,
    every: float,
    away: float,
    at_hand: int,
    seed: int,
) -> None:
    load = Load(pictures, 0.5, spread=0.5, write_seconds=0.5, failing=0.05)
    kinds = (Interruption(2 * every, away), Interruption(2 * every, 2 * away))
    cluster = Cluster(workers, per_machine, 2.0, interruptions=kinds, checkpoint_seconds=checkpoint, at_hand=at_hand)
    schedule, times = simulate(load, cluster, seed), durations(load, seed)
    assert schedule.shards == len(times)
    # The times of the shards are drawn, so their sum is met only if each of them counts exactly once.
    assert schedule.useful == pytest.approx(times.sum())
    assert worker_seconds(schedule) == pytest.approx(workers * schedule.makespan)
    assert schedule.makespan >= times.sum() / workers - 1e-6
    assert 0 < schedule.busy <= 1
    assert schedule.in_flight <= min(workers * at_hand, schedule.shards)
    assert 0 <= schedule.tail <= schedule.makespan
    assert schedule.interruptions or schedule.lost == schedule.away == 0
    for seconds in (schedule.lost, schedule.starting, schedule.away, schedule.idle):
        assert seconds >= -1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1000), st.integers(1, 8), st.floats(0, 1), st.floats(1, 4), st.integers(0, 99))
def test_slow_workers_cost_no_more_than_their_factor(
    pictures: int, workers: int, share: float, factor: float, seed: int
) -> None:
    load = Load(pictures, 1.0, spread=0.4)
    quick = durations(load, seed)
    makespan = simulate(load, Cluster(workers, slow_share=share, slow_factor=factor), seed).makespan
    bound = factor * (quick.sum() / workers + quick.max())
    assert max(quick.sum() / workers, quick.max()) * (1 - 1e-9) <= makespan <= bound * (1 + 1e-9)


@pytest.mark.parametrize(("checkpoint", "pieces"), [(None, 1), (10.0, 4)])
def test_lost_work_is_that_of_the_theory(checkpoint: float | None, pieces: int) -> None:
    # One worker, shards of 40 s, a machine that lives 60 s, is away for 15 s, and starts in 5 s (again, if cut).
    load = Load(6000, 1.0, shard_pictures=40)
    cluster = Cluster(1, start_seconds=5.0, interruptions=(Interruption(60.0, 15.0),), checkpoint_seconds=checkpoint)
    schedules = [simulate(load, cluster, seed) for seed in range(12)]
    expected = (60 + 15) * math.exp(5 / 60) * 150 * pieces * math.expm1(40 / pieces / 60)
    assert np.mean([one.makespan for one in schedules]) == pytest.approx(expected, rel=0.03)
    assert expected_seconds(6000, 40 / pieces, Interruption(60.0, 15.0), 5.0) == pytest.approx(expected)


def test_interruptions_are_as_many_as_they_should_be() -> None:
    cluster = Cluster(40, 4, interruptions=(Interruption(500.0),), checkpoint_seconds=1e-9)
    schedule = simulate(Load(400_000, 0.1), cluster)
    expected = 10 * schedule.makespan / 500
    assert abs(schedule.interruptions - expected) < 4 * math.sqrt(expected)


def test_workers_of_a_machine_die_together() -> None:
    apart = [simulate(Load(4000, 1.0), Cluster(8, 1, interruptions=(Interruption(400.0),)), s) for s in range(20)]
    together = [simulate(Load(4000, 1.0), Cluster(8, 8, interruptions=(Interruption(400.0),)), s) for s in range(20)]
    deaths = [np.mean([one.interruptions for one in some]) for some in (apart, together)]
    assert deaths[0] / deaths[1] == pytest.approx(8, rel=0.25)


def test_kinds_of_interruption_are_met_by_their_rates() -> None:
    kinds = (Interruption(300.0, 100.0), Interruption(100.0, 0.0))
    schedule = simulate(Load(100_000, 1.0, shard_pictures=10), Cluster(4, interruptions=kinds))
    assert schedule.away / schedule.interruptions == pytest.approx(25, rel=0.1)


def test_expected_time_without_interruptions_is_the_work() -> None:
    assert expected_seconds(100.0, 7.0, Interruption(math.inf)) == 100
    assert expected_seconds(100.0, 7.0, Interruption(1e12)) == pytest.approx(100)
    cluster = Cluster(3, interruptions=(Interruption(math.inf),))
    assert simulate(Load(640, 1.0), cluster).makespan == simulate(Load(640, 1.0), Cluster(3)).makespan


def test_a_shard_is_a_sum_of_pictures() -> None:
    load = Load(64 * 20_000, 2.0, spread=0.6)
    computing, _ = shard_seconds(load, np.random.default_rng(0))
    assert computing.mean() == pytest.approx(128, rel=0.005)
    assert computing.std() == pytest.approx(2 * 0.6 * math.sqrt(64), rel=0.03)
    one_by_one = np.random.default_rng(1).gamma(1 / 0.36, 2 * 0.36, (20_000, 64)).sum(axis=1)
    places = [0.01, 0.25, 0.5, 0.75, 0.99]
    assert np.quantile(computing, places) == pytest.approx(np.quantile(one_by_one, places), rel=0.01)


def test_failing_requests_are_sent_again() -> None:
    load = Load(64 * 20_000, 1.0, write_seconds=1.0, requests=10, failing=0.2, retry_seconds=3.0)
    _, writing = shard_seconds(load, np.random.default_rng(0))
    assert writing.mean() == pytest.approx(1 + 3 * 10 * 0.2 / 0.8, rel=0.02)


def test_the_seed_decides() -> None:
    load, cluster = Load(5000, 1.0, 0.5), Cluster(4, 2, 1.0, 0.25, 2.0, (Interruption(500.0, 9.0),), 60.0)
    assert simulate(load, cluster, 1) == simulate(load, cluster, 1)
    assert simulate(load, cluster, 1) != simulate(load, cluster, 2)


def test_shards_that_outlast_their_machines_are_refused() -> None:
    load, short = Load(640, 10.0), Cluster(1, start_seconds=10.0, interruptions=(Interruption(60.0),))
    with pytest.raises(SettingError) as caught:
        simulate(load, short)
    assert str(caught.value) == (
        "machines live 60 s on average, too short to start and do 650 s of work in one go; take smaller shards, "
        "checkpoints, or machines that live longer"
    )
    assert simulate(load, dataclasses.replace(short, checkpoint_seconds=30.0)).shards == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Load(0, 1.0), "pictures is at least 1 and finite; got 0"),
        (lambda: Load(1, 0.0), "picture_seconds is positive; got 0.0"),
        (lambda: Load(1, math.nan), "picture_seconds is positive; got nan"),
        (lambda: Load(1, 1.0, spread=-1), "spread is at least 0 and finite; got -1"),
        (lambda: Load(1, 1.0, failing=1.0), "failing is a share, at least 0 and below 1; got 1.0"),
        (lambda: Cluster(0), "workers is at least 1 and finite; got 0"),
        (lambda: Cluster(1, slow_factor=0.5), "slow_factor is at least 1 and finite; got 0.5"),
        (lambda: Cluster(1, slow_share=2), "slow_share is a share between 0 and 1; got 2"),
        (lambda: Cluster(1, checkpoint_seconds=0), "checkpoint_seconds is positive, or None; got 0"),
        (lambda: Interruption(0), "every_seconds is positive; got 0"),
    ],
)
def test_errors_say_what_was_expected(make: object, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        make()  # type: ignore[operator]
    assert str(caught.value) == message
