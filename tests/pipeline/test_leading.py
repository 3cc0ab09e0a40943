"""Where the process that leads a run has its network."""

import pytest
import torch

from advcam.errors import SettingError
from advcam.pipeline.leading import leading_device
from advcam.pipeline.shards import LocalEngine


class Elsewhere(LocalEngine):
    remote = True


@pytest.mark.parametrize("engine", [None, LocalEngine(), Elsewhere()])
def test_the_device_that_was_named(engine: LocalEngine | None, monkeypatch: pytest.MonkeyPatch):
    assert leading_device("cpu", None, engine) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert leading_device("cuda:1", None, engine) == "cuda:1"


def test_gpus_on_other_machines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert leading_device("cuda", None, LocalEngine()) == "cuda", "the classifier says that there is none"
    assert leading_device("cuda", "float16", Elsewhere()) == "cpu"
    for precision in (None, "auto"):
        with pytest.raises(SettingError, match=r"this machine has no cuda to say .* add --precision bfloat16"):
            leading_device("cuda", precision, Elsewhere())
