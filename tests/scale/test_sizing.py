"""Sizing against counts by hand: seconds, bytes, requests and hours of every stage, and what trainings in step cost."""

import math
from dataclasses import replace
from typing import get_args

import pytest

from advcam.errors import SettingError
from advcam.pipeline.chain.settings import IrnRefinement
from advcam.pipeline.shard_rows import FLUSH_SECONDS
from advcam.pipeline.shards import SHARD_PICTURES
from advcam.scale.demand import STAGES, Figures, Job, StageName, demand_of
from advcam.scale.sizing import IN_STEP, StageSize, size
from advcam.scale.workload import Cluster, Interruption
from advcam.segment.settings import SegmenterSettings
from advcam.training.settings import ClassifierSettings

#: Round figures, so that a reader can follow.
FIGURES = Figures(
    pass_seconds=0.1,
    look_seconds=0.2,
    step_seconds={"train-classifier": 0.3, "refine-irn": 0.4, "train-segmenter": 0.5},
    read_seconds=0.01,
    output_seconds=0.05,
    crf_seconds=0.6,
    affinity_seconds=0.1,
    walk_seconds=1.2,
    spread=0.0,
    picture_bytes=100.0,
    map_bytes=20.0,
    score_bytes={"refine-crf": 250.0, "refine-affinity": 260.0, "refine-irn": 300.0},
    mask_bytes=3.0,
    overlay_bytes=50.0,
    worker_bytes=1000.0,
    listed_bytes=2.0,
)
JOB = Job(6400, passes=40.0, classes=1.5, area=0.5)


def test_every_stage_has_a_demand_and_is_named_once() -> None:
    assert set(STAGES) == set(get_args(StageName))
    for stage in STAGES:
        demand = demand_of(stage, JOB, FIGURES)
        assert demand.seconds + demand.taught_seconds > 0
        assert demand.read_bytes > 0


def test_localize_by_hand() -> None:
    found = size("localize", JOB, FIGURES, Cluster(4))
    # 40 passes of half the area at 0.1 s, and half of the 0.06 s of reading and writing.
    assert found.picture_seconds == pytest.approx(2.03)
    assert found.hours == pytest.approx(25 * 64 * 2.03 / 3600)
    assert found.ideal_hours == pytest.approx(found.hours)
    assert (found.busy, found.machines, found.tail_hours) == (pytest.approx(1), 4, 0)
    assert found.machine_hours == pytest.approx(4 * found.hours)
    assert found.read_bytes == pytest.approx(6400 * 50)
    assert found.stored_bytes == pytest.approx(6400 * (0.5 * (3 + 50) + 0.5 * 1.5 * 20))
    assert found.stored_objects == 2 * 6400 + 100
    assert found.traffic * found.hours * 3600 == pytest.approx(found.read_bytes + found.written_bytes)
    assert (found.machine_bytes, found.head_bytes, found.cost) == (1000, 12_800, None)


def test_pieces_of_slow_shards_are_written_over_and_over() -> None:
    # A shard takes 129.92 s: a piece after 60 and one after 120 s, then the whole of it; each piece is removed again.
    assert FLUSH_SECONDS == 60
    found = size("localize", JOB, FIGURES, Cluster(4))
    assert found.written_bytes - found.stored_bytes == pytest.approx(6400 * 15 * (60 + 120) / 129.92)
    assert found.requests * found.hours * 3600 == pytest.approx(3 * 6400 + 100 * (1 + 2 * 2))


def test_overlays_can_be_left_out() -> None:
    found = size("localize", replace(JOB, overlays=False), FIGURES, Cluster(4))
    assert found.stored_bytes == pytest.approx(6400 * (0.5 * 3 + 15))
    assert found.stored_objects == 6400 + 100


def test_beside_a_gpu_the_slowest_of_the_three_counts() -> None:
    def seconds(pass_seconds: float) -> float:
        return demand_of("localize", JOB, FIGURES.at_pass(pass_seconds, apart=True)).seconds

    assert seconds(0.01) == pytest.approx(0.2)  # the network
    assert seconds(0.0001) == pytest.approx(0.025)  # mask, overlay and map


def test_a_faster_device_runs_every_network_faster_and_nothing_else() -> None:
    fast = FIGURES.at_pass(0.01, apart=True)
    assert fast.look_seconds == pytest.approx(0.02)
    assert fast.step_seconds == pytest.approx({"train-classifier": 0.03, "refine-irn": 0.04, "train-segmenter": 0.05})
    assert (fast.crf_seconds, fast.walk_seconds, fast.output_seconds) == (0.6, 1.2, 0.05)
    assert demand_of("refine-crf", JOB, fast) == demand_of("refine-crf", JOB, FIGURES)


@pytest.mark.parametrize(("stage", "seconds", "row"), [("refine-crf", 0.6, 250), ("refine-affinity", 0.1, 260)])
def test_refinements_by_hand(stage: StageName, seconds: float, row: float) -> None:
    found = size(stage, JOB, FIGURES, Cluster(4))
    assert found.picture_seconds == pytest.approx(0.5 * (seconds + 0.01))
    assert found.read_bytes == pytest.approx(6400 * (50 + 15))
    assert found.stored_bytes == pytest.approx(6400 * 0.75 * row)
    assert found.stored_objects == 100


def test_predict_by_hand() -> None:
    found = size("predict", JOB, FIGURES, Cluster(4))
    assert found.picture_seconds == pytest.approx(0.5 * (2 * 0.2 + 0.06))  # the picture and its mirror image
    assert found.stored_bytes == pytest.approx(6400 * 0.5 * 53)


@pytest.mark.parametrize(
    ("stage", "step", "side", "settings"),
    [
        ("train-classifier", 0.3, ClassifierSettings().side, ClassifierSettings()),
        ("train-segmenter", 0.5, SegmenterSettings().crop, SegmenterSettings()),
    ],
)
def test_trainings_by_hand(stage: StageName, step: float, side: int, settings: ClassifierSettings) -> None:
    work = 6400 * settings.epochs * step * side**2 / (375 * 500)
    alone = size(stage, JOB, FIGURES, Cluster(1))
    assert alone.hours == pytest.approx(work / 3600)
    assert alone.stored_objects == 0
    four = size(stage, JOB, FIGURES, Cluster(4, start_seconds=10.0))
    assert four.hours == pytest.approx((10 + work / 4 / IN_STEP) / 3600)
    # A batch has so many pictures, over all processes.
    many, enough = (size(stage, JOB, FIGURES, Cluster(workers)) for workers in (1000, settings.batch_size))
    assert (many.workers, many.hours) == (settings.batch_size, enough.hours)


def test_irn_maps_and_is_trained() -> None:
    found = size("refine-irn", JOB, FIGURES, Cluster(16))
    settings = IrnRefinement()
    mapped = math.ceil(100 / 16) * 64 * 0.5 * (1.2 + 0.01)
    taught = 6400 * settings.epochs * 0.4 * settings.crop**2 / (375 * 500) / 16 / IN_STEP
    assert found.hours == pytest.approx((mapped + taught) / 3600)
    assert found.read_bytes == pytest.approx(6400 * (50 + 15 + settings.epochs * (50 + 1.5)))


def test_a_training_waits_for_the_slowest_and_repeats_epochs() -> None:
    base = size("train-classifier", JOB, FIGURES, Cluster(4)).hours
    slow = size("train-classifier", JOB, FIGURES, Cluster(4, slow_share=0.25, slow_factor=2.0)).hours
    assert slow == pytest.approx(2 * base)
    assert size("train-classifier", JOB, FIGURES, Cluster(4, slow_share=0.1, slow_factor=2.0)).hours == base
    epoch, epochs = 3600 * base / ClassifierSettings().epochs, ClassifierSettings().epochs
    cluster = Cluster(4, per_machine=2, interruptions=(Interruption(4 * epoch, 100.0),))
    mean = 2 * epoch  # of two machines
    expected = epochs * (mean + 100) * math.expm1(epoch / mean)
    assert 3600 * size("train-classifier", JOB, FIGURES, cluster).hours == pytest.approx(expected)


def test_a_training_that_would_not_end_is_refused() -> None:
    cluster = Cluster(16, interruptions=(Interruption(60.0),))
    with pytest.raises(
        SettingError, match=r"an epoch takes .* hours and some machine fails every 0\.00104: the training"
    ):
        size("train-classifier", JOB, FIGURES, cluster)


def test_more_workers_than_shards_have_nothing_to_do() -> None:
    found = size("localize", JOB, FIGURES, Cluster(1000, per_machine=16))
    assert (found.workers, found.machines) == (100, 7)
    assert found.hours == pytest.approx(64 * 2.03 / 3600)


def test_trouble_costs_hours_and_money() -> None:
    calm = Cluster(16, per_machine=4, start_seconds=30.0)
    trouble = replace(
        calm, slow_share=0.25, slow_factor=2.0, interruptions=(Interruption(3600.0, 300.0),), checkpoint_seconds=60.0
    )
    sizes: list[StageSize] = [size("localize", JOB, FIGURES, cluster, price=2.0) for cluster in (calm, trouble)]
    assert sizes[0].hours < sizes[1].hours
    assert sizes[0].lost_hours == 0 < sizes[1].lost_hours
    for one in sizes:
        assert one.cost == pytest.approx(2 * 4 * one.hours)
        assert one.ideal_hours < one.hours


def test_memory_is_that_of_the_workers_of_a_machine() -> None:
    assert size("localize", JOB, FIGURES, Cluster(64, per_machine=16)).machine_bytes == 16_000
    assert size("localize", JOB, FIGURES, Cluster(3, per_machine=16)).machine_bytes == 3000


def test_a_large_job_has_its_shards() -> None:
    big = replace(JOB, pictures=1_000_001)
    found = size("refine-affinity", big, FIGURES, Cluster(1000))
    assert found.stored_objects == -(-1_000_001 // SHARD_PICTURES)
    assert found.ideal_hours <= found.hours <= found.ideal_hours + 2 * 64 * found.picture_seconds / 3600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pictures": 0}, "pictures is at least 1; got 0"),
        ({"classes": 0.0}, "classes is positive; got 0.0"),
        ({"area": math.nan}, "area is positive; got nan"),
        ({"passes": -1.0}, "passes is positive; got -1.0"),
    ],
)
def test_errors_say_what_was_expected(change: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        replace(JOB, **change)
    assert str(caught.value) == message


def test_seconds_of_a_pass_are_positive() -> None:
    with pytest.raises(SettingError, match="seconds of a pass are positive; got 0"):
        FIGURES.at_pass(0, apart=False)
