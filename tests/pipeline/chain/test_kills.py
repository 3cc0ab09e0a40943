"""kill -9 in the middle of each stage, then the same command: the masks of an uninterrupted run, byte for byte."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from chains import files

from advcam.cli.app import run
from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.store.maps import MapStore

#: Enough to do in each stage that a kill meets its middle; states of the training are written at every step.
RECIPE = """\
data: {root: pictures, train: train, val: val}
train: {model: test_resnet, weights: random, frozen_statistics: false, crop: 64, epochs: 3, batch_size: 4,
        precision: float32, save_minutes: 0, optimizer: sgd, lr: 0.01}
localize: {method: advcam, iterations: 2, scales: [1.0], precision: float32}
outputs: {overlays: false, report_pictures: 0}
refine: {methods: [affinity, irn, crf], affinity: {iterations: 5}, irn: {crop: 64, epochs: 2, batch_size: 4, steps: 2}}
pseudo: {boxes: largest}
evaluate: {resamples: 2}
"""
STAGES = (
    "train",
    "localize",
    "baseline",
    "threshold",
    "refine-affinity",
    "refine-irn",
    "refine-crf",
    "pseudo",
    "evaluate",
)
#: What a stage has left once it has done some of its work; else only its record says that it began.
PARTIAL: dict[str, Callable[[Path], bool]] = {
    "train": lambda out: (out / "classifier" / "last.safetensors").exists(),
    "localize": lambda out: any((out / "localize" / "masks").rglob("*.png")),
    "baseline": lambda out: any((out / "baseline" / "masks").rglob("*.png")),
    "refine-irn": lambda out: (out / "refined" / "irn" / "network" / "last.safetensors").exists(),
    "pseudo": lambda out: any((out / "pseudo" / "masks").rglob("*.png")),
    "evaluate": lambda out: any((out / "metrics").glob("*/evaluation.json")),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its pictures, and the run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "mine.yaml").write_text(RECIPE)
    write_dataset("folders", folder / "pictures", 18)
    finish(folder, "--out", "whole")
    return folder


def command(here: Path, arguments: tuple[str, ...]) -> None:
    """What a process of `advcam run` does."""
    torch.set_num_threads(1)
    os.chdir(here)
    # A test run in the background of a shell inherits "ignore SIGINT"; a user's terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path("errors.txt").open("ab") as file:
        os.dup2(file.fileno(), 2)
    os._exit(run(["run", *arguments, "--quiet"]))


def start(here: Path, *arguments: str, recipe: str = "mine.yaml") -> BaseProcess:
    """A process of its own that need not import everything anew."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["advcam.cli.app", "advcam.pipeline.chain.run", "advcam.training.classifier"])
    process = server.Process(target=command, args=(here, (recipe, *arguments)))
    process.start()
    return process


def finish(here: Path, *arguments: str, recipe: str = "mine.yaml") -> None:
    """A run that nothing disturbs."""
    process = start(here, *arguments, recipe=recipe)
    process.join(timeout=120)
    assert process.exitcode == 0, (here / "errors.txt").read_text()


def begun(out: Path, stage: str) -> bool:
    """Whether the record of a stage says that it began, and some of its work is on disk."""
    if not (out / "stages" / f"{stage}.json").exists():
        return False
    return PARTIAL.get(stage, lambda _: True)(out)


def until_begun(here: Path, out: str, stage: str) -> BaseProcess:
    """A run in the middle of a stage."""
    process = start(here, "--out", out)
    deadline = time.monotonic() + 120
    while process.is_alive() and not begun(here / out, stage):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process


def kill_in(here: Path, out: str, stage: str) -> bool:
    """Kill a run when a stage is at work; whether that came before its end."""
    process = until_begun(here, out, stage)
    process.kill()
    process.join()
    return '"done": false' in (here / out / "stages" / f"{stage}.json").read_text()


def test_killed_in_every_stage(here: Path) -> None:
    """One run that is killed in one stage after the other, as on a machine that is taken away again and again."""
    unfinished = [stage for stage in STAGES if kill_in(here, "broken", stage)]
    assert len(unfinished) > len(STAGES) / 2, "most kills meet the stages, also on a machine that is busy"
    finish(here, "--out", "broken")
    whole, broken = here / "whole", here / "broken"
    assert files(broken / "pseudo") == files(whole / "pseudo")
    assert len(files(broken / "pseudo" / "masks")) == 12
    for part in ("localize/masks", "refined/irn/labels", "threshold"):
        assert files(broken / part) == files(whole / part)
    for stage in ("localize", "baseline", "refined/affinity", "refined/irn", "refined/crf"):
        # Named by what they hold: equal names are equal shards.
        assert MapStore(whole / stage / "maps").names() == MapStore(broken / stage / "maps").names()
    assert [line for line in files(broken) if line.endswith(".partial")] == []


def test_interrupted(here: Path) -> None:
    """Ctrl-C: exit code 130 and one line, in a stage that ends itself in order and in one that does not."""
    for stage in ("localize", "refine-irn"):
        process = until_begun(here, "interrupted", stage)
        os.kill(process.pid, signal.SIGINT)
        process.join(timeout=120)
        assert process.exitcode in (0, 130), "0 where it had ended before it heard"
        assert (here / "interrupted" / "report.html").exists()
    finish(here, "--out", "interrupted")
    assert files(here / "interrupted" / "pseudo") == files(here / "whole" / "pseudo")
    line = "interrupted: what is done so far is valid, and the same command goes on where it stopped"
    assert set((here / "errors.txt").read_text().splitlines()) <= {line}


def test_killed_while_the_pictures_are_drawn(here: Path) -> None:
    """They are whole or absent: what a kill left beside them is not taken for them."""
    recipe = RECIPE.replace("root: pictures", "root: drawn, generated: {layout: folders, pictures: 100}")
    (here / "drawn.yaml").write_text(recipe)
    arguments = ["--out", "of-drawn", "--until", "train"]
    process = start(here, *arguments, recipe="drawn.yaml")
    deadline = time.monotonic() + 60
    while not list(here.glob(".drawn-*/data/train/*/*.jpg")):
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.002)
    process.kill()
    process.join()
    assert not (here / "drawn").exists()
    finish(here, *arguments, recipe="drawn.yaml")
    assert len(list((here / "drawn").glob("*/*/*.jpg"))) == 100
