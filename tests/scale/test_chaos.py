"""A driver dies at a random moment, and the run ends as if nothing had happened; the benchmark kills more."""

import json
import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


def test_a_driver_is_killed():
    command = [sys.executable, CHAOS, "--kills", "1", "--victims", "driver", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {event["victim"] for event in events if event["event"] == "kill"} == {"driver"}
    compared = [event for event in events if event["event"] == "localization compared"]
    assert compared
    assert all(event["equal"] for event in compared)
