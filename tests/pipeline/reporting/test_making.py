"""How a run was made: settings that differ, the command that makes it again, what it cost."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advcam.cli import app as commands
from advcam.cli import localize as localizing
from advcam.pipeline.chain.recipe_file import parse_chain
from advcam.pipeline.config import LocalizeSettings, localize_settings
from advcam.pipeline.predicting.settings import PredictSettings, predict_settings
from advcam.pipeline.reporting.making import cost_of, differences, flat, repeat_localize, repeat_predict, version_of


class Seen(Exception):  # noqa: N818, it is none
    """The settings were seen, nothing more is wanted."""


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), min_size=1, max_size=12).filter(
    lambda text: not text.startswith("-") and text.strip() == text
)
_METHOD = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["cam", "advcam", "layercam"]),
        "effort": st.sampled_from(["fast", "paper"]),
        "iterations": st.integers(0, 20),
        "step_size": st.floats(0.001, 1),
        "other_classes": st.sampled_from(["all", "none", 3]),
        "scales": st.lists(st.floats(0.25, 3), min_size=1, max_size=3).map(tuple),
        "flip": st.booleans(),
        "max_side": st.integers(0, 900),
        "precision": st.sampled_from(["float32", "bfloat16"]),
    },
)
_OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.floats(0, 1),
        "boxes": st.sampled_from(["largest", "all"]),
        "overlays": st.booleans(),
        "report_pictures": st.integers(0, 50),
    },
)


def parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> list[LocalizeSettings]:
    """The settings that a command line of localize comes to."""
    found: list[LocalizeSettings] = []
    monkeypatch.setattr(localizing, "_localize", lambda settings, *_: found.append(settings) or 0)
    program, *words = shlex.split(command)
    assert program == "advcam"
    commands.app(words, exit_on_error=False, result_action="return_value")
    return found


@given(st.lists(_TEXT, min_size=1, max_size=3), _TEXT, _METHOD, _OUTPUTS, st.booleans())
@hypothesis_settings(max_examples=40, deadline=None)
def test_the_command_of_a_localization_asks_for_the_same(
    inputs: list[str], labels: str, method: dict[str, Any], outputs: dict[str, Any], multi_label: bool
) -> None:
    """Names with spaces, quotes and letters of any alphabet among them."""
    made = localize_settings(
        inputs=tuple(inputs),
        labels=labels,
        out=Path("run"),
        method=method,
        outputs=outputs,
        model={"multi_label": multi_label, "device": "cuda:1"},
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        (again,) = parsed(repeat_localize(made).command, monkeypatch)
    assert again == made.model_copy(update={"out": again.out})
    assert str(again.out) == "run-again"


def test_a_data_set_and_a_recipe_of_tune() -> None:
    made = localize_settings(
        data=Path("VOC"),
        split="train",
        limit=4,
        out=Path("run"),
        supervision="validated on 20 labelled pictures",
        outputs={"threshold": 0.4},
        labelled=("a", "b"),
    )
    repeat = repeat_localize(made.model_copy(update={"limit": None}))
    assert repeat.command == "advcam localize --data VOC --split train --threshold 0.4 --out run-again"
    assert "it was validated on 20 labelled pictures" in repeat.note


def test_the_command_of_a_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    made = predict_settings(
        inputs=("my photos", "it's.jpg"),
        segmenter=Path("net"),
        out=Path("run"),
        boxes="all",
        overlays=False,
        inference={"scales": (0.5, 1.0), "flip": False, "max_side": None, "crf": True},
    )
    found: list[PredictSettings] = []

    def caught(settings: PredictSettings, *_: object) -> None:
        found.append(settings)
        raise Seen

    monkeypatch.setattr("advcam.pipeline.predicting.predict.predict_pictures", caught)
    with pytest.raises(Seen):
        commands.app(shlex.split(repeat_predict(made).command)[1:], exit_on_error=False)
    assert found[0] == made.model_copy(update={"out": found[0].out})


def test_only_what_differs_from_the_defaults_is_named() -> None:
    made = parse_chain(
        {
            "data": {"root": "photos", "limit": 5},
            "train": {"epochs": 3, "model": "lite0"},
            "refine": {"methods": ["crf"], "crf": {"confidence": 0.6}},
            "segment": {"network": {"head": "linear"}},
        },
        "here",
    )
    found = {one.name: (one.value, one.default) for one in differences(made)}
    assert found == {
        "data.root": ("photos", "none, it has to be given"),
        "data.limit": ("5", "none"),
        "train.epochs": ("3", "5"),
        "refine.crf.confidence": ("0.6", "0.7"),
        "segment.network.head": ("linear", "deeplabv2"),
    }
    assert differences(parse_chain({"data": {"root": "photos"}}, "here"), ("data",)) == []


def test_settings_are_flat_by_dotted_names() -> None:
    made = flat(localize_settings(out=Path("run"), inputs=("a",), method={"scales": (1.0, 2.0)}))
    assert made["method.scales"] == "[1.0, 2.0]"
    assert made["data"] == "none"
    assert made["model.model"] == "lite0"


def test_cost_and_version_of_the_last_session(tmp_path: Path) -> None:
    assert (cost_of(tmp_path), version_of(tmp_path)) == ([], "")
    metrics = {"pictures_per_second": 0.25, "workers": 4, "resident_memory_peak_bytes": 3 * 2**30}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    lines = [
        {"event": "started", "version": "0.1.0", "device": "cpu"},
        {"event": "started", "version": "0.2.0", "device": "cuda", "precision": "bfloat16"},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"event": "star'
    (tmp_path / "log.jsonl").write_text(text)
    assert version_of(tmp_path) == "0.2.0"
    assert cost_of(tmp_path) == [
        ("Pace", "4 seconds a picture"),
        ("Processes", "4"),
        ("Memory at most", "3.0 GiB"),
        ("Computed on", "cuda, in bfloat16"),
    ]
    (tmp_path / "metrics.json").write_text("[1]")
    assert cost_of(tmp_path) == [("Computed on", "cuda, in bfloat16")]
