"""The log of a run: its lines, many writers, lines that were cut short, and disks that are full."""

import errno
import json
import math
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advcam.errors import RunError
from advcam.pipeline.operations.log import RunLog, read_log
from advcam.store.remote import RemotePath


def path_of(log: RunLog) -> Path:
    return log._writer.path


full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full: Linux only")


def test_a_line_has_time_event_host_pid_and_the_facts(tmp_path: Path):
    before = datetime.now(UTC)
    RunLog(tmp_path / "log.jsonl").event("shard done", shard=3, pictures=64, worker="näme")
    (line,) = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    event = json.loads(line)
    assert list(event) == ["time", "event", "host", "pid", "shard", "pictures", "worker"]
    assert (event["event"], event["pid"], event["shard"], event["worker"]) == ("shard done", os.getpid(), 3, "näme")
    assert event["time"].endswith("Z")
    assert len(event["time"]) == len("2026-01-01T00:00:00.000Z")
    written = datetime.fromisoformat(event["time"])
    assert abs((written - before).total_seconds()) < 60
    assert written.utcoffset().total_seconds() == 0


def test_what_every_line_has_is_not_overwritten_by_facts(tmp_path: Path):
    log = RunLog(tmp_path / "log.jsonl")
    log.event("start", event="other", pid=0, name="a fact may be called name")
    (event,) = read_log(path_of(log))
    assert (event["event"], event["pid"], event["name"]) == ("start", os.getpid(), "a fact may be called name")


def test_numbers_and_names_that_json_lacks(tmp_path: Path):
    log = RunLog(tmp_path / "log.jsonl")
    log.event("epoch", loss=math.nan, all=[math.inf, {"a": -math.inf}], name=os.fsdecode(b"\xff.jpg"), path=tmp_path)
    (event,) = read_log(path_of(log))
    assert (event["loss"], event["all"], event["path"]) == ("nan", ["inf", {"a": "-inf"}], str(tmp_path))
    assert os.fsencode(event["name"]) == b"\xff.jpg"
    assert log.lost == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(facts=st.dictionaries(st.text(min_size=1, max_size=5).map("_".__add__), values, max_size=4))
def test_every_fact_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, facts: dict):
    log = RunLog(tmp_path_factory.mktemp("log") / "log.jsonl")
    log.event("before")
    log.event("event", **facts)
    _, event = read_log(path_of(log))
    assert {key: event[key] for key in facts} == facts


def test_lines_of_threads_and_processes_do_not_mix(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    code = (
        "import sys; from pathlib import Path; from advcam.pipeline.operations.log import RunLog\n"
        "log = RunLog(Path(sys.argv[1]))\n"
        "for n in range(200): log.event('line', n=n, filling='x' * (n * 37 % 9000))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    log = RunLog(path)
    threads = [threading.Thread(target=lambda: [log.event("line", n=n) for n in range(200)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    numbers: dict[int, list[int]] = {}
    for event in read_log(path):
        numbers.setdefault(event["pid"], []).append(event["n"])
    assert sorted(numbers.pop(os.getpid())) == sorted(3 * list(range(200)))
    assert list(numbers.values()) == 3 * [list(range(200))]


def test_a_line_that_was_cut_short_costs_no_other_line(tmp_path: Path):
    log = RunLog(tmp_path / "log.jsonl")
    log.event("one")
    whole = path_of(log).read_bytes()
    path_of(log).write_bytes(whole + whole[: len(whole) // 2])
    assert [event["event"] for event in read_log(path_of(log))] == ["one"]
    log.event("two")
    log.event("three")
    assert [event["event"] for event in read_log(path_of(log))] == ["one", "two", "three"]
    assert path_of(log).read_bytes().count(b"\n") == 4


def test_a_log_that_was_moved_away_begins_again(tmp_path: Path):
    log = RunLog(tmp_path / "log.jsonl")
    log.event("one")
    path_of(log).rename(tmp_path / "log.jsonl.1")
    log.event("two")
    assert [event["event"] for event in read_log(path_of(log))] == ["two"]


@full_disk
def test_a_full_disk_ends_nothing_and_is_counted(tmp_path: Path):
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    log = RunLog(tmp_path / "log.jsonl")
    log.event("one")
    log.event("two")
    assert log.lost == 2


def test_a_folder_that_is_gone_ends_nothing(tmp_path: Path):
    log = RunLog(tmp_path / "gone" / "log.jsonl")
    log.event("one")
    assert log.lost == 1


def test_a_write_that_the_disk_has_half_room_for(tmp_path: Path):
    """With a limit on the size of files, the system writes what fits and says how much that was."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from advcam.pipeline.operations.log import RunLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); log = RunLog(Path(sys.argv[1]))\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "log.event('one'); size = Path(sys.argv[1]).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, hard)); log.event('two'); log.event('three')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)); log.event('four'); sys.exit(10 + log.lost)\n"
    )
    path = tmp_path / "log.jsonl"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 12
    assert [event["event"] for event in read_log(path)] == ["one", "four"]


def test_how_the_block_ended_is_the_last_line(tmp_path: Path):
    path = tmp_path / "log.jsonl"

    def work() -> None:
        with RunLog(path) as log:
            log.event("start")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        work()
    first, last = read_log(path)
    assert (first["event"], last["event"], last["outcome"], last["type"]) == ("start", "ended", "failed", "OSError")
    assert last["reason"] == "[Errno 28] No space left on device"
    with RunLog(path):
        pass
    assert [event.get("outcome") for event in read_log(path)] == [None, "failed", "done"]


def test_a_log_that_is_not_there(tmp_path: Path):
    with pytest.raises(RunError, match=r"cannot read .*log.jsonl \(No such file or directory\); the log of a run is"):
        list(read_log(tmp_path / "log.jsonl"))


def test_in_a_store_a_log_is_an_object_a_minute(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("advcam.pipeline.operations.log.time.monotonic", lambda: now[0])
    path = RemotePath("memory", "bucket/log of minutes/log.jsonl")
    with RunLog(path) as log:
        for now[0] in (0.0, 59.0, 60.0, 61.0, 130.0, 131.0):
            log.event("at", second=now[0], name="nämen")
        sent = list((path.parent / "log").iterdir())
        assert [event["second"] for event in read_log(path)] == [0, 59, 60, 61, 130]
    RunLog(path).flush()  # nothing to write, nothing written
    assert [event.get("second") for event in read_log(path)] == [0, 59, 60, 61, 130, 131, None]
    parts = list((path.parent / "log").iterdir())
    assert len(sent) == 2
    assert parts[:2] == sent
    assert len(parts) == 3


def test_a_store_that_cannot_be_reached_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    def upload(*_: object) -> None:
        raise RunError("no store")

    monkeypatch.setattr(RemotePath, "upload", upload)
    with RunLog(RemotePath("memory", "bucket/nowhere/log.jsonl")) as log:
        log.event("one")
        log.event("two")
    assert log.lost == 3


def test_a_log_that_is_not_in_the_store():
    with pytest.raises(RunError, match=r"cannot read memory://bucket/none/log.jsonl \(.+\); the log of a run is"):
        list(read_log(RemotePath("memory", "bucket/none/log.jsonl")))
