"""A worker and a driver die at random moments, and the run ends as if nothing had happened; see the benchmark."""

import json
import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


def test_a_worker_and_a_driver_are_killed():
    command = [sys.executable, CHAOS, "--kills", "2", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {event["victim"] for event in events if event["event"] == "kill"} == {"worker", "driver"}
    compared = [event for event in events if event["event"] == "localization compared"]
    assert compared
    assert all(event["equal"] for event in compared)
