"""SIGTERM in the middle of `advcam localize`: exit code 143, and what was finished is there with its lists and log."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from advcam.pipeline.operations.log import read_log


def test_a_run_that_is_told_to_end(tmp_path: Path):
    (tmp_path / "tabby").mkdir()
    for n in range(12):
        noise = np.random.default_rng(n).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "tabby" / f"{n:02}.png")
    out = tmp_path / "run"
    settings = ["--labels", "folders", "--out", str(out), "--shard-pictures", "2", "--iterations", "8", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "advcam", "localize", str(tmp_path / "tabby"), *settings],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while not list(out.glob("maps/*.parquet")):
        assert process.poll() is None, "the run ended before it was told to"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    _, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (143, b"")
    assert json.loads((out / "summary.json").read_text())["interrupted"] is True
    events = [event["event"] for event in read_log(out / "log.jsonl")]
    assert events[:2] == ["started", "shard done"]
    assert events[-2:] == ["interrupted", "ended"]
    pictures = json.loads((out / "boxes.json").read_text())["pictures"]
    assert 2 <= len(pictures) < 12
    assert len(list(out.glob("masks/**/*.png"))) == len(pictures)
    numbers = json.loads((out / "metrics.json").read_text())
    assert (numbers["running"], numbers["pictures_planned"]) == (0, 12)
