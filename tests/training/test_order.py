import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advcam.training.order import epoch_batches, picture_generator, split_batch, step_seed

counts = st.integers(1, 60)


@given(count=counts, batch_size=st.integers(1, 20), seed=st.integers(0, 9), epoch=st.integers(0, 5))
def test_each_picture_once(count: int, batch_size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(count, batch_size, seed, epoch, drop_last=False)
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    dropped = epoch_batches(count, batch_size, seed, epoch, drop_last=True)
    assert dropped == [batch for batch in batches if len(batch) == batch_size]


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = {tuple(epoch_batches(50, 50, seed, epoch, False)[0]) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_draws_depend_on_seed_epoch_picture_and_step() -> None:
    """Zeros included: seeds that differ in trailing zeros alone would be the same."""
    draws = {float(picture_generator(s, e, i).random()) for s in range(3) for e in range(3) for i in range(3)}
    assert len(draws) == 27
    assert picture_generator(1, 2, 3).random() == picture_generator(1, 2, 3).random()
    seeds = {step_seed(s, n, p) for s in range(3) for n in range(3) for p in range(3)}
    assert len(seeds) == 27
    assert max(seeds) < 2**63
    for epoch in range(3):  # nor is the order what the first picture draws
        order = tuple(picture_generator(0, epoch, 0).permutation(50).tolist())
        assert order != epoch_batches(50, 50, 0, epoch, False)[0]


@given(
    values=st.lists(st.floats(-5, 5), min_size=1, max_size=17), passes=st.integers(1, 5), processes=st.integers(1, 4)
)
def test_weighted_means_of_parts_are_the_mean_of_the_batch(values: list[float], passes: int, processes: int) -> None:
    batch = tuple(range(len(values)))
    parts = [part for process in range(processes) for part in split_batch(batch, passes, process, processes)]
    assert len(parts) == passes * processes
    means = [part.weight * np.mean([values[i] for i in part.indices]) for part in parts]
    assert np.mean(means) == pytest.approx(np.mean(values), abs=1e-9)
    assert sorted(i for part in parts if part.weight for i in part.indices) == list(batch)
