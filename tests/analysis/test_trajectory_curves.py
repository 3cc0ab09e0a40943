"""Scores and maps over the steps of a recorded climb."""

import numpy as np
import pytest

from advcam import Attribution, SettingError, Trajectory
from advcam.analysis.trajectory import nearest_to_one, score_curve, step_maps


def trajectory(class_id: int, scale: float, scores: list[list[float]]) -> Trajectory:
    return Trajectory(class_id, scale, np.zeros((len(scores), 2, 2), np.float32), np.array(scores, dtype=np.float32))


def attribution(steps: np.ndarray | None, trajectories: tuple[Trajectory, ...] = ()) -> Attribution:
    maps = np.ones((2, 2, 3), dtype=np.float32) if steps is None else steps[:, -1]
    return Attribution((4, 1), ("d", "a"), maps, (4, 6), np.zeros(2, dtype=np.float32), steps, trajectories)


def test_own_score_and_the_strongest_other_at_each_step():
    curve = score_curve(trajectory(1, 1.0, [[3, 1, 2], [0, 5, 4], [9, 8, 9]]))
    np.testing.assert_array_equal(curve.own, [1, 5, 8])
    np.testing.assert_array_equal(curve.rival, [3, 4, 9])


def test_a_classifier_of_one_class_has_no_rival():
    curve = score_curve(trajectory(0, 1.0, [[1], [2]]))
    np.testing.assert_array_equal(curve.own, [1, 2])
    assert np.isnan(curve.rival).all()


@pytest.mark.parametrize(("scales", "chosen"), [((0.5, 1.0, 2.0), 1.0), ((0.5, 2.0), 0.5), ((0.5, 1.5), 0.5)])
def test_the_scale_nearest_to_one(scales: tuple[float, ...], chosen: float):
    climbs = tuple(trajectory(k, s, [[0, 0]]) for k in (4, 1) for s in scales)
    found = nearest_to_one(attribution(None, climbs), 1)
    assert (found.class_id, found.scale) == (1, chosen)


def test_a_class_that_was_not_climbed_is_an_error():
    with pytest.raises(SettingError, match="no climb of class 7 was recorded"):
        nearest_to_one(attribution(None, (trajectory(4, 1.0, [[0]]),)), 7)


def test_step_maps_are_the_maps_at_the_size_of_the_picture():
    steps = np.random.default_rng(0).random((2, 3, 2, 3)).astype(np.float32)
    recorded = attribution(steps)
    shown = list(step_maps(recorded))
    assert [maps.shape for maps in shown] == [(2, 4, 6)] * 3
    np.testing.assert_array_equal(shown[-1], recorded.upsample())
    one = Attribution((4, 1), ("d", "a"), steps[:, 1], (4, 6), np.zeros(2, dtype=np.float32))
    np.testing.assert_array_equal(shown[1], one.upsample())


def test_steps_that_were_not_recorded_are_an_error():
    with pytest.raises(SettingError, match="the steps of this attribution were not recorded"):
        next(step_maps(attribution(None)))
