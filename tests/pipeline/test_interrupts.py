"""Ctrl-C and kill -9 in the middle of a run, then the same command: the result of an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import advcam


def command(photographs: Path, out: Path) -> list[str]:
    settings = ["--labels", "folders", "--out", str(out), "--iterations", "3", "--scales", "1", "--quiet"]
    return [sys.executable, "-m", "advcam", "localize", str(photographs), *settings]


def many_pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(8):
        (folder / "tabby").mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        noise.resize((320, 240), Image.Resampling.BICUBIC).save(folder / "tabby" / f"{index}.png")
    return folder


def maps(out: Path) -> dict[str, bytes]:
    return {row["sample_id"]: row["maps"] for row in pq.read_table(out / "maps").to_pylist()}


def start_and_wait_for_masks(arguments: list[str], out: Path, count: int) -> subprocess.Popen[bytes]:
    source = str(Path(advcam.__file__).parents[1])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    # A test run in the background of a shell inherits "ignore SIGINT"; a user's terminal does not.
    process = subprocess.Popen(
        arguments,
        env=environment,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("masks/tabby/*.png"))) < count:
        assert process.poll() is None, "the run ended before it was interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_interrupted_and_killed_runs_end_as_if_nothing_had_happened(tmp_path: Path):
    photographs = many_pictures(tmp_path / "photographs")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command(photographs, whole), check=True, env=environment)

    process = start_and_wait_for_masks(command(photographs, broken), broken, 2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in error
    boxes = json.loads((broken / "boxes.json").read_text())["pictures"]
    done = len(boxes)
    assert 2 <= done < 8
    assert json.loads((broken / "summary.json").read_text())["interrupted"] is True
    assert (broken / "report.html").exists()
    assert maps(broken).keys() == boxes.keys()

    process = start_and_wait_for_masks(command(photographs, broken), broken, done + 2)
    process.kill()
    process.communicate()
    assert subprocess.run(command(photographs, broken), check=False, env=environment).returncode == 0
    assert maps(broken) == maps(whole)
    for path in (whole / "masks").rglob("*.png"):
        assert (broken / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert json.loads((broken / "boxes.json").read_text())["pictures"].keys() == {f"tabby/{i}.png" for i in range(8)}
    assert not list(broken.rglob("*.partial"))
