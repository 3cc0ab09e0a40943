"""Settings are validated once, in one line, and split into what decides the maps and what is made of them."""

from pathlib import Path

import pytest

from advcam.errors import SettingError
from advcam.pipeline.config import LocalizeSettings, localize_settings


def settings(**changes: object) -> LocalizeSettings:
    return localize_settings(**({"inputs": ("a",), "labels": "predicted", "out": Path("run")} | changes))


def test_threshold_is_an_output_and_the_method_decides_the_maps():
    plain = settings().sections("weights", "float32")
    assert settings(outputs={"threshold": 0.5}).sections("weights", "float32")["maps"] == plain["maps"]
    assert settings(outputs={"threshold": 0.5}).sections("weights", "float32")["outputs"] != plain["outputs"]
    assert settings(method={"iterations": 3}).sections("weights", "float32")["maps"] != plain["maps"]
    assert settings().sections("other weights", "float32")["maps"] != plain["maps"]
    assert settings().sections("weights", "bfloat16")["maps"] != plain["maps"]


def test_device_batch_and_size_of_the_report_change_nothing():
    same = settings(
        method={"batch_size": 2, "compiled": True, "precision": "float32"},
        model={"device": "cuda"},
        outputs={"report_pictures": 3},
    )
    assert same.sections("weights", "float32") == settings().sections("weights", "float32")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": {"threshold": 2}}, "^threshold: .*less than or equal to 1; got 2$"),
        ({"model": {"output_stride": 7}}, "^output-stride: .*8, 16 or 32; got 7$"),
        ({"method": {"itterations": 3}}, "^itterations: .*not permitted; got 3$"),
        ({"top": 0}, "^top: .*greater than or equal to 1; got 0$"),
    ],
)
def test_a_bad_value_is_named_in_one_line(changes: dict[str, object], words: str):
    with pytest.raises(SettingError, match=words):
        settings(**changes)


def test_only_what_was_chosen_reaches_the_method():
    assert settings(method={"iterations": 3, "flip": False}).method.chosen() == {"iterations": 3, "flip": False}
    assert settings().method.chosen() == {}
