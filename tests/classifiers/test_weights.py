"""Weight files: what is read, what is refused and why; nothing in a file is ever executed."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from advcam import load_classifier
from advcam.classifiers.weights import load_by_position, load_weights, read_weights
from advcam.errors import ModelError, WeightsError


def network(seed: int = 0, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes))


@pytest.fixture
def state() -> dict[str, Tensor]:
    return network(7).state_dict()


def filled_with(module: nn.Module, state: dict[str, Tensor]) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in state)


def test_safetensors(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "w.safetensors")
    module = network()
    assert not filled_with(module, state)
    load_weights(module, tmp_path / "w.safetensors")
    assert filled_with(module, state)
    load_weights(network(), str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_file(tmp_path: Path, state: dict[str, Tensor], zipped: bool) -> None:
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    module = network()
    load_weights(module, tmp_path / "w.pth")
    assert filled_with(module, state)


@pytest.mark.parametrize("container", ["state_dict", "model", "model_state_dict", "net"])
def test_checkpoints_of_training_scripts(tmp_path: Path, state: dict[str, Tensor], container: str) -> None:
    torch.save({container: state, "epoch": 12, "optimizer": {"lr": 0.1}}, tmp_path / "w.pth")
    module = network()
    load_weights(module, tmp_path / "w.pth")
    assert filled_with(module, state)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.model.", "_orig_mod.module."])
def test_prefixes_of_wrappers(tmp_path: Path, state: dict[str, Tensor], prefix: str) -> None:
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "w.pth")
    module = network()
    load_weights(module, tmp_path / "w.pth")
    assert filled_with(module, state)


def test_a_network_whose_own_names_look_wrapped(tmp_path: Path) -> None:
    module, saved = nn.Module(), nn.Module()
    module.model, saved.model = network(0), network(7)
    torch.save(saved.state_dict(), tmp_path / "w.pth")
    load_weights(module, tmp_path / "w.pth")
    assert filled_with(module, saved.state_dict())


def refused(path: Path, module: nn.Module | None = None) -> str:
    """The message, after checking that the network was left alone."""
    module = module or network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(module, path)
    assert filled_with(module, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_architecture(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.pth"
    torch.save({**state, "extra.weight": torch.zeros(2), "extra.bias": torch.zeros(2)}, path)
    assert refused(path) == (
        f"{path} holds the weights of another architecture than Sequential: has unknown extra.weight and 1 more, "
        "choose the network that they were trained with"
    )
    del state["0.weight"]
    torch.save(state, path)
    assert refused(path) == (
        f"{path} holds the weights of another architecture than Sequential: lacks 0.weight, choose the network that "
        "they were trained with"
    )
    torch.save({"fc.weight": torch.zeros(2)}, path)
    assert refused(path) == (
        f"{path} holds the weights of another architecture than Sequential: lacks 0.weight and 8 more, has unknown "
        "fc.weight, choose the network that they were trained with"
    )


def test_another_number_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(network(classes=5).state_dict(), path)
    assert refused(path) == (
        f"{path} does not fit: 2.weight is (5, 4), the network's (3, 4) (and 1 more); set the number of classes or the "
        "network"
    )


def test_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "w.pth") == f"no weights file at {tmp_path / 'w.pth'}"
    assert refused(tmp_path) == f"no weights file at {tmp_path}"


def test_damaged_files(tmp_path: Path, state: dict[str, Tensor]) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(state, whole)
    for length in (0, 10, 200, whole.stat().st_size - 40):
        cut = tmp_path / "cut.pth"
        cut.write_bytes(whole.read_bytes()[:length])
        assert refused(cut) == f"{cut} is no PyTorch weights file or is damaged"
    save_file(state, tmp_path / "whole.safetensors")
    for length in (0, 6, 300):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:length])
        assert refused(cut).startswith(f"{cut} is no safetensors file or is damaged: ")


@pytest.mark.parametrize("content", [b"these are no weights\n", b"\x89PNG\r\n\x1a\n" + bytes(200), b"(lp0\n"])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    assert refused(path) == f"{path} is no PyTorch weights file or is damaged"


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("bare", [True, False])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, state: dict[str, Tensor], bare: bool) -> None:
    path, mark = tmp_path / "w.pth", tmp_path / "ran"
    payload = {"state_dict": state, "extra": Exploit(mark)}
    if bare:
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, path)
    message = refused(path)
    assert not mark.exists()
    assert message == (
        f"{path} holds Python objects, which could run code when loaded, and is refused; save the tensors alone: "
        "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
    )
    pickle.loads(pickle.dumps(Exploit(mark)))
    assert mark.exists(), "the exploit works where files are simply unpickled"


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "w.pth")
    assert "holds Python objects" in refused(tmp_path / "w.pth")


def test_files_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save([torch.zeros(2)], path)
    assert refused(path) == f"{path} holds a list; expected a state dict (names to tensors)"
    torch.save({"epoch": 3}, path)
    assert refused(path) == f"{path} holds no tensors; expected a state dict (names to tensors)"


def test_nan_weights_are_an_error_of_the_network(tmp_path: Path) -> None:
    state = load_classifier("resnet10t", weights="random", num_classes=3).module.state_dict()
    state["layer1.0.conv1.weight"][0, 0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        load_classifier("resnet10t", weights=tmp_path / "w.safetensors", num_classes=3)
    assert str(caught.value) == (
        "the network holds NaN or infinity in 'layer1.0.conv1.weight'; its training diverged or its file is damaged"
    )


def test_weights_reach_the_classifier(tmp_path: Path) -> None:
    first = load_classifier("resnet10t", weights="random", num_classes=3)
    save_file(first.module.state_dict(), tmp_path / "w.safetensors")
    second = load_classifier("resnet10t", weights=tmp_path / "w.safetensors", num_classes=3)
    assert first.fingerprint() == second.fingerprint()


def test_by_position(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.pth"
    torch.save({f"p{n}": value for n, value in enumerate(state.values())}, path)
    module = network()
    load_by_position(module, path)
    assert filled_with(module, state)
    torch.save({f"p{n}": value for n, value in enumerate(list(state.values())[::-1])}, path)
    with pytest.raises(WeightsError) as caught:
        load_by_position(module, path)
    assert str(caught.value) == f"{path} does not hold the 9 tensors of Sequential in their order"


def test_read_weights_keeps_order_and_names(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth")) == list(state)
