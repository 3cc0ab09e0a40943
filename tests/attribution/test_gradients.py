"""CAM, Grad-CAM, Grad-CAM++ and LayerCAM: numbers derived by hand, and captum as a second opinion."""

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from literal import ToyNetwork
from PIL import Image
from torch import Tensor, nn

from advcam import CAM, Classifier, GradCAM, GradCAMPlusPlus, LayerCAM, create_method
from advcam.attribution.method import Batch, Method
from advcam.attribution.response import DenseResponse, GradientResponse, Response
from advcam.errors import ModelError


class Weighted(nn.Module):
    """The picture is its own feature layer; score = sum over channels and positions of a fixed tensor times it."""

    def __init__(self, gradient: Tensor) -> None:
        super().__init__()
        self.gradient = gradient

    def forward(self, inputs: Tensor) -> Response:
        layer = inputs.clone().requires_grad_()
        scores = torch.stack([(layer * self.gradient).sum(dim=(1, 2, 3)), -layer.sum(dim=(1, 2, 3))], dim=1)
        return GradientResponse(scores, layer, lambda tensor: tensor)


FEATURES = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]])
GRADIENT = torch.tensor([[[0.5, 0.0], [0.0, -1.0]], [[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])


def maps_of(method: type[Method], label: int = 0) -> Tensor:
    """Map of the closed-form network, (2, 2)."""
    network = Weighted(GRADIENT)
    adapted = Classifier.from_module(ToyNetwork(), responder=lambda _module, inputs: network(inputs))
    views = FEATURES[None, None]
    result = method(adapted).scale_maps(adapted, Batch(views, torch.tensor([label]), [0]), 1.0, "none")
    assert result.scores.shape == (1, 1, 2)
    assert result.scores[0, 0, 0] == pytest.approx(0.5 - 4 + 2 + 0 + 1)
    return result.total[0].float()


def test_grad_cam_by_hand() -> None:
    # Channel weights: 0.5 - 1 = -0.5, 3, 0.
    torch.testing.assert_close(maps_of(GradCAM), torch.tensor([[5.5, 0.0], [1.5, 1.0]]))


def test_cam_of_a_head_that_is_not_linear_is_grad_cam() -> None:
    torch.testing.assert_close(maps_of(CAM), maps_of(GradCAM))


def test_layer_cam_by_hand() -> None:
    # Positive gradients times features, summed over channels, times 4 positions.
    torch.testing.assert_close(maps_of(LayerCAM), 4 * torch.tensor([[0.5 + 2, 0.0], [0.0, 1.0]]))


def test_grad_cam_plus_plus_by_hand() -> None:
    # Channel 0, sum of features 10. At g = 0.5: 0.25 / (0.5 + 10 * 0.125) = 1 / 7, times 0.5. g = -1 counts nothing.
    # Channel 1, sum of features 4. At g = 1, three times: 1 / (2 + 4) = 1 / 6.
    expected = FEATURES[0] / 14 + FEATURES[1] / 2
    torch.testing.assert_close(maps_of(GradCAMPlusPlus), expected)


@pytest.mark.parametrize("method", [CAM, GradCAM, GradCAMPlusPlus, LayerCAM])
def test_a_class_with_negative_evidence_only_has_an_empty_map(method: type[Method]) -> None:
    assert torch.equal(maps_of(method, label=1), torch.zeros(2, 2))


def test_methods_of_the_feature_layer_refuse_networks_without_one() -> None:
    network = Classifier.from_module(ToyNetwork(), responder=lambda _module, inputs: DenseResponse(inputs))
    for method in (GradCAM, GradCAMPlusPlus, LayerCAM):
        with pytest.raises(ModelError) as caught:
            method(network)([Image.new("RGB", (64, 64), "red")], [[0]])
        assert str(caught.value) == "this network gives class maps but no feature layer; use CAM or AdvCAM"


@pytest.mark.parametrize("bias", [False, True])
def test_grad_cam_is_cam_for_a_linear_head(bias: bool) -> None:
    network = Classifier.from_module(ToyNetwork(2, bias=bias))
    views = torch.rand((3, 2, 3, 40, 52), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])
    batch = Batch(views, labels, [0, 1, 2])
    cam, grad = (method(network).scale_maps(network, batch, 1.0, "none") for method in (CAM, GradCAM))
    torch.testing.assert_close(cam.total, grad.total)
    torch.testing.assert_close(cam.scores, grad.scores)
    assert cam.total.max() > 0


@pytest.mark.parametrize("layer", [None, "layer3"])
def test_captum_agrees(layer: str | None) -> None:
    """On another head than linear (layer3) and on the last layer; captum divides by the positions, we do not."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    network = Classifier.from_module(module, feature_layer=layer)
    inputs = torch.rand((1, 3, 96, 128), generator=torch.Generator().manual_seed(1)) * 2 - 1
    second = LayerGradCam(module, getattr(module, layer or "layer4"))
    compared = 0
    for label in range(5):
        theirs = second.attribute(inputs, target=label, relu_attributions=True)[0, 0].detach()
        batch = Batch(inputs[None], torch.tensor([label]), [0])
        ours = GradCAM(network).scale_maps(network, batch, 1.0, "none").total[0]
        torch.testing.assert_close(ours, theirs * theirs.numel(), rtol=1e-4, atol=1e-5)
        compared += bool(theirs.max() > 0)
    assert compared >= 2


@pytest.mark.parametrize("name", ["cam", "gradcam", "gradcam++", "layercam"])
def test_a_batch_gives_what_its_pictures_give_alone(name: str) -> None:
    network = Classifier.from_module(ToyNetwork(1, classes=4))
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 56), (56, 40), (40, 56))]
    targets = [[0, 1, 3], [2], [1, 0]]
    together = create_method(name, network, batch_size=5)(pictures, targets)
    for picture, labels, result in zip(pictures, targets, together, strict=True):
        for n, label in enumerate(labels):
            (alone,) = create_method(name, network, batch_size=1)([picture], [[label]])
            np.testing.assert_allclose(result.maps[n], alone.maps[0], atol=1e-6)


def test_a_backward_pass_stops_at_the_feature_layer() -> None:
    """Where no climb asks for the picture, nothing before the feature layer joins the graph."""
    network = Classifier.from_module(ToyNetwork())
    with network.frozen():
        response = network.respond(torch.rand(1, 3, 40, 40, dtype=torch.float64))
    assert response.features().is_leaf
