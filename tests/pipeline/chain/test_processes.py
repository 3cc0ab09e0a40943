"""Several processes of a launch: one carries out the stages, all train, and the others wait as long as it lives."""

import os
import time
from pathlib import Path

import pytest
import torch
from accelerate.state import PartialState
from launched import launched
from safetensors.torch import load_file

from advcam.attribution import precision
from advcam.cli.app import run
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.errors import RunError
from advcam.pipeline.chain import processes as module
from advcam.pipeline.chain.processes import Processes, by_main
from advcam.pipeline.chain.stage import Outcome, Stage, Watcher

RECIPE = """\
data: {root: pictures, train: train, val: val}
train: {model: test_resnet, weights: random, crop: 64, epochs: 2, batch_size: 3, precision: float32, optimizer: sgd,
        lr: 0.01}
localize: {method: cam, scales: [1.0], precision: float32}
outputs: {overlays: false, report_pictures: 0}
threshold: 0.4
refine: {methods: [irn], irn: {crop: 64, epochs: 2, batch_size: 3, steps: 2}}
segment: {network: {head: deeplabv2, model: test_resnet, weights: random}, crop: 64, epochs: 2, batch_size: 3,
          precision: float32, self_training: 1, validation: val}
evaluate: {resamples: 2}
"""
#: How far the weights may lie apart: IRN's learning rates of 0.1 and 1 make rounding larger from step to step.
NETWORKS = {"classifier": 1e-5, "refined/irn/network": 5e-3, "segmenter/round-1": 1e-5, "segmenter": 1e-5}


def chain(folder: Path) -> int:
    """What each process of `torchrun -m advcam run` does."""
    precision.has_bfloat16 = lambda _device: False  # in which rounding tells two processes from one
    os.chdir(folder)
    words = int(os.environ.get("WORLD_SIZE", "1"))
    return run(["run", "mine.yaml", "--out", f"by{words}", "--quiet"])


def test_a_chain_in_two_processes_is_that_of_one(tmp_path: Path) -> None:
    """All its networks, IRN's too; the stages are carried out once."""
    (tmp_path / "mine.yaml").write_text(RECIPE)
    write_dataset("folders", tmp_path / "pictures", 14)
    assert [launched(count, chain, tmp_path) for count in (1, 2)] == [[0], [0, 0]]
    for name, atol in NETWORKS.items():
        one, two = (load_file(tmp_path / f"by{count}" / name / "last.safetensors") for count in (1, 2))
        assert one.keys() == two.keys()
        for key in one:
            torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=atol, msg=f"{name}: {key}")
    assert sorted(p.name for p in (tmp_path / "by2").iterdir()) == sorted(p.name for p in (tmp_path / "by1").iterdir())


def waiting(folder: Path) -> list[str]:
    """The main process does things alone, for longer than an exchange may take."""
    module._EXCHANGE = module.timedelta(seconds=1)
    processes, heard = Processes("cpu"), []

    def work(_watcher: Watcher) -> Outcome:
        by_main(lambda: time.sleep(1.5))
        by_main(lambda: (folder / "made").write_text("by main") and None)
        heard.append((folder / "made").read_text())
        return Outcome()

    trains = Stage("train", folder, {}, (), work, lambda: None, trains=True)
    other = Stage("other", folder, {}, (), work, lambda: None)
    if not processes.main:
        processes.follow([trains, other, trains])
        processes.part()
        return heard
    for stage, work_at in ((trains, True), (other, True), (trains, False)):
        time.sleep(1.5)
        processes.announce(work_at)
        if stage is trains and work_at:
            work(None)
    processes.part()
    return heard


def test_the_others_wait_longer_than_an_exchange_lasts(tmp_path: Path) -> None:
    """And take part in the stage that trains and is worked at, alone."""
    assert launched(2, waiting, tmp_path) == [["by main"], ["by main"]]


def silent(dead: bool) -> str:
    """The main process gives no sign of life, or the store is gone with it."""
    module._SILENCE, module._BEAT = 0.5, 1000.0
    processes = Processes("cpu")
    if processes.main:
        module._board()
        time.sleep(0 if dead else 2)
        if dead:
            PartialState().destroy_process_group()
        return ""
    try:
        processes.follow([Stage("x", Path(), {}, (), lambda _: Outcome(), lambda: None)])
    except RunError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize("dead", [False, True])
def test_a_main_process_that_is_gone_is_given_up(dead: bool) -> None:
    _, text = launched(2, silent, dead)
    assert text.startswith("the main process ")
    assert "gave no sign of life for" in text or "of this launch is gone (" in text
    assert text.endswith("; its own message says why, and the same command goes on")
