"""`advcam onnx` as users meet it: a file that answers like PyTorch, said in words and as JSON; mistakes in one line."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from safetensors.torch import save_file

from advcam.cli.app import run
from advcam.segment.agreement import Comparison
from advcam.segment.export import Export
from advcam.segment.network import NetworkSettings, create_network
from advcam.segment.settings import SegmenterSettings

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a network as a training leaves it, and three pictures."""
    run_folder = tmp_path_factory.mktemp("run")
    folder = run_folder / "segmenter"
    folder.mkdir()
    settings = SegmenterSettings(network=NetworkSettings(model="test_efficientnet", weights="random"))
    state = create_network(settings.network, 3).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "best.safetensors")
    facts = {"advcam_segmenter": 1, "class_names": ["cat", "dog"], "settings": settings.model_dump(mode="json")}
    (folder / "segmenter.json").write_text(json.dumps(facts))
    (run_folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for number, size in enumerate([(40, 60), (64, 64), (90, 50)]):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(run_folder / "pictures" / f"{number}.png")
    return run_folder


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_writes_and_compares(segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, pictures = tmp_path / "new" / "model.onnx", segmenter / "pictures"
    assert run(["onnx", str(segmenter), "--out", str(out), "--check", str(pictures), "--count", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(out)
    assert found["fixed_size"] is None
    assert found["given"]["pictures"] == 2
    assert found["given"]["sizes"] == 2
    assert max(found[kind]["largest_difference"] for kind in ("given", "drawn")) < 1e-4
    (answer,) = onnxruntime.InferenceSession(out).run(None, {"pictures": np.zeros((1, 3, 50, 70), np.float32)})
    assert answer.shape == (1, 3, 50, 70)
    assert [file.name for file in out.parent.iterdir()] == ["model.onnx"]


def test_says_it_in_words(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*_: object, **options: object) -> Export:
        out = tmp_path / "model.onnx"
        out.write_bytes(bytes(1_500_000))
        assert list(options) == ["pictures", "opset"]
        assert options["opset"] == 19
        given = [picture.size for picture in options["pictures"]]
        assert given == [(60, 40), (64, 64), (50, 90)]
        drawn, compared = Comparison(4, 1, 2e-6, 1.0), Comparison(1, 1, 3e-5, 0.99999)
        return Export(out, 19, (512, 384), "it branches on its size", drawn, compared)

    monkeypatch.setattr("advcam.segment.export.export_onnx", export)
    command = ["onnx", str(segmenter), "--out", str(tmp_path / "model.onnx"), "--opset", "19"]
    assert run([*command, "--check", str(segmenter / "pictures")]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "model.onnx (1.5 MB, opset 19, only pictures of 512 x 384)" in said.err.replace("\n", "")
    assert "note the size is fixed since torch.export says: it branches on its size" in said.err
    assert "on 4 drawn pictures: probabilities differ from PyTorch by 2.0e-06 at most, 100.000 %" in said.err
    assert "on 1 given picture: probabilities differ from PyTorch by 3.0e-05 at most, 99.999 %" in said.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--out", "."], ". is a folder; name the file, such as model.onnx"),
        (["--out", "m.onnx", "--count", "0"], "--count is 1 or more; got 0"),
        (["--out", "m.onnx", "--check", "nowhere"], "nowhere does not exist"),
        (["--out", "m.onnx", "--opset", "9"], "opset 9 is too old: torch.export writes 18 and later"),
    ],
)
def test_mistakes_are_one_line(
    segmenter: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["onnx", str(segmenter), *more]) == 2
    assert words in error_line(capsys)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["onnx", str(tmp_path), "--out", str(tmp_path / "m.onnx")]) == 2
    assert "holds no trained segmentation network" in error_line(capsys)


def test_a_missing_package(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advcam.segment.export.find_spec", lambda name: None)
    assert run(["onnx", str(segmenter), "--out", str(tmp_path / "m.onnx")]) == 2
    assert "ONNX files need onnx, onnxscript, onnxruntime; run: pip install 'advcam[onnx]'" in error_line(capsys)
