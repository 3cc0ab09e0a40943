"""The page on operations names what there is: every metric, event and exit code."""

import re
from pathlib import Path

from advcam.cli.app import FAILED, INTERRUPTED, OK, SKIPPED
from advcam.pipeline.operations import telemetry
from advcam.pipeline.operations.metrics import MEANING

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "operate.md").read_text()


def table(header: str) -> list[list[str]]:
    """The cells of a table's rows."""
    _, _, rows = PAGE.partition(header)[2].partition("\n|---")
    lines = rows.split("\n")[1:]
    end = next(place for place, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[:end]]


def test_every_metric_is_named_and_no_other():
    named = [name for row in table("| name |") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(MEANING)
    assert set(re.findall(r"`.*?advcam_(\w+?)(?:_total)?\b(?=[ \[`])", PAGE)) <= MEANING.keys()


def test_counters_are_called_so():
    for names, words in table("| name |"):
        assert ("counter" in words) == bool({"pictures", "shards", "store_retries"} & set(re.findall(r"\w+", names)))


def test_every_event_is_named_and_no_other():
    written = re.findall(r'\.event\(\s*"([\w ]+)"', Path(telemetry.__file__).read_text())
    assert "`stage`" in PAGE  # of a chain
    assert sorted(re.findall(r"`([\w ]+)`", "\n".join(row[0] for row in table("| event |")))) == sorted(written)


def test_every_exit_code_is_named():
    codes = "\n".join(row[-1] for row in table("| what happens |"))
    assert {OK, SKIPPED, FAILED, INTERRUPTED, 143} <= {int(code) for code in re.findall(r"\d+", codes)}
