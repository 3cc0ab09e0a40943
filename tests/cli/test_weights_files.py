"""Weight files through the command line: nothing in them is executed, and what does not fit is said in one line."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from advcam.cli.app import run


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"open({str(self.path)!r}, 'w').write('executed')",))


def error_of(photographs: Path, weights: Path, capsys: pytest.CaptureFixture[str], model: str = "resnet10t") -> str:
    network = ["--model", model, "--weights", str(weights)]
    out = photographs.parent / "run"
    code = run(["localize", str(photographs), "--labels", "predicted", "--out", str(out), *network])
    lines = capsys.readouterr().err.strip().splitlines()
    assert (code, len(lines)) == (2, 1)
    assert not out.exists()
    return lines[0]


def test_a_pickle_with_code_is_refused_and_not_run(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    torch.save({"weight": Code(tmp_path / "proof")}, tmp_path / "evil.pth")
    assert "could run code when loaded, and is refused" in error_of(photographs, tmp_path / "evil.pth", capsys)
    assert not (tmp_path / "proof").exists()


def test_another_architecture_is_named(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_file(timm.create_model("mobilenetv3_small_050").state_dict(), tmp_path / "mobile.safetensors")
    line = error_of(photographs, tmp_path / "mobile.safetensors", capsys)
    assert "holds the weights of another architecture than ResNet" in line


def test_nan_in_the_weights_is_named(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    state = timm.create_model("resnet10t").state_dict()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    line = error_of(photographs, tmp_path / "nan.safetensors", capsys)
    assert "NaN or infinity in 'layer2.0.conv1.weight'" in line


def test_missing_and_damaged_files(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "no weights file at" in error_of(photographs, tmp_path / "absent.pth", capsys)
    (tmp_path / "text.pth").write_text("no weights")
    assert "is no PyTorch weights file or is damaged" in error_of(photographs, tmp_path / "text.pth", capsys)
    (tmp_path / "text.safetensors").write_text("no weights")
    assert "is no safetensors file or is damaged" in error_of(photographs, tmp_path / "text.safetensors", capsys)


def test_a_network_of_ones_own_weights_runs(photographs: Path, tmp_path: Path):
    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t", num_classes=3).state_dict(), tmp_path / "own.safetensors")
    (tmp_path / "names.txt").write_text("cat\ncup\ndog\n")
    (photographs / "labels.csv").write_text("image,labels\nchelsea.png,cat\ncoffee.png,cup\n")
    network = ["--model", "resnet10t", "--weights", str(tmp_path / "own.safetensors")]
    names = ["--class-names", str(tmp_path / "names.txt"), "--scales", "1", "--iterations", "1", "--quiet"]
    labels = ["--labels", str(photographs / "labels.csv"), "--out", str(tmp_path / "run")]
    assert run(["localize", str(photographs), *labels, *network, *names]) == 0
    assert (tmp_path / "run" / "masks" / "chelsea.png").exists()
