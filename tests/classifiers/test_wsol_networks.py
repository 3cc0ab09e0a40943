from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from advcam.classifiers.catalogue import list_models, load_classifier
from advcam.classifiers.layers import LayerResponder, MapResponder
from advcam.classifiers.wsol import WSOL_NETWORKS, build_wsol
from advcam.errors import ModelError
from advcam.training.network import starting_point
from advcam.training.schedule import parameter_groups

NAMES = tuple(WSOL_NETWORKS)


def pictures(side: int = 96, count: int = 1) -> Tensor:
    return torch.randn((count, 3, side, side), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("stride", "side"), [(16, 14), (8, 28), (None, None)])
def test_sizes_of_maps_at_224(name: str, stride: int | None, side: int | None) -> None:
    expected = side or {"wsol/vgg16": 14, "wsol/resnet50": 28, "wsol/inception_v3": 28}[name]
    with torch.device("meta"):
        network = build_wsol(name, 5, stride).eval()
        shape = network(torch.empty(1, 3, 224, 224)).shape
    if name == "wsol/inception_v3":
        assert shape == (1, 5, expected, expected)
    else:
        assert shape == (1, 5)
        sizes = []
        layer = network.layer4 if name == "wsol/resnet50" else network.relu
        layer.register_forward_hook(lambda *call: sizes.append(call[2].shape[-2:]))
        network(torch.empty(1, 3, 224, 224, device="meta"))
        assert sizes == [(expected, expected)]


@pytest.mark.parametrize("name", NAMES)
def test_the_class_map_is_w_f_or_the_networks_own(name: str) -> None:
    classifier = load_classifier(name, weights="random", num_classes=5)
    inputs = pictures()
    with torch.no_grad(), classifier.frozen():
        response = classifier.respond(inputs)
        maps = torch.stack([response.class_map(torch.tensor([k]))[0] for k in range(5)])
    if name == "wsol/inception_v3":
        assert isinstance(classifier.responder, MapResponder)
        with torch.no_grad(), classifier.frozen():
            own = classifier.module(inputs)
        assert torch.allclose(response.scores, own.mean(dim=(2, 3)), atol=1e-5)
        assert maps.shape == own.shape[1:]
        return
    assert isinstance(classifier.responder, LayerResponder)
    assert classifier.responder.head == "fc"
    assert classifier.responder.layer in {"relu", "layer4"} | {"layer4.2"}
    bias = classifier.module.fc.bias.detach()
    assert torch.allclose(maps.mean(dim=(1, 2)) + bias, response.scores[0], atol=1e-4)


def test_vgg_written_out() -> None:
    """Against torchvision's own layers, one after the other."""
    torch.manual_seed(0)
    network = build_wsol("wsol/vgg16", 4).eval()
    with torch.device("meta"):  # its fully connected layers have 120 million weights
        reference = torchvision.models.vgg16(weights=None).features[:-1]
    reference.to_empty(device="cpu").load_state_dict(network.features.state_dict())
    with torch.no_grad():
        features = reference(pictures())
        features = functional.conv2d(features, network.conv6.weight, network.conv6.bias, padding=1).relu()
        assert torch.allclose(network(pictures()), network.fc(features.mean(dim=(2, 3))), atol=1e-5)


@pytest.mark.parametrize("stride", [8, 16])
def test_resnet_written_out(stride: int) -> None:
    """Without a stride a block computes what the usual one does at every other position."""
    torch.manual_seed(0)
    network = build_wsol("wsol/resnet50", 4, stride).eval()
    reference = torchvision.models.resnet50(weights=None, num_classes=4)
    reference.load_state_dict(network.state_dict())
    reference.eval()
    x = pictures(64)
    with torch.no_grad():
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2"):
            x = getattr(reference, name)(x)
        if stride == 16:
            x = reference.layer3(x)
            usual, ours = reference.layer4[0](x), network.layer4[0](x)
        else:
            usual, ours = reference.layer3[0](x), network.layer3[0](x)
    assert ours.shape[-1] == x.shape[-1] == 2 * usual.shape[-1]
    assert torch.allclose(ours[..., ::2, ::2], usual, atol=1e-5 * float(usual.max()))


def test_inception_keeps_the_layers_of_imagenet() -> None:
    torch.manual_seed(0)
    network = build_wsol("wsol/inception_v3", 4)
    reference = torchvision.models.inception_v3(weights=None, init_weights=False).state_dict()
    own = network.state_dict()
    new = {name for name in own if name.split(".")[0] in network.new_layers}
    assert all(reference[name].shape == own[name].shape for name in own if name not in new)
    assert {name.split(".")[0] for name in new} == {"SPG_A3_1b", "SPG_A3_2b", "SPG_A4"}
    block, x = network.Mixed_6a.eval(), torch.rand(1, 288, 7, 7)
    with torch.no_grad():
        out = block(x)
    assert out.shape == (1, 768, 7, 7)
    assert torch.equal(out[:, 480:], functional.max_pool2d(x, 3, stride=1, padding=1))
    network.train()
    torch.manual_seed(1)
    first = network.SPG_A4(functional.dropout(torch.ones(1, 1024, 2, 2), 0.5, True))
    assert first.shape == (1, 4, 2, 2)


@pytest.mark.parametrize("name", NAMES)
def test_imagenet_weights_of_the_public_names(name: str, tmp_path: Path) -> None:
    """torchvision's files fill all but what is new; the new layers learn ten times as fast."""
    with torch.device("meta"):
        source = (
            torchvision.models.get_model(name.removeprefix("wsol/"), weights=None, init_weights=False)
            if (name != "wsol/resnet50")
            else torchvision.models.resnet50(weights=None)
        )
    unused = ("classifier.", "num_batches_tracked")  # large; and counters, which older files lack
    shapes = {key: value.shape for key, value in source.state_dict().items() if not any(word in key for word in unused)}
    state = {key: torch.rand(shape) for key, shape in shapes.items()} | {"classifier.6.bias": torch.rand(1000)}
    save_file(state, tmp_path / "imagenet.safetensors")
    start = starting_point(name, 5, tmp_path / "imagenet.safetensors")
    own = start.network.state_dict()
    assert {key for key in own if key not in state} <= {*start.fresh, *(key for key in own if "num_batches" in key)}
    assert all(torch.equal(own[key], state[key]) for key in own if key in state and key not in start.fresh)
    expected = {"wsol/resnet50": {"fc"}}.get(name, set(start.network.new_layers))
    assert {key.split(".")[0] for key in start.fresh} == expected
    slow, fast = parameter_groups(start.network, start.fast, lr=1.0)
    assert (slow["lr"], fast["lr"]) == (1.0, 10.0)
    trained = [key for key, _ in start.network.named_parameters() if key.split(".")[0] in start.network.new_layers]
    assert len(fast["params"]) == len(trained)


def test_names_and_strides() -> None:
    assert set(NAMES) <= set(list_models())
    with pytest.raises(ModelError) as caught:
        load_classifier("wsol/vgg19", weights="random")
    assert str(caught.value) == (
        "no localization network is called 'wsol/vgg19'; they are wsol/vgg16, wsol/resnet50, wsol/inception_v3"
    )
    with pytest.raises(ModelError) as caught:
        load_classifier("wsol/vgg16", weights="random", output_stride=32)
    assert str(caught.value) == "wsol/vgg16 has an output stride of 8 or 16 (published: 16); got 32"
