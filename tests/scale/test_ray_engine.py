"""The engine on a cluster: every shard once, whatever dies, and the same results as in one process."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
from toy_stages import Marking, pictures, shards

from advcam.errors import RunError, SettingError
from advcam.pipeline.shards import LocalEngine, ShardResult, Unheard, in_order, kept
from advcam.scale import ray_engine as room
from advcam.scale.ray_engine import RayEngine, RaySettings, ray_engine


class Heard(Unheard):
    def __init__(self) -> None:
        self.done: list[str] = []
        self.skipped: list[tuple[str, str]] = []

    def picture_done(self, name: str) -> None:
        self.done.append(name)

    def picture_skipped(self, name: str, reason: str) -> None:
        self.skipped.append((name, reason))


def ids(count: int) -> list[str]:
    return [sample.id for sample in pictures(count)]


def worked(engine: RayEngine | LocalEngine, stage: Marking, count: int, size: int) -> tuple[list[ShardResult], Heard]:
    heard, todo = Heard(), shards(count, size)
    return list(in_order(engine.map(stage, todo, heard), todo)), heard


def test_every_picture_once_by_several_actors_that_load_once(ray_cluster: RayEngine, tmp_path: Path):
    results, heard = worked(ray_cluster, Marking(tmp_path, seconds=0.02), 42, 4)
    assert [id_ for result in results for id_ in result.done] == ids(42)
    assert sorted(heard.done) == ids(42)
    assert sorted(path.name for path in tmp_path.iterdir()) == ids(42)
    loads = {(result.answer["pid"], result.answer["loaded"]) for result in results}
    assert len(loads) == 2, "two actors, each with one load"
    threads = {path.read_text().split()[1] for path in tmp_path.iterdir()}
    assert threads == {"1"}, "a core each"


def test_results_are_those_of_one_process(ray_cluster: RayEngine, tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, _ = worked(LocalEngine(), Marking(tmp_path / "a"), 11, 3)
    there, _ = worked(ray_cluster, Marking(tmp_path / "b"), 11, 3)
    assert [(r.first, r.last, r.done, r.skipped) for r in here] == [(r.first, r.last, r.done, r.skipped) for r in there]


def test_nothing_to_do_starts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(RayEngine, "_join", lambda _: pytest.fail("the cluster was joined"))
    assert list(RayEngine(RaySettings()).map(Marking(tmp_path), [], Heard())) == []


def test_an_actor_that_dies_is_replaced_and_its_shard_done_again(ray_cluster: RayEngine, tmp_path: Path):
    results, heard = worked(ray_cluster, Marking(tmp_path, once=("0005.png",)), 16, 4)
    assert [id_ for result in results for id_ in result.done] == ids(16)
    assert sorted(heard.done) == ids(16)
    assert [result.answer["careful"] for result in results] == [False, True, False, False]


def test_a_picture_at_which_actors_die_is_named_and_all_else_is_done(ray_cluster: RayEngine, tmp_path: Path):
    results, heard = worked(ray_cluster, Marking(tmp_path, deadly=("0005.png",)), 12, 4)
    assert [id_ for result in results for id_ in result.done] == [*ids(5), *ids(12)[6:]]
    assert [name for name, _ in heard.skipped] == ["0005.png"]
    assert all("2 processes died while working at it" in reason for _, reason in heard.skipped)


def test_a_picture_that_no_memory_is_enough_for(ray_cluster: RayEngine, tmp_path: Path):
    results, heard = worked(ray_cluster, Marking(tmp_path, hungry=("0001.png",)), 6, 2)
    assert [id_ for result in results for id_ in result.done] == [*ids(1), *ids(6)[2:]]
    assert [(name, "needs more memory" in reason) for name, reason in heard.skipped] == [("0001.png", True)]


def test_what_cannot_be_loaded_is_said_once(ray_cluster: RayEngine, tmp_path: Path):
    with pytest.raises(RunError, match="cannot be loaded on this machine: no such network"):
        list(kept(ray_cluster.map(Marking(tmp_path, unloadable=True), shards(20, 2), Heard())))


def test_killed_from_outside_at_random_moments(ray_cluster: RayEngine, tmp_path: Path):
    """Actors are killed while they work; each picture is still done, and reported once."""
    stage, over = Marking(tmp_path, seconds=0.02), threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not over.wait(0.7) and len(killed) < 3:
            alive = {int(path.read_text().split()[0]) for path in list(tmp_path.iterdir()) if path.read_text()}
            for pid in alive - set(killed):
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, 9)
                    killed.append(pid)
                    break

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        results, heard = worked(ray_cluster, stage, 150, 5)
    finally:
        over.set()
        thread.join()
    assert killed
    assert [id_ for result in results for id_ in result.done] == ids(150)
    assert sorted(heard.done) == ids(150)


def test_two_nodes(tmp_path: Path):
    """Two raylets on this machine: the actors of a run work on both, and one node's death costs nothing but time."""
    script = Path(__file__).parent / "two_nodes.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert lines["nodes"] == "2"
    assert lines["nodes that worked"] == "2"
    assert lines["pictures"] == lines["different"] == "60"
    assert lines["nodes left"] == "1"


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def absent(*_: object, **__: object) -> None:
        raise ConnectionError("Ray is trying to start at 127.0.0.1:1, but is already running at ..")

    monkeypatch.setattr(ray, "init", absent)
    with (
        ray_engine(RaySettings("127.0.0.1:1")) as engine,
        pytest.raises(RunError, match=r"no Ray cluster at 127\.0\.0\.1:1"),
    ):
        list(engine.map(Marking(tmp_path), shards(2, 1), Heard()))


def test_an_address_at_which_nobody_listens_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with ray_engine(RaySettings(address)) as engine, pytest.raises(RunError, match=f"no Ray cluster at {address}"):
        list(engine.map(Marking(tmp_path), shards(2, 1), Heard()))
    assert time.monotonic() - started < 60, "Ray would ask for minutes"


def test_settings_and_a_missing_package(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SettingError, match="1 or more"), ray_engine(RaySettings(workers=0)):
        pass
    monkeypatch.setattr(room, "find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"pip install 'advcam\[ray\]'"), ray_engine(RaySettings()):
        pass


def test_a_slow_reader_is_not_run_ahead_of(ray_cluster: RayEngine, tmp_path: Path):
    """Back-pressure: shards are handed out as results are taken, not all at once."""
    results = ray_cluster.map(Marking(tmp_path), shards(400, 1), Heard())
    next(results)
    time.sleep(2)
    ahead = len(list(tmp_path.iterdir()))
    assert len(list(results)) == 399
    assert ahead < 400
