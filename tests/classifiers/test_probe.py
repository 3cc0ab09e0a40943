"""Head and feature layer of real architectures and of hostile little ones."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision.models as tv
from PIL import Image
from torch import Tensor, nn

from advcam import AdvCAM, Classifier, GradCAM
from advcam.attribution.response import DenseResponse, GradientResponse, LinearResponse, Response
from advcam.classifiers.layers import LayerResponder, MapResponder
from advcam.errors import LabelError, ModelError


def adapted(make: Callable[[], nn.Module], **options: object) -> Classifier:
    """A network with reproducible random weights, adapted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
    return Classifier.from_module(module, **options)  # type: ignore[arg-type]


def answer(network: Classifier, height: int = 96, width: int = 64) -> Response:
    if network.fixed_size is not None:
        height, width = network.fixed_size
    unit = network.size_multiple
    inputs = torch.rand((2, 3, height // unit * unit, width // unit * unit), generator=torch.Generator().manual_seed(0))
    with network.frozen():
        return network.respond(inputs)


LINEAR: dict[str, tuple[Callable[[], nn.Module], LayerResponder]] = {
    "torchvision resnet18": (
        lambda: tv.resnet18(num_classes=7),
        LayerResponder("layer4", head="fc"),
    ),
    "torchvision densenet121": (
        lambda: tv.densenet121(num_classes=7),
        LayerResponder("features", head="classifier", rectified=True),
    ),
    "torchvision swin": (
        lambda: tv.swin_transformer.SwinTransformer(
            patch_size=[4, 4], embed_dim=24, depths=[1, 1], num_heads=[2, 2], window_size=[7, 7], num_classes=7
        ),
        LayerResponder("permute", head="head"),
    ),
    "timm resnet10t": (
        lambda: timm.create_model("resnet10t", num_classes=7),
        LayerResponder("layer4", head="fc"),
    ),
    "timm mean-pooled vit": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224",
            num_classes=7,
            depth=2,
            global_pool="avg",
            class_token=False,
            fc_norm=False,
            dynamic_img_size=True,
        ),
        LayerResponder("norm", "tokens", head="head", patch=(16, 16)),
    ),
    "timm swin": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224",
            num_classes=7,
            embed_dim=24,
            depths=(1, 1),
            num_heads=(2, 2),
            strict_img_size=False,
        ),
        LayerResponder("norm", "NHWC", head="head.fc", patch=(1, 1)),
    ),
}


def _torchvision_vit() -> nn.Module:
    module = tv.VisionTransformer(64, 16, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=48, num_classes=7)
    nn.init.normal_(module.heads.head.weight)  # torchvision leaves it zero, so that nothing would influence the score
    return module


GRADIENT: dict[str, tuple[Callable[[], nn.Module], LayerResponder]] = {
    "torchvision vgg16": (lambda: tv.vgg16(num_classes=7), LayerResponder("features.29")),
    "torchvision squeezenet": (lambda: tv.squeezenet1_1(num_classes=7), LayerResponder("classifier.2")),
    "torchvision mobilenet_v3_small": (lambda: tv.mobilenet_v3_small(num_classes=7), LayerResponder("features")),
    "torchvision convnext_tiny": (lambda: tv.convnext_tiny(num_classes=7), LayerResponder("features")),
    "torchvision vit": (
        _torchvision_vit,
        LayerResponder("encoder.layers.encoder_layer_1.ln_1", "tokens", prefix_tokens=1, patch=(16, 16)),
    ),
    "timm vit": (
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=2, dynamic_img_size=True),
        LayerResponder("blocks.1.norm1", "tokens", prefix_tokens=1, patch=(16, 16)),
    ),
    "timm vit of a fixed size": (
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=2, img_size=64),
        LayerResponder("blocks.1.norm1", "tokens", prefix_tokens=1, patch=(16, 16)),
    ),
    "timm vit with registers": (
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=2, dynamic_img_size=True, reg_tokens=4),
        LayerResponder("blocks.1.norm1", "tokens", prefix_tokens=5, patch=(16, 16)),
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_heads(name: str) -> None:
    make, expected = LINEAR[name]
    network = adapted(make)
    assert network.responder == expected
    assert network.fixed_size is None
    response = answer(network)
    assert isinstance(response, LinearResponse)
    assert response.scores.shape == (2, 7)
    assert response.bias is not None
    for label in range(7):
        maps = response.class_map(torch.tensor([label, label]))
        assert maps.shape[-2] > maps.shape[-1] > 1, "96 x 64 pixels: higher than wide"
        torch.testing.assert_close(
            maps.mean(dim=(1, 2)) + response.bias[label], response.scores[:, label], rtol=1e-3, atol=1e-4
        )
    torch.testing.assert_close(response.score_maps().mean(dim=(2, 3)), response.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", GRADIENT)
def test_other_heads(name: str) -> None:
    make, expected = GRADIENT[name]
    network = adapted(make)
    assert network.responder == expected
    response = answer(network)
    assert isinstance(response, GradientResponse)
    assert response.positive_weights is None
    maps = response.class_map(torch.tensor([0, 6]))
    gradient = response.feature_gradient(torch.tensor([0, 6]))
    assert maps.shape == (2, *gradient.shape[-2:])
    assert (gradient.abs().sum(dim=1) > 0).float().mean() > 0.5
    assert maps.std() > 0


def test_a_vision_transformer_of_a_fixed_size() -> None:
    for name, size in (("torchvision vit", (64, 64)), ("timm vit of a fixed size", (64, 64)), ("timm vit", None)):
        network = adapted(GRADIENT[name][0])
        assert network.fixed_size == size
        assert network.size_multiple == 16
        assert network.describe()["input"] == ("any size" if size is None else "64 x 64")


# Small modules of one's own


class Net(nn.Module):
    """Convolutions to 6 channels, a 5-class linear head behind global average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 5, stride=4)
        self.norm = nn.BatchNorm2d(6)
        nn.init.uniform_(self.norm.weight, 2, 3)
        self.head = nn.Linear(6, 5)

    def features(self, inputs: Tensor) -> Tensor:
        return self.norm(self.body(inputs))

    def forward(self, inputs: Tensor) -> object:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


class InPlace(Net):
    """A ReLU overwrites the output of the layer that is named."""

    def features(self, inputs: Tensor) -> Tensor:
        return nn.functional.relu_(self.norm(self.body(inputs)))


class PointwiseHead(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(6, 5, 1)  # type: ignore[assignment]

    def forward(self, inputs: Tensor) -> object:
        return self.head(self.features(inputs)).mean(dim=(2, 3))


class DenseMaps(PointwiseHead):
    def forward(self, inputs: Tensor) -> object:
        return self.head(self.features(inputs))


class Answers(Net):
    """Wraps its scores in what libraries return."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, inputs: Tensor) -> object:
        scores = super().forward(inputs)
        assert isinstance(scores, Tensor)
        return self.wrap(scores)


def test_a_plain_network() -> None:
    network = adapted(Net)
    assert network.responder == LayerResponder("norm", head="head")
    assert network.class_names == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert network.describe() == {
        "network": "Net",
        "classes": "5",
        "class map": "linear, W f",
        "feature layer": "norm",
        "head": "head",
        "input": "any size",
    }


def test_an_in_place_relu_behind_the_layer_is_seen_and_harmless() -> None:
    network = adapted(InPlace)
    assert network.responder == LayerResponder("norm", head="head", rectified=True)
    response = answer(network)
    assert isinstance(response, LinearResponse)
    assert response.features().min() < 0, "the features as the layer made them"
    torch.testing.assert_close(response.score_maps().mean(dim=(2, 3)), response.scores, rtol=1e-4, atol=1e-5)
    named = adapted(InPlace, feature_layer="body")
    assert isinstance(answer(named), GradientResponse)
    assert torch.isfinite(answer(named).feature_gradient(torch.tensor([0, 1]))).all()


def test_a_pointwise_convolution_as_head() -> None:
    network = adapted(PointwiseHead)
    response = answer(network)
    assert response.scores.shape == (2, 5)
    inputs = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with network.frozen():
        direct = network.module.head(network.module.features(inputs))[:, 2] - network.module.head.bias[2]
        ours = network.respond(inputs).class_map(torch.tensor([2]))
    torch.testing.assert_close(ours, direct, rtol=1e-4, atol=1e-5)


def test_a_network_that_returns_class_maps() -> None:
    network = adapted(DenseMaps)
    assert network.responder == MapResponder()
    response = answer(network)
    assert isinstance(response, DenseResponse)
    torch.testing.assert_close(response.scores, response.score_maps().mean(dim=(2, 3)))
    assert len(network.class_names) == 5
    assert network.describe()["class map"] == "the network's own"
    layered = adapted(DenseMaps, feature_layer="norm")
    assert layered.responder == LayerResponder("norm", head="head")
    torch.testing.assert_close(answer(layered).scores, response.scores)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores: {"logits": scores, "loss": 0},
        lambda scores: {"out": scores},
        lambda scores: (scores, None),
        lambda scores: [scores],
        lambda scores: SimpleNamespace(logits=scores),
    ],
)
def test_wrapped_scores(wrap: Callable[[Tensor], object]) -> None:
    network = adapted(lambda: Answers(wrap))
    assert network.responder == LayerResponder("norm", head="head")
    torch.testing.assert_close(answer(network).scores, answer(adapted(Net)).scores)


@pytest.mark.parametrize(
    ("wrap", "got"),
    [
        (lambda scores: scores.sum(), "shape ()"),
        (lambda scores: scores[:, :, None], "shape (1, 5, 1)"),
        (lambda _scores: "tabby", "str"),
        (lambda scores: {"answer": scores}, "dict"),
        (lambda _scores: (), "tuple"),
    ],
)
def test_what_is_no_classifier(wrap: Callable[[Tensor], object], got: str) -> None:
    with pytest.raises(ModelError) as caught:
        adapted(lambda: Answers(wrap))
    assert str(caught.value) == (f"the network must return class scores (N, K) or class maps (N, K, h, w); got {got}")


def test_a_network_that_cannot_run() -> None:
    class Grey(Net):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(1, 6, 5)

    with pytest.raises(
        ModelError, match=r"^the network could not be run on a picture \(1, 3, 224, 224\): .*1 channels"
    ):
        adapted(Grey)


def test_a_named_layer() -> None:
    network = adapted(lambda: tv.resnet18(num_classes=7), feature_layer="layer2")
    assert network.responder == LayerResponder("layer2")
    assert answer(network).features().shape == (2, 128, 12, 8)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer9", "the network has no layer 'layer9'; its top layers are body, norm, head"),
        (
            "head",
            (
                "the layer 'head' gives (1, 5) for a picture of (1, 3, 224, 192), which is no grid of features "
                "(N, F, h, w), (N, h, w, F) or (N, tokens, F) of a model that states its patch size"
            ),
        ),
    ],
)
def test_wrong_layers(layer: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        adapted(Net, feature_layer=layer)
    assert str(caught.value) == message


def test_a_linear_layer_on_flattened_features_is_not_linear_in_their_mean() -> None:
    layers = (nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(294, 4))
    network = adapted(lambda: nn.Sequential(*layers))
    assert network.responder == LayerResponder("1")
    assert answer(network).class_map(torch.tensor([0, 1])).shape == (2, 23, 15)


def test_no_grid_of_features() -> None:
    with pytest.raises(ModelError) as caught:
        adapted(lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)))
    assert str(caught.value) == (
        "no layer with a grid of features was found; name one with feature_layer=..., or give the network's own class "
        "maps with responder=..."
    )


def test_a_responder_of_ones_own() -> None:
    def own(module: nn.Module, inputs: Tensor) -> Response:
        return DenseResponse(module.head(module.features(inputs)))

    network = adapted(PointwiseHead, responder=own, class_names=["a", "b", "c", "d", "e"], name="mine")
    assert isinstance(answer(network), DenseResponse)
    assert network.describe()["network"] == "mine"
    assert network.class_id("c") == 2


def test_nan_in_the_weights() -> None:
    module = Net()
    module.norm.running_var[2] = torch.nan
    with pytest.raises(ModelError) as caught:
        Classifier.from_module(module)
    assert str(caught.value) == (
        "the network holds NaN or infinity in 'norm.running_var'; its training diverged or its file is damaged"
    )


def test_number_of_names() -> None:
    with pytest.raises(LabelError) as caught:
        adapted(Net, class_names=["cat", "dog"])
    assert str(caught.value) == "the network has 5 outputs, but 2 class names were given"


def test_half_precision_networks_answer_in_float32() -> None:
    network = adapted(lambda: Net().bfloat16())
    # What is climbed adds up small steps, so it is float32 also before a network in half precision.
    assert network.normalise(torch.rand(1, 3, 64, 64)).dtype == torch.float32
    response = network.respond(network.normalise(torch.rand(1, 3, 64, 64)))
    assert response.scores.dtype == response.class_map(torch.tensor([0])).dtype == torch.float32


def test_nothing_is_left_on_the_module() -> None:
    module = Net().train()
    network = Classifier.from_module(module)
    AdvCAM(network, iterations=2)
    answer(network)
    assert module.training
    assert all(not layer._forward_hooks for layer in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_the_methods_run_on_transformers() -> None:
    network = adapted(GRADIENT["timm vit"][0])
    picture = Image.new("RGB", (50, 70), "navy")
    for method in (GradCAM(network), AdvCAM(network, iterations=2)):
        (result,) = method([picture], [[0]])
        assert result.maps.shape == (1, 18, 13)
