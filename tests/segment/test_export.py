"""An ONNX file answers as PyTorch does, on pictures of every size, and says in itself what it is."""

import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional

import advcam
from advcam.errors import ModelError, SettingError, WeightsError
from advcam.segment.agreement import Comparison, compare
from advcam.segment.export import Export, compare_onnx, export_onnx
from advcam.segment.network import NetworkSettings, SegmentationNetwork, create_network
from advcam.segment.tracing import PaddedConv2d
from advcam.training.augment import Normalisation

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
NAMES = ("cat", "dög")


class Toy(SegmentationNetwork):
    """One layer down by 4, one that scores; sides that `multiple` divides."""

    def __init__(self, multiple: int = 1, num_classes: int = 3) -> None:
        encoder = nn.Sequential(Conv2dSame(3, 4, 3, stride=2), nn.ReLU(inplace=True), Conv2dSame(4, 4, 5, stride=2))
        super().__init__(encoder, num_classes, NORMALISATION, (4,), multiple)
        self.head = nn.Conv2d(4, num_classes, 1)
        generator = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            parameter.data.normal_(0, 0.7, generator=generator)
        self.eval()

    def encode(self, inputs: Tensor) -> list[Tensor]:
        return [self.encoder(inputs)]

    def decode(self, features: list[Tensor]) -> Tensor:
        return self.head(features[-1])

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.head.named_parameters()


class OneSize(Toy):
    """Knows only pictures of 48 x 64."""

    def encode(self, inputs: Tensor) -> list[Tensor]:
        if inputs.shape[-2:] != (48, 64):
            raise ValueError("only 48 x 64")
        return super().encode(inputs)


class NoSize(Toy):
    """Looks at values of the picture, which no tracing can follow."""

    def encode(self, inputs: Tensor) -> list[Tensor]:
        return super().encode(inputs if float(inputs.mean()) > 0.1 else -inputs)


def reference(network: SegmentationNetwork, pictures: np.ndarray) -> np.ndarray:
    """Written from the contract: normalise, score, enlarge, softmax, in float64."""
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (NORMALISATION.mean, NORMALISATION.std))
    with torch.inference_mode():
        scores = network.double()(torch.from_numpy((pictures.astype(np.float64) - mean) / std))
        full = functional.interpolate(scores, size=pictures.shape[2:], mode="bilinear", align_corners=False)
    network.float()
    exponents = np.exp(full.numpy() - full.numpy().max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Export]:
    """A network and its file; making it says nothing, whatever torch has to say."""
    toy, said = Toy(), io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("error")
        export = export_onnx(toy, NAMES, tmp_path_factory.mktemp("onnx") / "model.onnx")
    assert said.getvalue() == ""
    return toy, export


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 97, 129), (3, 64, 96), (1, 33, 250), (2, 5, 7)])
def test_answers_as_written_out(exported: tuple[Toy, Export], shape: tuple[int, int, int]) -> None:
    toy, export = exported
    pictures = np.random.default_rng(0).random((shape[0], 3, *shape[1:]), dtype=np.float32)
    (answer,) = onnxruntime.InferenceSession(export.path).run(None, {"pictures": pictures})
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, reference(toy, pictures), atol=1e-4)
    assert export.fixed_size is None
    assert export.why_fixed == ""


def test_pads_to_a_multiple(tmp_path: Path) -> None:
    toy = Toy(multiple=32)
    export = export_onnx(toy, NAMES, tmp_path / "model.onnx", opset=18)
    assert export.opset == 18
    assert export.fixed_size is None
    session = onnxruntime.InferenceSession(export.path)
    for count, height, width in ((1, 32, 32), (2, 33, 65), (1, 96, 31)):
        pictures = np.random.default_rng(0).random((count, 3, height, width), dtype=np.float32)
        (answer,) = session.run(None, {"pictures": pictures})
        np.testing.assert_allclose(answer, reference(toy, pictures), atol=1e-4)


def test_says_what_it_is(exported: tuple[Toy, Export]) -> None:
    toy, export = exported
    model = onnx.load(export.path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["class_names"]) == ["background", "cat", "dög"]
    assert json.loads(facts["normalisation"])["mean"] == [0.5, 0.4, 0.3]
    assert json.loads(facts["fixed_size"]) is None
    assert facts["advcam_version"] == advcam.__version__
    assert "RGB, 0 to 1; size: any" in facts["input"]
    (inputs,), (outputs,) = model.graph.input, model.graph.output
    assert [d.dim_param or d.dim_value for d in inputs.type.tensor_type.shape.dim] == ["batch", 3, "height", "width"]
    assert [d.dim_param or d.dim_value for d in outputs.type.tensor_type.shape.dim] == ["batch", 3, "height", "width"]
    assert model.opset_import[0].version == export.opset
    assert toy.encoder[0].__class__ is Conv2dSame, "the network itself is not touched"
    assert toy.encoder[1].inplace


def test_names_no_path_of_this_machine(exported: tuple[Toy, Export]) -> None:
    content = exported[1].path.read_bytes()
    assert b"stack_trace" not in content
    assert str(Path(__file__).parent).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


def test_falls_back_to_one_size(tmp_path: Path) -> None:
    export = export_onnx(OneSize(), NAMES, tmp_path / "model.onnx", fixed_size=(48, 64))
    assert export.fixed_size == (48, 64)
    assert export.why_fixed == "torch.export does not get through OneSize: only 48 x 64"
    assert export.drawn.sizes == 1
    facts = {entry.key: entry.value for entry in onnx.load(export.path).metadata_props}
    assert json.loads(facts["fixed_size"]) == [48, 64]
    assert "size: 48 x 64 (H x W) only" in facts["input"]
    two = np.zeros((2, 3, 48, 64), dtype=np.float32)
    assert onnxruntime.InferenceSession(export.path).run(None, {"pictures": two})[0].shape == (2, 3, 48, 64)


class Frozen(Toy):
    """Pools to 2 x 2 by strides that a graph for any size cannot know."""

    def decode(self, features: list[Tensor]) -> Tensor:
        return super().decode([functional.adaptive_avg_pool2d(features[-1], 2)])


def test_falls_back_where_the_graph_fails_later(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Tracing may go well, and the graph fail on pictures of another size; PSPNet does so."""
    export = export_onnx(Frozen(), NAMES, tmp_path / "model.onnx", fixed_size=(64, 96))
    assert export.fixed_size == (64, 96)
    assert export.why_fixed
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_says_that_it_cannot_be_traced(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"any size \(torch.export does not get through NoSize: .*\), nor .* 512 x 512"
    ):
        export_onnx(NoSize(), NAMES, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_leaves_nothing_where_it_differs(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"before")
    with pytest.raises(ModelError, match=r"answers otherwise than PyTorch: probabilities differ by .* where 1e-12"):
        export_onnx(Toy(), NAMES, tmp_path / "model.onnx", tolerance=1e-12)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"before"


def test_compares_what_another_network_says(exported: tuple[Toy, Export]) -> None:
    toy, export = exported
    random = np.random.default_rng(3)
    pictures = [Image.fromarray(random.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 50), (70, 31))]
    same = compare_onnx(toy, export.path, [*pictures, pictures[0]])
    assert same.pictures == 3
    assert same.sizes == 2
    assert same.largest_difference < 1e-4
    assert same.equal_labels > 0.999
    other = Toy()
    other.head.weight.data.neg_()
    found = compare_onnx(other, export.path, pictures)
    inputs = [np.asarray(p, dtype=np.float32).transpose(2, 0, 1)[None] / 255 for p in pictures]
    pairs = [(reference(toy, x), reference(other, x)) for x in inputs]
    expected = max(abs(a - b).max() for a, b in pairs)
    equal = sum((a.argmax(1) == b.argmax(1)).sum() for a, b in pairs) / sum(a[:, 0].size for a, _ in pairs)
    assert found.largest_difference == pytest.approx(expected, abs=1e-4)
    assert found.equal_labels == pytest.approx(equal, abs=1e-3)


class Answers:
    """Stands in for a session that answers the same whatever it is asked."""

    def __init__(self, answer: np.ndarray) -> None:
        self.answer = answer

    def get_inputs(self) -> list["Answers"]:
        return [self]

    shape = ("batch", 3, "height", "width")

    def run(self, *_: object) -> list[np.ndarray]:
        return [self.answer]


def test_nan_is_a_difference() -> None:
    answer = np.full((1, 3, 20, 30), np.nan, dtype=np.float32)
    found = compare(Toy(), Answers(answer), [Image.new("RGB", (30, 20))])
    assert found.largest_difference == np.inf


def test_another_shape_is_an_error() -> None:
    answer = np.zeros((1, 4, 20, 30), dtype=np.float32)
    with pytest.raises(ModelError, match=r"answers \(1, 4, 20, 30\) where the network answers \(1, 3, 20, 30\)"):
        compare(Toy(), Answers(answer), [Image.new("RGB", (30, 20))])


def test_nothing_to_compare() -> None:
    with pytest.raises(SettingError, match="there is no picture"):
        compare(Toy(), Answers(np.zeros(0)), [])


def test_refuses_files_that_are_none(tmp_path: Path) -> None:
    picture = [Image.new("RGB", (30, 20))]
    with pytest.raises(WeightsError, match=r"cannot read .*no.onnx \(No such file"):
        compare_onnx(Toy(), tmp_path / "no.onnx", picture)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(WeightsError, match=r"text.onnx: onnxruntime does not take the file"):
        compare_onnx(Toy(), tmp_path / "text.onnx", picture)


@pytest.mark.parametrize(
    ("opset", "words"), [(11, "opset 11 is too old: torch.export writes 18"), (99, "with opset 99")]
)
def test_opsets_that_are_none(tmp_path: Path, opset: int, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        export_onnx(Toy(), NAMES, tmp_path / "model.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_names_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec
    monkeypatch.setattr("advcam.segment.export.find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(SettingError, match=r"ONNX files need onnxscript; run: pip install 'advcam\[onnx\]'"):
        export_onnx(Toy(), NAMES, tmp_path / "model.onnx")


def test_counts_names(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"the network has 3 classes, the background counted; got 3 names"):
        export_onnx(Toy(), ("a", "b", "c"), tmp_path / "model.onnx")


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
)
def test_pads_as_tensorflow(kernel: int, stride: int, dilation: int, height: int, width: int) -> None:
    same = Conv2dSame(2, 3, kernel, stride=stride, dilation=dilation)
    inputs = torch.rand(1, 2, height, width)
    expected = same(inputs)
    same.__class__ = PaddedConv2d
    torch.testing.assert_close(same(inputs), expected)


def test_architectures_that_pad(tmp_path: Path) -> None:
    """U-Net, FPN and their like want sides that 32 divides; DeepLabV2 is exported in tests/cli."""
    pytest.importorskip("segmentation_models_pytorch")
    network = create_network(NetworkSettings(head="smp/fpn", model="test_resnet", weights="random"), 4).eval()
    export = export_onnx(network, ("a", "b", "c"), tmp_path / "model.onnx")
    assert export.fixed_size is None
    assert export.drawn == Comparison(4, 4, export.drawn.largest_difference, export.drawn.equal_labels)
    assert export.drawn.largest_difference < 1e-4
