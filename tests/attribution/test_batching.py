"""Batches: how many go together, what happens when memory runs out, and that no map ever depends on it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import ToyNetwork
from PIL import Image
from torch import Tensor

from advcam import CAM, AdvCAM, Classifier, GradCAM
from advcam.attribution.batching import BatchSize, buckets, is_out_of_memory
from advcam.errors import OutOfMemoryError
from advcam.types import Attribution

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
Make = Callable[..., CAM | AdvCAM]

plain = partial(CAM, scales=(1.0,), flip=False)
climbing = partial(AdvCAM, scales=(1.0,), flip=False, iterations=2)


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


class Limited(ToyNetwork):
    """Notes the shapes that it and its copies are asked for; above `rows` rows there is no memory."""

    rows: ClassVar[int] = 1 << 30
    failing_call: ClassVar[int] = -1
    error: ClassVar[Exception | None] = None
    seen: ClassVar[list[tuple[int, ...]]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(tuple(inputs.shape))
        if len(inputs) > self.rows or len(self.seen) == self.failing_call:
            raise self.error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the docs.")
        return super().forward(inputs)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Classifier]:
    """Makes a classifier that runs out of memory, as the keywords say, from its first picture on."""

    def make(**limits: object) -> Classifier:
        classifier = Classifier.from_module(Limited(2, classes=80))
        classifier.prepared("float64")
        monkeypatch.setattr(Limited, "seen", [])
        for name, value in limits.items():
            monkeypatch.setattr(Limited, name, value)
        return classifier

    return make


def rows() -> list[int]:
    """How many rows each pass has had since it was last asked."""
    found = [shape[0] for shape in Limited.seen]
    Limited.seen.clear()
    return found


def same_maps(ours: Sequence[Attribution], theirs: Sequence[Attribution]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.class_ids == other.class_ids
        np.testing.assert_allclose(one.maps, other.maps, atol=1e-6)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        assert other.maps.max(axis=(1, 2)).min() > 0.99


# How many go together


@settings(deadline=None)
@given(st.integers(1, 10**7))
def test_a_batch_is_filled_up_to_so_many_pixels(area: int) -> None:
    size = BatchSize(None, CPU)
    count = size.at(area)
    assert count >= 1
    assert count * area <= 400_000 or count == 1
    assert (count + 1) * area > 400_000 or count == 1 << 16
    assert BatchSize(None, CUDA).at(area) >= count


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 10**7))
def test_a_chosen_number_holds_for_every_size(chosen: int, area: int) -> None:
    assert BatchSize(chosen, CPU).at(area) == BatchSize(chosen, CUDA).at(area) == chosen


@settings(deadline=None)
@given(st.none() | st.integers(1, 200), st.integers(1, 10**6))
def test_halving_ends_at_one(chosen: int | None, area: int) -> None:
    size = BatchSize(chosen, CPU)
    while (pairs := size.at(area)) > 1:
        size.halve(pairs, area)
        assert size.at(area) == pairs // 2
        assert size.at(2 * area) == max(1, pairs // 4)
        assert size.at(max(1, area // 2)) <= (chosen or 1 << 16)
    assert size.at(area) == size.at(1000 * area) == 1


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many of a GPU's 100 bytes have been in use."""
    used = [0]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: used[0])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(total_memory=100))
    return lambda value: used.__setitem__(0, value)


def test_batches_double_while_a_gpu_has_room(memory: Callable[[int], None]) -> None:
    size = BatchSize(None, CUDA)
    sizes = []
    for used in (5, 10, 20, 39, 40, 10):
        sizes.append(size.at(100_000))
        memory(used)
        size.grow()
    assert sizes == [64, 128, 256, 512, 1024, 1024]
    assert size.at(100_000) == 1024, "once settled, it does not grow any more"


def test_a_batch_that_failed_is_never_tried_again(memory: Callable[[int], None]) -> None:
    size = BatchSize(None, CUDA)
    memory(1)
    size.grow()
    size.halve(size.at(100_000), 100_000)
    size.grow()
    assert size.at(100_000) == 64


@pytest.mark.parametrize("size", [BatchSize(None, CPU), BatchSize(7, CUDA), BatchSize(None, torch.device("mps"))])
def test_nothing_else_grows(memory: Callable[[int], None], size: BatchSize) -> None:
    before = size.at(1000)
    size.grow()
    assert size.at(1000) == before


def test_buckets_keep_the_order_in_which_keys_come() -> None:
    items = [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)]
    assert list(buckets(items)) == [("b", [1, 3]), ("a", [2, 5]), ("c", [4])]


# Which errors are of memory


def raised(work: Callable[[], object]) -> BaseException:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        work()
    return caught.value


def test_errors_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(raised(lambda: torch.empty(1 << 58, dtype=torch.uint8))), "the allocator of the CPU"
    assert is_out_of_memory(raised(lambda: np.empty(1 << 58, dtype=np.uint8)))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))


def test_other_errors() -> None:
    assert not is_out_of_memory(raised(lambda: torch.zeros(2, 3) @ torch.zeros(2, 3)))
    assert not is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"))
    assert not is_out_of_memory(ValueError("not enough memory"))
    assert not is_out_of_memory(KeyboardInterrupt())


# Memory runs out


@pytest.mark.parametrize("chosen", [None, 6, 50])
def test_plain_maps_with_too_little_memory(limited: Callable[..., Classifier], chosen: int | None) -> None:
    pictures, targets = [picture(seed=seed) for seed in range(6)], [[seed, 7] for seed in range(6)]
    expected = plain(limited(), batch_size=1)(pictures, targets)
    method = plain(limited(rows=2), batch_size=chosen)
    same_maps(method(pictures, targets), expected)
    assert rows() == [6, 3, 1, 1, 1, 1, 1, 1]
    same_maps(method(pictures, targets), expected)
    assert rows() == [1] * 6, "the limit is remembered"


@pytest.mark.parametrize("chosen", [None, 6, 50])
def test_climbs_with_too_little_memory(limited: Callable[..., Classifier], chosen: int | None) -> None:
    pictures, targets = [picture(seed=seed) for seed in range(6)], [[seed] for seed in range(6)]
    expected = climbing(limited(), batch_size=1)(pictures, targets)
    method = climbing(limited(rows=4), batch_size=chosen)
    same_maps(method(pictures, targets), expected)
    assert rows() == [6, 3, 3, 3, 3, 3, 3]
    same_maps(method(pictures, targets), expected)
    assert rows() == [3] * 6, "the limit is remembered"


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_climb_that_fails_on_its_way_begins_anew(limited: Callable[..., Classifier], call: int) -> None:
    pictures, targets = [picture(seed=seed) for seed in range(4)], [[seed] for seed in range(4)]
    expected = climbing(limited())(pictures, targets)
    same_maps(climbing(limited(failing_call=call))(pictures, targets), expected)
    assert rows() == [4] * call + [2] * 6


def test_eighty_classes_of_one_picture_in_little_memory(limited: Callable[..., Classifier]) -> None:
    """The unperturbed pass is one row for all; the steps are not."""
    classes = list(range(80))
    expected = climbing(limited())([picture()], [classes])
    same_maps(climbing(limited(rows=16))([picture()], [classes]), expected)
    assert rows() == [1, 80, 1, 40, 1, 20] + [1, 10, 10] * 8


def test_a_smaller_picture_profits_of_a_limit_found_on_a_larger_one(limited: Callable[..., Classifier]) -> None:
    """The limit is one of pixels: of half the size twice as many are tried."""
    method = plain(limited(rows=4))
    method([picture(64, 64, seed) for seed in range(8)], [[0]] * 8)
    assert rows() == [8, 4, 4]
    method([picture(64, 32, seed) for seed in range(8)], [[0]] * 8)
    assert rows() == [8, 4, 4]


@pytest.mark.parametrize("make", [plain, climbing, partial(GradCAM, scales=(1.0,), flip=False)])
@pytest.mark.parametrize("chosen", [None, 1])
def test_not_even_one_fits(limited: Callable[..., Classifier], make: Make, chosen: int | None) -> None:
    method = make(limited(rows=0), batch_size=chosen)
    with pytest.raises(OutOfMemoryError) as caught:
        method([picture(), picture(seed=1)], [[0], [0]])
    assert str(caught.value) == (
        "a single picture of 64 x 48 pixels does not fit into the memory of cpu; make it smaller (max_side, scales), "
        'leave the flip away, use precision="bfloat16", or another device'
    )
    assert rows() == ([2, 1] if chosen is None else [1])


@pytest.mark.parametrize("make", [plain, climbing])
def test_other_errors_pass_through(limited: Callable[..., Classifier], make: Make) -> None:
    problem = RuntimeError("the size of tensor a must match the size of tensor b")
    method = make(limited(rows=0, error=problem))
    with pytest.raises(RuntimeError) as caught:
        method([picture(), picture(seed=1)], [[0], [0]])
    assert caught.value is problem
    assert rows() == [2]


# Any mixture of sizes and classes


@pytest.mark.parametrize("make", [CAM, GradCAM, partial(AdvCAM, iterations=2)])
def test_a_mixed_call_gives_what_each_picture_gives_alone(make: Make) -> None:
    network = Classifier.from_module(ToyNetwork(2, classes=80))
    sizes = [(32, 32), (400, 300), (64, 48), (300, 400), (48, 64), (64, 48), (33, 200), (32, 32)]
    pictures = [picture(*size, seed=n) for n, size in enumerate(sizes)]
    targets = [[5], [1], list(range(80)), [0, 79], [], [3, 2, 1], [7], [8, 5]]
    method = make(network, scales=(0.5, 1.0))
    together = method(pictures, targets)
    assert [result.class_ids for result in together] == [tuple(classes) for classes in targets]
    for image, classes, result in zip(pictures, targets, together, strict=True):
        assert result.maps.shape == (len(classes), math.ceil(image.height / 4), math.ceil(image.width / 4))
        (alone,) = make(network, scales=(0.5, 1.0), batch_size=1)([image], [classes])
        np.testing.assert_allclose(result.maps, alone.maps, atol=1e-6)
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-6)


def test_pictures_in_batches_of_their_sizes(limited: Callable[..., Classifier]) -> None:
    """Sizes in turn; within a size the pictures go in their order, each with its own map."""
    sizes = [(64, 48), (48, 64)] * 3
    pictures = [picture(*size, seed=n) for n, size in enumerate(sizes)]
    ours = plain(limited(), batch_size=2)(pictures, [[n] for n in range(6)])
    assert Limited.seen == [(2, 3, 48, 64), (1, 3, 48, 64), (2, 3, 64, 48), (1, 3, 64, 48)]
    same_maps(ours, [plain(limited())([one], [[n]])[0] for n, one in enumerate(pictures)])
