import re
from functools import cache
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from advcam.classifiers.catalogue import load_classifier
from advcam.errors import ModelError, SettingError, WeightsError
from advcam.segment.network import NetworkSettings, SegmentationNetwork, create_network

MODEL = "test_resnet"
ARCHITECTURES = [f"smp/{name}" for name in smp.MODEL_ARCHITECTURES_MAPPING if name != "dpt"]
HEADS = ["deeplabv2", *ARCHITECTURES]
CLASSES = 4


def network(head: str = "deeplabv2", seed: int = 0, **settings: object) -> SegmentationNetwork:
    """A toy; with batch normalisations in evaluation mode."""
    chosen = NetworkSettings(**({"head": head, "model": MODEL, "weights": "random"} | settings))
    return create_network(chosen, CLASSES, seed).eval()


@cache
def toy(head: str) -> SegmentationNetwork:
    """One that no test changes."""
    return network(head)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classifier_file(folder: Path, classes: int = 7, prefix: str = "") -> tuple[nn.Module, Path]:
    """A network with all its tensors drawn at random, counters and statistics too, and its file."""
    torch.manual_seed(3)
    source = timm.create_model(MODEL, num_classes=classes).eval()
    for tensor in source.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) * 0.4 + 0.1)
    path = folder / "best.safetensors"
    save_file({prefix + name: value.clone() for name, value in source.state_dict().items()}, path)
    return source, path


@pytest.mark.parametrize("head", HEADS)
def test_every_head(head: str) -> None:
    """Pictures of any size, one by one or together, and a gradient for all that is trained."""
    net = toy(head)
    assert net.num_classes == CLASSES
    two = pictures(2, 3, 45, 70)
    with torch.no_grad():
        together = net(two)
        alone = torch.cat([net(picture[None]) for picture in two])
        small = net(pictures(1, 3, 17, 33))
    assert torch.allclose(together, alone, atol=1e-5)
    assert together.std() > 0
    expected = [(2, CLASSES, 45, 70), (1, CLASSES, 17, 33)]
    if head == "deeplabv2":
        expected = [(2, CLASSES, 3, 5), (1, CLASSES, 2, 3)]
    assert [together.shape, small.shape] == expected
    net(two).square().mean().backward()
    lacking = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []
    net.zero_grad()


@pytest.mark.parametrize("head", HEADS)
def test_features(head: str) -> None:
    """As many channels as announced, from fine to coarse; of sides that fit nothing is padded."""
    net, inputs = toy(head), pictures(1, 3, 160, 128)
    with torch.no_grad():
        features = net.encode(inputs)
        assert torch.equal(net.decode(features), net(inputs))
    assert tuple(feature.shape[1] for feature in features) == net.feature_channels
    sides = [feature.shape[-1] for feature in features]
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize(("head", "padded"), [("smp/unet", (64, 96)), ("smp/fpn", (64, 96)), ("smp/pan", (128, 128))])
def test_padding_lies_on_the_right_and_below(head: str, padded: tuple[int, int]) -> None:
    """The scores of a picture are those of the picture with zeros beside it, where the picture is."""
    net, inputs = toy(head), pictures(1, 3, 45, 70)
    canvas = torch.zeros((1, 3, *padded))
    canvas[..., :45, :70] = inputs
    with torch.no_grad():
        assert torch.allclose(net(inputs), net(canvas)[..., :45, :70], atol=1e-6)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("head", ["deeplabv2", "smp/deeplabv3", "smp/deeplabv3plus"])
def test_output_strides(head: str, stride: int) -> None:
    net = network(head, output_stride=stride)
    assert net.encode(pictures(1, 3, 96, 64))[-1].shape[-2:] == (96 // stride, 64 // stride)


@pytest.mark.parametrize(("stride", "rates"), [(8, (6, 12, 18, 24)), (16, (3, 6, 9, 12))])
def test_deeplabv2_is_the_sum_of_four_atrous_convolutions(stride: int, rates: tuple[int, ...]) -> None:
    """Written out: each branch looks at nine places, as far apart as its rate."""
    net = network(output_stride=stride).double()
    features = pictures(1, net.feature_channels[0], 9, 7).double()
    expected = torch.zeros((CLASSES, 9, 7), dtype=torch.float64)
    for branch, rate in zip(net.head, rates, strict=True):
        for y in range(9):
            for x in range(7):
                expected[:, y, x] += branch.bias
                for i in range(3):
                    for j in range(3):
                        v, u = y + (i - 1) * rate, x + (j - 1) * rate
                        if 0 <= v < 9 and 0 <= u < 7:
                            expected[:, y, x] += branch.weight[:, :, i, j] @ features[0, :, v, u]
    assert torch.allclose(net.decode([features])[0], expected, atol=1e-12)


def test_deeplabv2_starts_small() -> None:
    net = toy("deeplabv2")
    weights = torch.cat([branch.weight.detach().flatten() for branch in net.head])
    assert float(weights.std()) == pytest.approx(0.01, rel=0.05)
    assert abs(weights.mean()) < 0.001
    assert not any(branch.bias.any() for branch in net.head)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("head", ["deeplabv2", "smp/unet", "smp/deeplabv3plus", "smp/pspnet"])
def test_the_weights_of_a_classifier_are_taken(head: str, prefix: str, tmp_path: Path) -> None:
    """The deepest features of the network are those of the classifier, statistics included."""
    source, path = classifier_file(tmp_path, prefix=prefix)
    net = network(head, weights=path, output_stride=8 if head == "deeplabv2" else None)
    reference = timm.create_model(
        MODEL, num_classes=7, output_stride={"deeplabv2": 8, "smp/deeplabv3plus": 16}.get(head, 32)
    )
    reference.load_state_dict(source.state_dict())
    inputs = pictures(1, 3, 64, 64)
    with torch.no_grad():
        found = net.encode(inputs)[-1]
        stages = reference.eval().forward_intermediates(inputs, intermediates_only=True)
    expected = next(stage for stage in reversed(stages) if stage.shape == found.shape)
    assert torch.allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("head", ["deeplabv2", "smp/unet"])
def test_the_embedded_backbone(head: str) -> None:
    """ImageNet's weights and normalisation; every tensor of the encoder is one of the classifier's."""
    net = create_network(NetworkSettings(head=head), CLASSES)
    classifier = load_classifier("lite0")
    own = {name.replace(".", "_"): value for name, value in classifier.module.state_dict().items()}
    taken = {name.removeprefix("model.").replace(".", "_"): value for name, value in net.encoder.state_dict().items()}
    assert len(taken) > 200
    assert all(torch.equal(value, own[name]) for name, value in taken.items())
    assert (net.normalisation.mean, net.normalisation.std) == (classifier.mean, classifier.std)


@pytest.mark.parametrize("head", ["deeplabv2", "smp/unet"])
def test_what_starts_at_random_is_the_seeds(head: str, tmp_path: Path) -> None:
    _, path = classifier_file(tmp_path)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (network(head, seed=seed, weights=path).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's generator is left alone"
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    differing = {name for name, value in one.items() if not torch.equal(value, other[name])}
    assert differing
    assert not any(name.startswith("encoder") for name in differing)


@pytest.mark.parametrize("head", ["deeplabv2", "smp/unet", "smp/segformer"])
def test_parameter_groups(head: str) -> None:
    """Each trained parameter once: the backbone, ten times as fast the head, twenty times its biases."""
    net = toy(head)
    backbone, weights, biases = net.parameter_groups(0.01, 10.0, 0.1)
    assert [(g["lr"], g["weight_decay"], g["multiplier"]) for g in (backbone, weights, biases)] == [
        (0.01, 0.1, 1.0),
        (pytest.approx(0.1), 0.1, 10.0),
        (pytest.approx(0.2), 0.0, 20.0),
    ]
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    grouped = [[names[id(parameter)] for parameter in group["params"]] for group in (backbone, weights, biases)]
    everything = [name for group in grouped for name in group]
    assert len(everything) == len(set(everything))
    assert set(everything) == {name for name, p in net.named_parameters() if p.requires_grad}
    assert all(name.startswith("encoder") for name in grouped[0])
    assert not any(name.startswith("encoder") for name in grouped[1] + grouped[2])
    assert all(name.endswith("bias") for name in grouped[2])
    assert not any(name.endswith("bias") for name in grouped[1])


@pytest.mark.parametrize("head", ["deeplabv2", "smp/unet"])
def test_which_layers_are_trained(head: str) -> None:
    """The head always; of the backbone nothing, its last third, or all but the first stage."""
    counts = {}
    for trained in ("head", "last", "all"):
        net = network(head, trained=trained)
        assert all(parameter.requires_grad for _, parameter in net.head_parameters())
        counts[trained] = sum(p.requires_grad for p in net.encoder.parameters())
    total = len(list(net.encoder.parameters()))
    assert 0 == counts["head"] < counts["last"] < counts["all"] < total
    frozen = [name for name, p in net.encoder.named_parameters() if not p.requires_grad]
    assert all("conv1" in name or "bn1" in name for name in frozen), "the stem"
    assert len(network(head, trained="head").parameter_groups(0.01, 10.0, 0.1)) == 2, "no group is empty"


def test_an_untrained_backbone_gets_no_gradient() -> None:
    net = network("smp/unet", trained="head")
    net(pictures(1, 3, 32, 32)).mean().backward()
    assert all(parameter.grad is None for parameter in net.encoder.parameters())


def test_a_network_keeps_nothing_that_is_never_trained() -> None:
    """The classifier's own head is gone: every tensor takes part in the scores."""
    for head in ("deeplabv2", "smp/unet"):
        names = toy(head).state_dict()
        assert not any(re.search(r"(^|\.)fc\.", name) for name in names)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"head": "deeplabv4"}, "no head is called 'deeplabv4'; take deeplabv2, linear, smp/unet, smp/"),
        ({"head": "smp/unett"}, "there is no head smp/unett; did you mean smp/unet? take one of smp/unet, smp/"),
        ({"head": "smp/xyzzy"}, "there is no head smp/xyzzy; take one of smp/unet, smp/"),
        ({"head": "smp/dpt"}, "there is no head smp/dpt; "),
        (
            {"head": "smp/unet", "output_stride": 8},
            "smp/unet has an output stride of its own; leave output_stride out, or take deeplabv2, linear, smp/",
        ),
        ({"model": "resnet5"}, "resnet5"),
        ({"head": "smp/unet", "model": "test_vit"}, "smp/unet cannot be built on test_vit ("),
        ({"model": "test_vit"}, "test_vit cannot be built with output_stride=16"),
        ({"model": "torchvision/resnet18", "output_stride": 8}, "torchvision/resnet18"),
    ],
)
def test_networks_that_there_are_not(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ModelError, match=re.escape(expected)) as raised:
        network(**settings)
    assert "\n" not in str(raised.value)


def test_weights_that_there_are_not(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=MODEL):
        network(weights=None)
    torch.manual_seed(0)
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_efficientnet").state_dict(), path)
    for head in ("deeplabv2", "smp/unet"):
        with pytest.raises(WeightsError, match=r"other\.safetensors holds the weights of another network than ResNet"):
            network(head, weights=path)


def test_without_segmentation_models_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(SettingError, match=r"smp/unet needs segmentation-models-pytorch; run: pip install"):
        network("smp/unet")
    network("deeplabv2")
