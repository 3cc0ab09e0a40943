from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from advcam.classifiers.catalogue import load_classifier
from advcam.errors import WeightsError
from advcam.training.network import choose_trained, network_stages, starting_point

MODEL = "test_resnet"


def trained_names(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def same_backbone(a: nn.Module, b: nn.Module, head: str) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items() if not name.startswith(head))


def test_the_embedded_backbone_with_a_new_head() -> None:
    start = starting_point("lite0", 3)
    assert same_backbone(start.network, load_classifier("lite0").module, "classifier")
    assert start.fresh == ("classifier.weight", "classifier.bias")
    assert start.head == start.fast == ("classifier",)
    weight = start.network.classifier.weight
    assert weight.shape == (3, 1280)
    assert weight.abs().max() <= 1280**-0.5, "as PyTorch draws it, not by the number of classes"
    assert start.normalisation.mean == (0.5, 0.5, 0.5), "of the network"
    assert torch.equal(weight, starting_point("lite0", 3).network.classifier.weight)


def test_a_file_of_another_number_of_classes(tmp_path: Path) -> None:
    source = timm.create_model(MODEL, num_classes=7)
    for prefix in ("", "module."):
        path = tmp_path / "w.safetensors"
        save_file({prefix + name: value.clone() for name, value in source.state_dict().items()}, path)
        start = starting_point(MODEL, 4, path)
        assert same_backbone(start.network, source, "fc")
        assert start.fresh == ("fc.weight", "fc.bias")
        assert start.network.fc.out_features == 4


def test_a_file_of_the_same_number_of_classes_keeps_its_head(tmp_path: Path) -> None:
    source = timm.create_model(MODEL, num_classes=4)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    start = starting_point(MODEL, 4, tmp_path / "w.safetensors")
    assert same_backbone(start.network, source, "none")
    assert start.fresh == ()


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = timm.create_model(MODEL, num_classes=4).state_dict()
    removed = {name: value for name, value in state.items() if not name.startswith("layer1.0.conv")}
    save_file(removed, path)
    with pytest.raises(WeightsError) as caught:
        starting_point(MODEL, 4, path)
    assert str(caught.value) == (
        f"{path} holds the weights of another network than ResNet: it lacks layer1.0.conv1.weight and "
        f"{len(state) - len(removed) - 1} more; choose the network that they were trained with"
    )
    state["bn1.bias"] = torch.zeros(2)
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"it has another shape of bn1\.bias; choose"):
        starting_point(MODEL, 4, path)
    with pytest.raises(WeightsError, match="test_resnet needs its weights"):
        starting_point(MODEL, 4)


def test_a_random_start_is_that_of_the_seed() -> None:
    torch.manual_seed(1)
    first = starting_point(MODEL, 3, "random", seed=5).network.state_dict()
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), expected), "the global numbers are left alone"
    second = starting_point(MODEL, 3, "random", seed=5).network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["fc.weight"], starting_point(MODEL, 3, "random", seed=6).network.fc.weight)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_heads_of_other_networks(name: str) -> None:
    start = starting_point(name, 3, "random")
    choose_trained(start, "head", frozen_stem=True)
    shapes = [tuple(p.shape) for p in start.network.parameters() if p.requires_grad]
    assert len(shapes) == 2
    assert shapes[0][0] == shapes[1][0] == 3


def test_torchvision_heads() -> None:
    for name, head in (("torchvision/squeezenet1_1", "classifier.1"), ("torchvision/alexnet", "classifier.6")):
        start = starting_point(name, 3, "random")
        assert start.head == (head,)
        stages = network_stages(start.network, start.head)
        assert stages[0] == ["features.0.weight", "features.0.bias"]


def test_which_layers_are_trained() -> None:
    start = starting_point("resnet10t", 3, "random")
    choose_trained(start, "head", frozen_stem=True)
    assert trained_names(start.network) == {"fc.weight", "fc.bias"}
    choose_trained(start, "last", frozen_stem=True)
    assert {name.split(".")[0] for name in trained_names(start.network)} == {"layer4", "fc"}
    choose_trained(start, "all", frozen_stem=True)
    left = {name for name, _ in start.network.named_parameters()} - trained_names(start.network)
    assert {name.split(".")[0] for name in left} == {"conv1", "bn1"}
    choose_trained(start, "all", frozen_stem=False)
    assert trained_names(start.network) == {name for name, _ in start.network.named_parameters()}


def test_stages_hold_every_parameter_once() -> None:
    for name in ("resnet10t", "test_vit", "lite0"):
        start = starting_point(name, 3, "random")
        stages = network_stages(start.network, start.head)
        names = [n for stage in stages for n in stage]
        head = [n for n, _ in start.network.named_parameters() if n.startswith(start.head[0])]
        assert sorted(names + head) == sorted(n for n, _ in start.network.named_parameters())
