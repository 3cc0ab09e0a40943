"""The photographs of the demo, and the demo itself with the climb cut short."""

import json
from pathlib import Path

import pytest
from PIL import Image

from advcam.classifiers.names import imagenet_classes
from advcam.cli.app import run
from advcam.datasets.labels import read_label_table
from advcam.pipeline.demo import PHOTOGRAPHS, write_photographs


def test_photographs_and_their_labels(tmp_path: Path):
    table = read_label_table(write_photographs(tmp_path / "photographs"))
    assert set(table) == {f"{name}.png" for name in PHOTOGRAPHS}
    for name, labels in table.items():
        assert min(Image.open(tmp_path / "photographs" / name).size) >= 300
        assert [imagenet_classes().find(label) >= 0 for label in labels] == [True]


def test_demo_ends_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("advcam.attribution.method.DEFAULT_SCALES", (0.5,))
    assert run(["demo", "--out", str(tmp_path / "demo"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == len(PHOTOGRAPHS)
    page = (tmp_path / "demo" / "run" / "report.html").read_text()
    assert all(f"{name}.png" in page for name in PHOTOGRAPHS)
    assert "t = 4" in page
