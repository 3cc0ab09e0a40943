"""Inference against a slow literal one; tiles against the whole picture; what is allowed, large, or wrong."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from advcam.errors import ModelError, OutOfMemoryError, PictureError, SettingError
from advcam.refine.dense_crf import DEEPLAB, dense_crf, probability_unary
from advcam.segment import inference
from advcam.segment.inference import GRID, InferenceSettings, label_mask, predict, probabilities
from advcam.segment.network import SegmentationNetwork
from advcam.training.augment import Normalisation

PLAIN = InferenceSettings(flip=False, max_side=None)


class Toy(SegmentationNetwork):
    """Two convolutions at stride 4: a receptive field of 19 pixels."""

    def __init__(self, num_classes: int = 4) -> None:
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Tanh()
        )
        super().__init__(encoder, num_classes, Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), (8,))
        self.head = nn.Conv2d(8, num_classes, 3, padding=1)
        with torch.no_grad():
            self.head.weight *= 8
        self.inputs: list[tuple[int, ...]] = []

    def encode(self, inputs: Tensor) -> list[Tensor]:
        self.inputs.append(tuple(inputs.shape))
        return [self.encoder(inputs)]

    def decode(self, features: list[Tensor]) -> Tensor:
        scores: Tensor = self.head(features[-1])
        return scores

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.head.named_parameters()


def photograph(width: int, height: int) -> NDArray[np.uint8]:
    picture = Image.fromarray(skimage.data.astronaut())
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def literal(network: Toy, picture: NDArray[np.uint8], scales: tuple[float, ...], flip: bool) -> NDArray[np.float64]:
    """Softmax of one view after the other, in float64; each pixel asks for its four scores."""
    exact = Toy(network.num_classes).double()
    exact.load_state_dict(network.state_dict())
    mean, std = np.array(network.normalisation.mean), np.array(network.normalisation.std)
    pixels = torch.from_numpy(((picture / 255.0 - mean) / std).transpose(2, 0, 1))[None]
    found = []
    for scale in scales:
        size = [round(length * scale) for length in picture.shape[:2]]
        resized = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        for mirrored in (False, True) if flip else (False,):
            canvas = torch.zeros((1, 3, *(-(-length // 32) * 32 for length in size)), dtype=torch.float64)
            canvas[:, :, : size[0], : size[1]] = resized
            cells = exact(canvas.flip(3)).flip(3) if mirrored else exact(canvas)
            logits = bilinear(cells[0].detach().numpy(), picture.shape[:2], size)
            found.append(np.exp(logits) / np.exp(logits).sum(0))
    return np.mean(found, axis=0)


def bilinear(logits: NDArray[np.float64], sides: Sequence[int], view: Sequence[int]) -> NDArray[np.float64]:
    """Scores of cells of 4 x 4 pixels of a view, at the pixels of the picture."""
    found = np.empty((len(logits), *sides))
    for row in range(sides[0]):
        y = min(max((row + 0.5) * view[0] / sides[0] / 4 - 0.5, 0), logits.shape[1] - 1)
        top, bottom = int(y), min(int(y) + 1, logits.shape[1] - 1)
        for column in range(sides[1]):
            x = min(max((column + 0.5) * view[1] / sides[1] / 4 - 0.5, 0), logits.shape[2] - 1)
            left, right = int(x), min(int(x) + 1, logits.shape[2] - 1)
            upper = logits[:, top, left] * (left + 1 - x) + logits[:, top, right] * (x - left)
            lower = logits[:, bottom, left] * (left + 1 - x) + logits[:, bottom, right] * (x - left)
            found[:, row, column] = upper * (top + 1 - y) + lower * (y - top)
    return found


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), False), ((1.0,), True), ((0.5, 1.0, 1.75), True)])
def test_probabilities_are_the_mean_softmax_of_the_views(scales: tuple[float, ...], flip: bool) -> None:
    network, picture = Toy(), photograph(93, 71)
    found = probabilities(network, picture, InferenceSettings(scales=scales, flip=flip))
    expected = literal(network, picture, scales, flip)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4  # of a place between pixels float32 knows four digits
    assert len(np.unique(expected.argmax(0))) > 2  # a network that says one thing would show nothing
    mask = label_mask(network, picture, InferenceSettings(scales=scales, flip=flip))
    assert (mask == expected.argmax(0))[clear(expected)].all()


def clear(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where one class leads."""
    first, second = np.sort(values, axis=0)[[-1, -2]]
    return np.asarray(first - second > 1e-3)


def test_the_mirrored_picture_has_the_mirrored_mask() -> None:
    network, picture = Toy(), photograph(96, 64)
    found = probabilities(network, picture)
    mirrored = probabilities(network, np.ascontiguousarray(picture[:, ::-1]))
    assert np.abs(found - mirrored[..., ::-1]).max() < 1e-5


@pytest.mark.parametrize("size", [(352, 416), (449, 75), (401, 333)])
@pytest.mark.parametrize("flip", [False, True])
def test_tiles_equal_the_whole_picture(size: tuple[int, int], flip: bool) -> None:
    network, picture = Toy(), photograph(*size)
    whole = InferenceSettings(flip=flip, max_side=None)
    tiled = whole.model_copy(update={"tile": 160})
    values, expected = probabilities(network, picture, whole), predict(network, picture, whole)
    network.inputs.clear()
    found = predict(network, picture, tiled)
    assert max(max(shape[2:]) for shape in network.inputs) == 160
    assert (found.mask == expected.mask)[clear(values)].all()
    assert np.abs(found.confidence - expected.confidence).max() < 1e-4
    assert np.abs(probabilities(network, picture, tiled) - values).max() < 1e-4


def test_tiles_equal_the_whole_picture_at_every_scale() -> None:
    network, picture = Toy(), photograph(352, 416)  # of which the half and the three halves are whole pixels
    whole = InferenceSettings(scales=(0.5, 1.5), max_side=None)
    values = probabilities(network, picture, whole)
    tiled = probabilities(network, picture, whole.model_copy(update={"tile": 160}))
    assert np.abs(tiled - values).max() < 3e-3  # rounding of the resized picture, which the toy's weights raise


@given(length=st.integers(1, 7000), cells=st.integers(4, 40))
@settings(max_examples=300, deadline=None)
def test_tiles_cover_a_side_once_and_overlap(length: int, cells: int) -> None:
    tile = GRID * cells
    stretches = inference._stretches(length, tile)
    assert [pixel for one in stretches for pixel in (one.first, one.last)][1:-1:2] == [o.first for o in stretches[1:]]
    assert (stretches[0].first, stretches[-1].last) == (0, length)
    for one in stretches:
        assert one.start % GRID == 0
        assert one.end - one.start <= tile
        assert one.start <= one.first < one.last <= one.end
        assert one.start == 0 or one.first - one.start >= tile * inference.OVERLAP // 2
        assert one.end == length or one.end - one.last >= tile * inference.OVERLAP // 2


@pytest.mark.parametrize("tile", [128, 1024])
def test_larger_pictures_get_the_probabilities_of_the_smaller_one(tile: int) -> None:
    network, picture = Toy(), photograph(500, 380)
    chosen = InferenceSettings(max_side=250, tile=tile)
    found = probabilities(network, picture, chosen)
    small = np.asarray(Image.fromarray(picture).resize((250, 190), Image.Resampling.BILINEAR))
    inner = probabilities(network, small, chosen.model_copy(update={"max_side": None}))
    expected = functional.interpolate(torch.from_numpy(inner)[None], (380, 500), mode="bilinear")[0].numpy()
    # Where two tiles meet, the one pixel beside is of the same tile here and of the neighbour there.
    assert np.abs(found - expected).max() < (0.03 if tile == 128 else 1e-5)
    assert np.abs(found - expected).mean() < 1e-4
    assert (predict(network, picture, chosen).mask == found.argmax(0)).all()
    assert np.array_equal(predict(network, picture, chosen).confidence, found.max(0))


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = Toy(), photograph(300, 211)
    chosen = InferenceSettings(max_side=100)
    whole = predict(network, picture, chosen)
    monkeypatch.setattr(inference, "_BAND", 4 * 300 * 7)
    banded = predict(network, picture, chosen)
    assert (whole.mask == banded.mask).all()
    assert np.array_equal(whole.confidence, banded.confidence)


def test_allowed_classes_share_the_probability() -> None:
    network, picture = Toy(), photograph(96, 80)
    every = probabilities(network, picture)
    found = predict(network, picture, allowed=[3, 1])
    assert (found.mask == np.array([0, 1, 3])[every[[0, 1, 3]].argmax(0)]).all()
    assert 3 in found.mask
    assert 2 in every.argmax(0)
    expected = every[[0, 1, 3]].max(0) / every[[0, 1, 3]].sum(0)
    assert np.abs(found.confidence - expected).max() < 1e-5
    assert not predict(network, picture, allowed=[]).mask.any()


def test_dense_crf_is_that_of_deeplab() -> None:
    network, picture = Toy(), photograph(64, 48)
    chosen = InferenceSettings(crf=True)
    plain = torch.from_numpy(probabilities(network, picture))[None]
    rgb = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
    expected = dense_crf(rgb, probability_unary(plain), DEEPLAB)[0].numpy()
    assert np.abs(probabilities(network, picture, chosen) - expected).max() < 1e-4
    assert np.abs(plain[0].numpy() - expected).max() > 0.05
    assert set(np.unique(label_mask(network, picture, chosen, allowed=[2]))) <= {0, 2}


def test_dense_crf_goes_tile_by_tile() -> None:
    network, picture = Toy(), photograph(192, 128)
    whole = label_mask(network, picture, InferenceSettings(crf=True))
    tiled = label_mask(network, picture, InferenceSettings(crf=True, tile=128))
    assert (whole == tiled).mean() > 0.95


class Failing(Toy):
    """Memory for so many pixels."""

    room = 0

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[2] * inputs.shape[3] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(inputs)


def test_where_memory_runs_out_tiles_become_smaller() -> None:
    network, picture = Failing(), photograph(384, 320)
    network.room = 192 * 192
    found = label_mask(network, picture, PLAIN)
    assert network.inputs[0][2] == 192  # half of the longer side
    network.room = 384 * 320
    assert (found == label_mask(network, picture, PLAIN)).all()


def test_not_even_a_small_tile() -> None:
    with pytest.raises(OutOfMemoryError, match="not even 128 x 128 pixels of a picture fit into the memory of cpu"):
        label_mask(Failing(), photograph(384, 320))


def test_other_errors_of_the_network_are_not_hidden() -> None:
    network = Toy()
    network.forward = lambda inputs: inputs.view(7)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="invalid"):
        label_mask(network, photograph(64, 64))


def test_nan_is_said() -> None:
    network = Toy()
    with torch.no_grad():
        network.head.bias[0] = torch.nan
    with pytest.raises(ModelError, match="the network answers NaN or infinity in float32"):
        label_mask(network, photograph(64, 64))


@pytest.mark.parametrize("allowed", [[4], [-1], [1, 255]])
def test_unknown_classes(allowed: list[int]) -> None:
    with pytest.raises(SettingError, match=f"class numbers of this network lie between 1 and 3; got {allowed[-1]}"):
        label_mask(Toy(), photograph(64, 64), allowed=allowed)


@pytest.mark.parametrize(
    "wrong",
    [lambda p: p[..., 0], lambda p: p[..., :2], lambda p: p.astype(np.float32), lambda p: p[:0]],
)
def test_no_picture(wrong: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    with pytest.raises(PictureError, match=r"a picture is RGB, \(H, W, 3\), uint8; got shape"):
        label_mask(Toy(), wrong(photograph(64, 64)))


@pytest.mark.parametrize(
    "wrong", [{"scales": ()}, {"scales": (0.0,)}, {"scales": (9.0,)}, {"tile": 100}, {"tile": 96}, {"max_side": 0}]
)
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InferenceSettings.model_validate(wrong)


def test_bfloat16_is_close() -> None:
    network, picture = Toy(), photograph(96, 80)
    exact = probabilities(network, picture)
    found = probabilities(network, picture, InferenceSettings(precision="bfloat16"))
    assert 0 < np.abs(found - exact).max() < 0.05


def test_the_network_is_left_in_evaluation_mode() -> None:
    network = Toy().train()
    label_mask(network, photograph(64, 64))
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("size", [(1, 1), (700, 1), (1, 40), (33, 31), (1100, 5)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for chosen in (InferenceSettings(max_side=512), InferenceSettings(scales=(0.1, 2.0), max_side=None, tile=128)):
        found = probabilities(Toy(), picture, chosen)
        assert np.abs(found.sum(0) - 1).max() < 1e-4
        assert (predict(Toy(), picture, chosen).mask == found.argmax(0)).all()
