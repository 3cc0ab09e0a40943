"""Metrics of a run: counts, rates against a literal count, both files, and disks that are full."""

import json
import mmap
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from advcam.pipeline.operations.metrics import MEANING, PERIOD, Metrics, prometheus_text

LINE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{run="(?P<run>(?:[^"\\\n]|\\["\\n])*)"\} (?P<value>\S+)')


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def parsed(text: str) -> dict[str, tuple[str, str, float]]:
    """Name to type, run and value; the text format 0.0.4, of which only what is written here is understood."""
    assert text.endswith("\n")
    helps: dict[str, str] = {}
    types: dict[str, str] = {}
    found: dict[str, tuple[str, str, float]] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, meaning = line.split(" ", 3)
            assert name not in helps
            helps[name] = meaning
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types
            assert name in helps
            types[name] = kind
        else:
            match = LINE.fullmatch(line)
            assert match, line
            assert match["name"] not in found
            run = re.sub(r'\\(["\\n])', lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), match["run"])
            found[match["name"]] = (types[match["name"]], run, float(match["value"]))
    assert found.keys() == helps.keys() == types.keys()
    return found


def test_counters_and_gauges_are_in_both_files(tmp_path: Path):
    metrics = Metrics(tmp_path)
    metrics.count("pictures")
    metrics.count("pictures", 63)
    metrics.count("shard_retries", 12345)
    metrics.gauge("workers", 4)
    metrics.gauge("workers", 3)
    metrics.write_if_due()
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert list(values) == list(MEANING)
    assert (values["pictures"], values["shard_retries"], values["workers"], values["shards"]) == (64, 12345, 3, 0)
    assert values["running"] == 1
    found = parsed((tmp_path / "metrics.prom").read_text())
    run = tmp_path.resolve().as_posix()
    assert found["advcam_pictures_total"] == ("counter", run, 64)
    assert found["advcam_workers"] == ("gauge", run, 3)
    assert all(name.endswith("_total") == (kind == "counter") for name, (kind, _, _) in found.items())
    for name, value in values.items():
        written = found[f"advcam_{name}"] if f"advcam_{name}" in found else found[f"advcam_{name}_total"]
        assert written[2] == value


def test_a_number_without_a_meaning_is_none(tmp_path: Path):
    with pytest.raises(KeyError):
        Metrics(tmp_path).count("picture")  # type: ignore[arg-type]


def test_the_prometheus_text_is_understood_by_its_own_client():
    run = 'C:\\runs\\new "one"\nof two'
    text = prometheus_text({"pictures": 12, "pictures_per_second": 0.25, "resident_memory_bytes": None}, run)
    counter, rate = text_string_to_metric_families(text)
    assert (counter.name, counter.type, counter.documentation) == ("advcam_pictures", "counter", MEANING["pictures"])
    ((name, labels, value, *_),) = counter.samples
    assert (name, labels, value) == ("advcam_pictures_total", {"run": run}, 12)
    assert (rate.name, rate.type, rate.samples[0].value) == ("advcam_pictures_per_second", "gauge", 0.25)
    assert {name: found[1:] for name, found in parsed(text).items()} == {
        "advcam_pictures_total": (run, 12),
        "advcam_pictures_per_second": (run, 0.25),
    }


def test_rates_are_those_of_a_literal_count(tmp_path: Path):
    rng, clock = np.random.default_rng(0), Clock()
    metrics, times = Metrics(tmp_path, clock), []
    for wait in rng.choice([0.01, 0.3, 2.0, 20.0, 90.0], size=600, p=[0.5, 0.3, 0.17, 0.02, 0.01]):
        clock.now += wait
        times.append(clock.now)
        metrics.count("pictures")
        elapsed = clock.now - 1000
        values = metrics.values()
        assert values["pictures_per_second"] == pytest.approx(len(times) / elapsed, rel=1e-3)
        # A second is the resolution: between the counts of 59 and of 61 seconds.
        least, most = (sum(t > clock.now - length for t in times) for length in (59, 61))
        rate = values["pictures_per_second_last_minute"] * min(elapsed, 60)
        assert least * 0.999 <= rate <= most * 1.001
    assert len(metrics._seconds) < 70
    clock.now += 61
    assert metrics.values()["pictures_per_second_last_minute"] == 0


def test_a_run_that_has_just_begun_has_no_rate(tmp_path: Path):
    values = Metrics(tmp_path, Clock()).values()
    assert (values["pictures_per_second"], values["pictures_per_second_last_minute"]) == (0, 0)


def test_written_at_most_every_ten_seconds_and_at_the_end(tmp_path: Path):
    clock = Clock()

    def written() -> int:
        return json.loads((tmp_path / "metrics.json").read_text())["pictures"]

    with Metrics(tmp_path, clock) as metrics:
        metrics.write_if_due()
        metrics.count("pictures")
        clock.now += PERIOD - 0.1
        metrics.write_if_due()
        assert written() == 0
        clock.now += 0.2
        metrics.write_if_due()
        assert written() == 1
        metrics.count("pictures")
    assert written() == 2
    assert json.loads((tmp_path / "metrics.json").read_text())["running"] == 0
    assert parsed((tmp_path / "metrics.prom").read_text())["advcam_running"][2] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "metrics.prom"]


def test_a_disk_that_takes_nothing_ends_nothing(tmp_path: Path):
    (tmp_path / "file").touch()
    with Metrics(tmp_path / "file") as metrics:  # a file where the folder should be
        metrics.count("pictures")
        metrics.write_if_due()
        assert metrics.lost == 1
    assert metrics.lost == 2


def test_threads_count_together(tmp_path: Path):
    metrics = Metrics(tmp_path)

    def work() -> None:
        for _ in range(1000):
            metrics.count("pictures")
            metrics.write_if_due()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.values()["pictures"] == 8000
    assert metrics.lost == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_memory_grows_with_what_is_held(tmp_path: Path):
    metrics = Metrics(tmp_path)
    before = metrics.values()["resident_memory_bytes"]
    held = mmap.mmap(-1, 50_000_000)  # pages of its own: an array may lie where others were before
    for start in range(0, len(held), mmap.PAGESIZE):
        held[start] = 1
    during = metrics.values()
    assert during["resident_memory_bytes"] - before > 0.9 * len(held)
    held.close()
    after = metrics.values()
    assert after["resident_memory_peak_bytes"] >= during["resident_memory_bytes"] * 0.99
    assert during["resident_memory_bytes"] - after["resident_memory_bytes"] > 40_000_000
