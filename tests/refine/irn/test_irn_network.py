"""The branches: layers against the published sizes, a classifier that stays as it was, any size, saving, refusals."""

import pytest
import timm
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

import advcam
from advcam.errors import ModelError
from advcam.refine.irn.losses import irn_loss
from advcam.refine.irn.network import IRNetwork

MAKERS = {
    "lite0": lambda: advcam.load_classifier("lite0", weights="random").module,
    "resnet18": lambda: timm.create_model("resnet18", output_stride=16),
    "resnet50": lambda: timm.create_model("resnet50", output_stride=16),
    "vgg11": lambda: timm.create_model("vgg11"),
}


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return MAKERS["resnet18"]()


@pytest.fixture
def network(backbone):
    torch.manual_seed(1)
    return IRNetwork(backbone)


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_quarter_of_any_size_rounded_up(name):
    """VGG has a feature before its first pooling: the last five are taken."""
    network = IRNetwork(MAKERS[name]())
    for size in ((64, 32), (45, 37), (9, 70)):
        edges, displacement = network(torch.randn(2, 3, *size))
        grid = (-(-size[0] // 4), -(-size[1] // 4))
        assert edges.shape == (2, 1, *grid)
        assert displacement.shape == (2, 2, *grid)
        assert edges.requires_grad
        assert displacement.requires_grad


def test_the_layers_of_the_published_network():
    """ResNet-50: 64, 256, 512, 1024, 2048 channels in; 160 to 1; 768 and 448 to 256; 256 to 2."""
    state = IRNetwork(MAKERS["resnet50"]()).state_dict()
    shapes = {name: tuple(value.shape[:2]) for name, value in state.items() if value.ndim == 4}
    inputs = (64, 256, 512, 1024, 2048)
    for index, (count, output) in enumerate(zip(inputs, (64, 128, 256, 256, 256), strict=True)):
        assert shapes[f"edges.stages.{index}.convolution.weight"] == (32, count)
        assert shapes[f"displacements.stages.{index}.convolution.weight"] == (output, count)
    assert shapes["edges.logit.weight"] == (1, 160)
    assert shapes["displacements.coarse.convolution.weight"] == (256, 768)
    assert shapes["displacements.fine.convolution.weight"] == (256, 448)
    assert shapes["displacements.vector.weight"] == (2, 256)
    assert "edges.logit.bias" in state
    assert "displacements.vector.bias" not in state


def literal(network, backbone, inputs):
    """The published forward pass of a ResNet, layer by layer, for sides that are multiples of 16."""

    def project(module, x, groups, factor=1):
        x = functional.group_norm(
            functional.conv2d(x, module.convolution.weight),
            groups,
            module.normalisation.weight,
            module.normalisation.bias,
        )
        if factor > 1:
            x = functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
        return functional.relu(x)

    stem = backbone.maxpool(backbone.act1(backbone.bn1(backbone.conv1(inputs))))
    features = [stem]
    for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        features.append(layer(features[-1]))
    edge_stages = zip(network.edges.stages, features, (1, 1, 2, 4, 4), strict=True)
    edges = network.edges.logit(torch.cat([project(m, f, 4, factor) for m, f, factor in edge_stages], dim=1))
    branch = network.displacements
    stages = zip(branch.stages, features, (8, 16, 16, 16, 16), (1, 1, 1, 2, 2), strict=True)
    projected = [project(*stage) for stage in stages]
    coarse = project(branch.coarse, torch.cat(projected[2:], dim=1), 16, 2)
    fine = project(branch.fine, torch.cat([*projected[:2], coarse], dim=1), 16)
    return edges, functional.conv2d(fine, branch.vector.weight)


def test_a_resnet_answers_as_the_published_layers_do(network, backbone):
    inputs = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        found, expected = network(inputs), literal(network, backbone.eval(), inputs)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)


def test_training_leaves_the_classifier_as_it_was(network, backbone):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in backbone.parameters()]
    network.train()
    backbone.train()
    optimizer = torch.optim.SGD(network.parameter_groups(0.1), lr=0.1)
    old = {name: value.clone() for name, value in network.state_dict().items()}
    edges, displacement = network(torch.randn(2, 3, 64, 64))
    irn_loss(edges, displacement, torch.randint(0, 2, (2, 16, 16)), radius=3).total.backward()
    optimizer.step()
    assert not any(module.training for module in backbone.modules())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert wanted == [parameter.requires_grad for parameter in backbone.parameters()]
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    moved = [name for name, value in network.state_dict().items() if not torch.equal(value, old[name])]
    assert set(moved) == set(old) - {"mean_displacement"}


def test_two_groups_hold_every_parameter_once(network):
    slow, fast = network.parameter_groups(0.1)
    assert (slow["lr"], fast["lr"]) == (0.1, 1.0)
    assert {id(p) for p in slow["params"]} == {id(p) for p in network.edges.parameters()}
    everything = [*slow["params"], *fast["params"]]
    assert len(everything) == len({id(p) for p in everything}) == len(list(network.parameters()))


def test_the_branches_alone_are_saved_and_loaded(network, backbone):
    network.mean_displacement.copy_(torch.tensor([0.5, -2.0]))
    content = save(network.state_dict())
    assert len(content) < 4 * sum(p.numel() for p in network.parameters()) + 10_000
    other = IRNetwork(backbone)
    other.load_state_dict(load(content))
    inputs = torch.randn(1, 3, 40, 40)
    for found, expected in zip(other.infer(inputs), network.infer(inputs), strict=True):
        assert torch.equal(found, expected)


def test_inference_averages_over_the_mirror_image(network):
    network.eval()
    inputs = torch.randn(2, 3, 48, 36)
    edges, displacement = network.infer(inputs)
    padded = functional.pad(inputs, (0, 12))
    with torch.no_grad():
        straight, mirrored = network(padded)[0], network(padded.flip(-1))[0].flip(-1)
        own = network(inputs)[1]
    torch.testing.assert_close(edges, ((straight + mirrored) / 2)[..., :9], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(displacement, own, rtol=1e-4, atol=1e-5)
    assert not edges.requires_grad


def test_a_batch_is_its_pictures_one_by_one(network):
    inputs = torch.randn(3, 3, 50, 34)
    together = network.infer(inputs)
    for index in range(3):
        for all_of_them, alone in zip(together, network.infer(inputs[index : index + 1]), strict=True):
            torch.testing.assert_close(all_of_them[index : index + 1], alone, rtol=1e-4, atol=1e-5)


def test_the_mean_displacement_is_measured_and_subtracted_in_evaluation_only(network):
    pictures = [torch.randn(2, 3, 32, 48), torch.randn(1, 3, 30, 21)]
    network.train()
    raw = [network(batch)[1].detach() for batch in pictures]
    network.measure_mean_displacement(iter(pictures))
    expected = torch.cat([grid.mean(dim=(2, 3)) for grid in raw]).mean(dim=0)
    torch.testing.assert_close(network.mean_displacement, expected)
    torch.testing.assert_close(network(pictures[0])[1], raw[0])
    network.eval()
    torch.testing.assert_close(network(pictures[0])[1], raw[0] - expected.view(2, 1, 1), rtol=1e-4, atol=1e-5)
    left = torch.cat([network(batch)[1].mean(dim=(2, 3)) for batch in pictures]).mean(dim=0)
    torch.testing.assert_close(left, torch.zeros(2), rtol=0, atol=1e-5)


def test_no_picture_no_mean(network):
    with pytest.raises(ModelError, match="the mean displacement is measured on pictures; got none"):
        network.measure_mean_displacement([])


def test_the_classifier_moves_along(network, backbone):
    network.double()
    assert next(backbone.parameters()).dtype == torch.float64
    assert network(torch.randn(1, 3, 32, 32, dtype=torch.float64))[0].dtype == torch.float64
    network.float()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 1), "Conv2d offers none .* such as resnet50 with output_stride=16, or lite0"),
        (lambda: timm.create_model("test_convnext"), r"those of ConvNeXt are \[4, 8, 16, 32\]; take a convolutional"),
        (lambda: timm.create_model("test_vit"), r"those of VisionTransformer are \[16, 16, 16, 16, 16\]"),
    ],
    ids=["plain", "four stages", "transformer"],
)
def test_networks_without_five_stages_are_refused(make, message):
    with pytest.raises(ModelError, match=message):
        IRNetwork(make())
