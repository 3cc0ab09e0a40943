"""What all methods share: pictures, targets, scales, cost; and what a call leaves behind (nothing)."""

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from literal import ToyNetwork
from PIL import Image
from torch import Tensor, nn

from advcam import CAM, AdvCAM, Classifier, GradCAM
from advcam.attribution.method import Cost
from advcam.attribution.views import working_size
from advcam.errors import LabelError, ModelError, PictureError, SettingError

NAMES = ["apple", "pear", "plum"]


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier.from_module(ToyNetwork(4), class_names=NAMES)


def noise(width: int = 72, height: int = 60, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


class Sizes(ToyNetwork):
    """Notes the shapes of what it and its copies are asked."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(tuple(inputs.shape))
        return super().forward(inputs)


# Scales, flips and sizes


def test_scales_multiply_the_working_picture() -> None:
    module = Sizes()
    network = Classifier.from_module(module)
    module.seen.clear()
    CAM(network, scales=(0.5, 1, 1.5), max_side=100)([noise(200, 120)], [[0]])
    assert module.seen == [(2, 3, 32, 50), (2, 3, 60, 100), (2, 3, 90, 150)]


def test_default_scales() -> None:
    network = Classifier.from_module(ToyNetwork())
    assert CAM(network).scales == AdvCAM(network).scales == (0.5, 1.0, 2.0)
    assert AdvCAM(network, variant="published").scales == (0.5, 1.0, 1.5, 2.0)
    assert CAM(network, scales=[1]).scales == (1,)


def test_without_flip_there_is_one_view() -> None:
    module = Sizes()
    network = Classifier.from_module(module)
    module.seen.clear()
    CAM(network, scales=(1,), flip=False)([noise()], [[0, 1]])
    assert module.seen == [(1, 3, 60, 72)]


def test_with_flip_a_mirrored_picture_has_the_mirrored_map(network: Classifier) -> None:
    image = noise(64, 64)
    for method in (CAM(network, scales=(1,)), AdvCAM(network, scales=(1,), flip=True, iterations=3)):
        (straight,) = method([image], [[0, 1]])
        (mirrored,) = method([image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], [[0, 1]])
        np.testing.assert_allclose(mirrored.maps[..., ::-1], straight.maps, atol=1e-5)


def test_working_size() -> None:
    assert working_size((200, 100), 0) == (200, 100)
    assert working_size((200, 100), 200) == (200, 100)
    assert working_size((200, 100), 50) == (50, 25)
    assert working_size((4000, 2), 400) == (400, 1)


def test_max_side_sets_the_grid_and_not_the_picture(network: Classifier) -> None:
    (large,) = CAM(network, max_side=0)([noise(210, 90)], [[0]])
    (small,) = CAM(network, max_side=64)([noise(210, 90)], [[0]])
    assert large.maps.shape == (1, 23, 53)
    assert small.maps.shape == (1, 7, 16)
    assert large.image_size == small.image_size == (90, 210)
    assert small.upsample().shape == (1, 90, 210)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scales": []}, "scales are one or more numbers above 0 and at most 8; got []"),
        ({"scales": [-1]}, "scales are one or more numbers above 0 and at most 8; got [-1]"),
        ({"scales": [1, 9]}, "scales are one or more numbers above 0 and at most 8; got [1, 9]"),
        ({"scales": [math.inf]}, "scales are one or more numbers above 0 and at most 8; got [inf]"),
        ({"scales": [1, 2, 1]}, "each scale once; got [1, 2, 1]"),
        ({"max_side": 20}, "max_side is at least 32 pixels, or 0 for no limit; got 20"),
        ({"max_side": -5}, "max_side is at least 32 pixels, or 0 for no limit; got -5"),
        ({"batch_size": -1}, "batch_size is at least 1; got -1"),
        ({"batch_size": 0}, "batch_size is at least 1; got 0"),
    ],
)
def test_impossible_settings(network: Classifier, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        CAM(network, **settings)
    assert str(caught.value) == message


class FixedSize(ToyNetwork):
    img_size = (48, 64)

    def forward(self, inputs: Tensor) -> Tensor:
        if tuple(inputs.shape[-2:]) != self.img_size:
            raise ValueError("only 48 x 64")
        return super().forward(inputs)


def test_networks_of_one_input_size() -> None:
    network = Classifier.from_module(FixedSize())
    assert network.fixed_size == (48, 64)
    for method in (CAM(network), AdvCAM(network, iterations=2), AdvCAM(network, variant="published", iterations=2)):
        assert method.scales == (1.0,)
        (result,) = method([noise(90, 30)], [[0]])
        assert result.maps.shape == (1, 8, 23)
    with pytest.raises(SettingError) as caught:
        CAM(network, scales=(0.5, 1))
    assert str(caught.value) == (
        "this network takes 48 x 64 pixels only, so scales must be 1; got [0.5, 1] (a timm vision transformer loaded "
        "by name, or with dynamic_img_size=True, takes any size)"
    )


# Pictures


def test_kinds_of_pictures(network: Classifier) -> None:
    image = noise()
    array = np.asarray(image)
    method = CAM(network, scales=(1,))
    from_image, from_array = method([image, array], [[0], [0]])
    np.testing.assert_array_equal(from_image.maps, from_array.maps)
    grey = image.convert("L")
    results = method([grey, np.asarray(grey), grey.convert("RGB")], [[0]] * 3)
    np.testing.assert_array_equal(results[0].maps, results[1].maps)
    np.testing.assert_array_equal(results[0].maps, results[2].maps)
    for mode in ("RGBA", "CMYK", "P", "1", "LA", "I"):
        (result,) = method([image.convert("L").convert(mode) if mode == "LA" else image.convert(mode)], [[0]])
        assert np.isfinite(result.maps).all()


@pytest.mark.parametrize(
    ("picture", "got"),
    [
        ("cat.jpg", "str"),
        (None, "NoneType"),
        (np.zeros((8, 8, 3)), "ndarray of float64 (8, 8, 3)"),
        (np.zeros((8, 8, 4), dtype=np.uint8), "ndarray of uint8 (8, 8, 4)"),
        (np.zeros((3,), dtype=np.uint8), "ndarray of uint8 (3,)"),
        (torch.zeros(3, 8, 8), "Tensor of torch.float32 (3, 8, 8)"),
    ],
)
def test_what_is_no_picture(network: Classifier, picture: object, got: str) -> None:
    with pytest.raises(PictureError) as caught:
        CAM(network)([picture], [[0]])  # type: ignore[list-item]
    assert str(caught.value) == f"a picture is a PIL image or a uint8 array (H, W, 3) or (H, W); got {got}"


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (33, 33)])
def test_pictures_of_odd_sizes(network: Classifier, size: tuple[int, int]) -> None:
    (result,) = AdvCAM(network, iterations=2)([noise(*size)], [[0, 1]])
    assert result.maps.shape == (2, math.ceil(size[1] / 4), math.ceil(size[0] / 4))
    assert np.isfinite(result.maps).all()


# Targets


def test_targets_by_name_and_number_each_once(network: Classifier) -> None:
    (result,) = CAM(network)([noise()], [["plum", 0, "2", "Apple", 2]])
    assert result.class_ids == (2, 0)
    assert result.class_names == ("plum", "apple")
    assert len(result.maps) == len(result.scores) == 2


def test_no_targets_and_no_pictures(network: Classifier) -> None:
    for method in (CAM(network), AdvCAM(network, iterations=2)):
        empty, full = method([noise(70, 50), noise()], [[], [1]], record="maps")
        assert empty.class_ids == ()
        assert empty.maps.shape == (0, 13, 18)
        assert empty.maps.dtype == np.float32
        assert empty.steps is None
        assert empty.label_mask().max() == 0
        assert full.class_ids == (1,)
        assert method([], []) == []


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[0]], "one list of classes for each picture; got 1 for 2 pictures"),
        (["pear", "plum"], 'the classes of a picture are a list, as in [["tabby"]]; got a bare text'),
        (
            [[0], ["perr"]],
            "the classifier has no class 'perr'; did you mean 'pear'? it knows 3 classes, numbered 0 to 2",
        ),
        ([[0], [3]], "the classifier has no class 3; it knows 3 classes, numbered 0 to 2"),
        ([[0], [-1]], "the classifier has no class -1; it knows 3 classes, numbered 0 to 2"),
    ],
)
def test_wrong_targets(network: Classifier, targets: Any, message: str) -> None:
    with pytest.raises(LabelError) as caught:
        CAM(network)([noise(), noise()], targets)
    assert str(caught.value) == message


def test_scores_are_those_of_the_scale_nearest_to_one(network: Classifier) -> None:
    image = noise()
    (at_one,) = CAM(network, scales=(1,))([image], [[0, 1]])
    (at_many,) = CAM(network, scales=(0.5, 2, 1, 0.75))([image], [[0, 1]])
    np.testing.assert_array_equal(at_one.scores, at_many.scores)


# Cost


def test_cost() -> None:
    network = Classifier.from_module(ToyNetwork())
    assert CAM(network, scales=(1,)).cost([1, 2, 0]) == Cost(3, 4.0)  # one pass serves all classes of a picture
    assert CAM(network, scales=(0.5, 2), flip=False).cost([2]) == Cost(4, 4.25)
    assert GradCAM(network, scales=(1,), flip=False).cost([1]) == Cost(1, 2.0)
    assert AdvCAM(network, scales=(1,), iterations=8, flip=False).cost([1]) == Cost(1, 17.0)


@pytest.mark.parametrize("method", [CAM, AdvCAM])
def test_cost_counts_the_forward_passes(method: type[CAM]) -> None:
    module = Sizes()
    options: dict[str, Any] = {"iterations": 4} if method is AdvCAM else {}
    explained = method(Classifier.from_module(module), scales=(1,), batch_size=1, **options)
    module.seen.clear()
    explained([noise()], [[0, 1]])
    forward = sum(shape[0] for shape in module.seen)
    backward = forward - 2 if method is AdvCAM else 0
    assert explained.cost([2]).passes == forward + backward


# What a call leaves behind


class Failing(ToyNetwork):
    """Raises in its n-th call after it was armed."""

    countdown = -1  # of the class, for the copies that a method runs

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.features(inputs)
        Failing.countdown -= 1
        if Failing.countdown == 0:
            raise RuntimeError("out of luck")
        return self.head(features.mean(dim=(2, 3)))


def hooks(module: nn.Module) -> int:
    return sum(
        len(layer._forward_hooks) + len(layer._forward_pre_hooks) + len(layer._backward_hooks)
        for layer in module.modules()
    )


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


METHODS: list[Callable[[Classifier], CAM]] = [CAM, GradCAM, lambda c: AdvCAM(c, iterations=3)]  # type: ignore[list-item, return-value]


@pytest.mark.parametrize("make", METHODS)
def test_hooks_and_memory_are_released(make: Callable[[Classifier], CAM]) -> None:
    module = ToyNetwork()
    inputs: list[weakref.ref[Tensor]] = []
    handle = module.register_forward_hook(lambda _layer, args, _output: inputs.append(weakref.ref(args[0])))
    method = make(Classifier.from_module(module))
    method([noise()], [[0]])  # the copy that is kept
    before = tensors()
    method([noise()], [[0, 1]], record="none")
    handle.remove()
    assert hooks(module) == 0
    assert tensors() == before
    assert inputs
    assert all(reference() is None for reference in inputs)


@pytest.mark.parametrize("make", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_an_error_in_the_network_leaves_it_as_it_was(make: Callable[[Classifier], CAM], training: bool) -> None:
    module = Failing()
    method = make(Classifier.from_module(module))
    module.train(training)
    module.features[1].train(not training)
    module.head.requires_grad_(False)
    modes = [layer.training for layer in module.modules()]
    required = [parameter.requires_grad for parameter in module.parameters()]
    method([noise()], [[0]])  # the copy that is kept
    before = tensors()
    Failing.countdown = 2
    with pytest.raises(RuntimeError, match="out of luck"):
        method([noise()], [[0, 1]])
    assert Failing.countdown == 0
    assert [layer.training for layer in module.modules()] == modes
    assert [parameter.requires_grad for parameter in module.parameters()] == required
    assert hooks(module) == 0
    assert tensors() == before
    (result,) = method([noise()], [[0]])
    assert result.maps.max() == pytest.approx(1)


def test_training_mode_and_gradients_come_back_after_success() -> None:
    module = ToyNetwork()
    module.train()
    module.features[0].eval()
    network = Classifier.from_module(module)
    for make in METHODS:
        make(network)([noise()], [[0]])
        assert module.training
        assert not module.features[0].training
        assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_a_network_that_answers_nan_is_an_error() -> None:
    class Nan(ToyNetwork):
        broken = False

        def forward(self, inputs: Tensor) -> Tensor:
            features = self.features(inputs * math.nan if self.broken else inputs)
            return self.head(features.mean(dim=(2, 3)))

    module = Nan()
    network = Classifier.from_module(module)
    module.broken = True
    for method in (CAM(network), AdvCAM(network, iterations=2)):
        with pytest.raises(ModelError) as caught:
            method([noise()], [[0]])
        assert str(caught.value) == (
            "the classifier answers NaN or infinity for this picture; check its weights and input range"
        )
