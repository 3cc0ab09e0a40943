"""A real server: ports, bodies without end, pages that are closed, the end by a signal."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from shown_runs import CHANGES, ended, served, studio_of, wait_until, write_run
from test_working import _classifier

from advcam.cli.app import run as command
from advcam.errors import RunError, SettingError
from advcam.pipeline.operations.shutdown import Terminated, ends_cleanly
from advcam.studio import jobs
from advcam.studio.access import Access
from advcam.studio.serving import address, listen, serve


class _Slow(torch.nn.Module):
    """A network whose passes take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _classifier().module

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return self.network(pictures)


@pytest.fixture
def slow_client(run: Path) -> Iterator[httpx.Client]:
    """A page of a real server whose climbs are slow."""
    import advcam

    studio = studio_of(run)
    studio.live._loaded = advcam.Classifier.from_module(_Slow(), class_names=("cat", "dog", "cup"))
    with served(studio) as client:
        yield client


def _begin(client: httpx.Client, iterations: int = 50) -> str:
    job = client.post("/api/climbs", json={"picture": 0, "class_ids": [0], "iterations": iterations}).json()["job"]
    return str(job)


def _chunks(megabytes: int, sent: list[int]) -> Iterator[bytes]:
    for _ in range(megabytes):
        sent.append(1)
        yield bytes(2**20)


def test_an_upload_of_60_megabytes_is_refused_in_words(slow_client: httpx.Client, run: Path) -> None:
    for content in (bytes(60 * 2**20), _chunks(60, [])):  # with its length in the header, and without
        answer = slow_client.post("/api/drops", content=content)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "more than 32 MB, which is the most that is taken here"
    assert slow_client.get("/api/run").status_code == 200
    assert not (run / "studio" / "dropped").exists()


def test_a_body_without_end_is_not_read_to_its_end(slow_client: httpx.Client) -> None:
    sent: list[int] = []
    try:
        answer = slow_client.put("/api/pictures/0/status", content=_chunks(4000, sent))
        assert answer.status_code == 413
    except httpx.TransportError:  # cut while it was sending
        pass
    assert len(sent) < 1000
    assert slow_client.get("/api/run").status_code == 200


def test_a_climb_is_cancelled_within_a_step_or_two(slow_client: httpx.Client) -> None:
    job = _begin(slow_client)
    wait_until(lambda: slow_client.get(f"/api/jobs/{job}").json()["done"] > 2)
    before = slow_client.delete(f"/api/jobs/{job}").json()["done"]
    facts = ended(slow_client, job)
    assert facts["state"] == "cancelled"
    assert facts["done"] <= before + 2


def test_others_are_answered_while_a_climb_runs_and_others_wait(slow_client: httpx.Client) -> None:
    first, second = _begin(slow_client), _begin(slow_client, 1)
    wait_until(lambda: slow_client.get(f"/api/jobs/{first}").json()["state"] == "running")
    assert slow_client.get(f"/api/jobs/{second}").json()["position"] == 1
    for path in ("/", "/api/pictures", "/api/pictures/1/thumbnail", "/api/pictures/1/maps/localize"):
        assert slow_client.get(path).status_code == 200
    assert slow_client.get(f"/api/jobs/{first}").json()["state"] == "running"
    slow_client.delete(f"/api/jobs/{first}")
    assert ended(slow_client, second)["state"] == "done"


def test_a_browser_that_was_closed_ends_its_climb(slow_client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FORGOTTEN", 0.3)
    job = _begin(slow_client)
    with httpx.Client(base_url=slow_client.base_url, headers=CHANGES) as closed:
        assert closed.get(f"/api/jobs/{job}").json()["state"] in ("queued", "running")
    time.sleep(0.6)
    assert ended(slow_client, job)["state"] == "cancelled"


def test_a_visitor_who_hangs_up_in_an_upload(slow_client: httpx.Client, run: Path) -> None:
    host, port = slow_client.base_url.host, slow_client.base_url.port
    with socket.create_connection((host, port or 0)) as visitor:
        visitor.sendall(
            b"POST /api/drops HTTP/1.1\r\nHost: localhost\r\nX-Advcam: 1\r\nContent-Length: 1000000\r\n\r\n"
            + bytes(1000)
        )
    assert slow_client.get("/api/run").status_code == 200
    assert not (run / "studio" / "dropped").exists()


def test_words_that_are_no_http(slow_client: httpx.Client) -> None:
    host, port = slow_client.base_url.host, slow_client.base_url.port
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100, b"GET /" + b"a" * 100_000):
        with socket.create_connection((host, port or 0)) as visitor:
            visitor.sendall(nonsense)
    assert slow_client.get("/api/run").status_code == 200


def test_the_run_vanishes_under_the_server(slow_client: httpx.Client, run: Path) -> None:
    assert slow_client.get("/api/pictures/0/masks/final").status_code == 200
    shutil.rmtree(run / "masks")
    shutil.rmtree(run / "maps")
    assert slow_client.get("/api/pictures/0/masks/final").status_code == 404
    assert slow_client.get("/api/pictures/0/maps/localize").status_code == 404
    facts = slow_client.get("/api/pictures/0")
    assert (facts.status_code, facts.json()["stages"], facts.json()["mask_sets"]) == (200, {}, [])
    shutil.rmtree(run.parent / "photographs")
    for path in ("/api/pictures/0", "/api/pictures/0/image", "/api/pictures/0/thumbnail"):
        answer = slow_client.get(path)
        assert answer.status_code == 404
        assert "put the picture back" in answer.json()["detail"]
    assert slow_client.get("/api/run").status_code == 200
    assert slow_client.get("/api/pictures").json()["total"] == 4


def test_damaged_files_are_told_and_the_others_shown(slow_client: httpx.Client, run: Path) -> None:
    (run / "masks" / "picture 000.png").write_bytes(b"\x89PNG no more")
    shard = next((run / "maps").glob("part-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:100])
    for path in ("/api/pictures/0/masks/final", "/api/pictures/0/thumbnail", "/api/pictures/0/maps/localize"):
        answer = slow_client.get(path)
        assert answer.status_code == 404
        assert answer.json()["detail"]
    assert slow_client.get("/api/pictures/0").status_code == 200
    assert slow_client.get("/api/pictures/1/masks/final").status_code == 200


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=rf"port {port} of 127.0.0.1 is in use.*--port 0"):
            listen("127.0.0.1", port)


def test_hosts_and_ports_that_cannot_be() -> None:
    with pytest.raises(SettingError, match="a port is a number from 0 to 65535; got 70000"):
        listen("127.0.0.1", 70_000)
    for host in ("192.0.2.1", "no such host", "a" * 300):
        with pytest.raises(SettingError, match="cannot listen on"):
            listen(host, 0)


def test_the_address_of_the_page() -> None:
    with listen("127.0.0.1", 0) as here, listen("0.0.0.0", 0) as everywhere:
        assert address(here, Access()) == f"http://127.0.0.1:{here.getsockname()[1]}/"
        shown = address(everywhere, Access("secret"))
        assert shown == f"http://{socket.gethostname()}:{everywhere.getsockname()[1]}/?token=secret"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, although tests may have been started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_ends_the_server_and_its_climb(
    run: Path, number: signal.Signals, raised: type[BaseException], interruptible: None
) -> None:
    import advcam

    studio = studio_of(run)
    studio.live._loaded = advcam.Classifier.from_module(_Slow(), class_names=("cat", "dog", "cup"))
    states: list[str] = []

    def visitor(port: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=CHANGES) as client:
            job = _begin(client)
            wait_until(lambda: client.get(f"/api/jobs/{job}").json()["done"] > 0)
            states.append(job)
        os.kill(os.getpid(), number)

    with listen("127.0.0.1", 0) as listening, ends_cleanly() as ending:
        thread = threading.Thread(target=visitor, args=(listening.getsockname()[1],))
        thread.start()
        with pytest.raises(raised):
            serve(studio, Access(), listening, None)
    thread.join()
    assert ending.exit_code == 128 + number
    assert studio.jobs._jobs[states[0]].state == "cancelled"
    assert (run / "studio" / "index.parquet").is_file()


def test_the_command_says_what_is_wrong_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path)
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert command(["studio", str(run), "--port", str(port)]) == 2
        assert f"port {port} of 127.0.0.1 is in use" in capsys.readouterr().err
        assert command(["studio", str(tmp_path / "nope"), "--port", str(port)]) == 2  # the run is opened first
    assert "nope does not exist" in capsys.readouterr().err
    for options, words in (
        (["--upload-limit", "0"], "the limit of an upload is positive"),
        (["--token", "short"], "a token has 16 characters at least"),
        (["--weights", "w.pth"], "name it with --model"),
    ):
        assert command(["studio", str(run), "--port", "0", *options]) == 2
        assert words in capsys.readouterr().err
    assert command(["studio", str(tmp_path / "nothing"), "--port", "0"]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert command(["studio", str(tmp_path / "empty"), "--port", "0"]) == 2
    assert "holds no picture" in capsys.readouterr().err


def test_the_command_prints_its_address_and_ends(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[object, ...]] = []
    monkeypatch.setattr("advcam.studio.serving.serve", lambda *asked: said.append(asked))
    assert command(["studio", str(run), "--host", "0.0.0.0", "--port", "0"]) == 0
    shown = capsys.readouterr().out
    _, access, _, opened = said[0]
    assert isinstance(access, Access)
    assert f"/?token={access.token}" in shown
    assert "run: 4 pictures" in shown
    assert opened is None
    assert command(["studio", str(run), "--port", "0", "--quiet"]) == 0
    quiet = capsys.readouterr().out.split()
    assert len(quiet) == 1
    assert quiet[0].startswith("http://127.0.0.1:")


def test_the_command_says_where_corrections_are_when_it_ends(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("advcam.studio.serving.serve", interrupted)
    with pytest.raises(SystemExit, match="130"):
        command(["studio", str(run), "--port", "0"])
    assert capsys.readouterr().out.splitlines()[-1] == "ended"  # nothing was corrected
    studio_of(run).album.corrections.set_status("picture 000.png", "accepted", 0)
    with pytest.raises(SystemExit, match="130"):
        command(["studio", str(run), "--port", "0"])
    assert capsys.readouterr().out.splitlines()[-1] == f"ended; corrections are in {run / 'corrected'}"


def test_a_folder_of_pictures_is_shown_and_work_goes_elsewhere(photographs: Path, tmp_path: Path) -> None:
    from advcam.pipeline.album import open_album
    from advcam.studio.studio import Studio

    before = sorted(photographs.iterdir())
    with served(Studio(lambda: open_album(photographs, tmp_path / "work"))) as client:
        facts = client.get("/api/run").json()
        assert facts["counts"]["pictures"] == 2
        assert facts["map_stages"] == []
        assert client.get("/api/pictures/0/thumbnail").status_code == 200
        answer = client.put("/api/pictures/0/status", json={"status": "accepted", "revision": 0})
        assert answer.json() == {"status": "accepted", "revision": 1}
    assert sorted(photographs.iterdir()) == before
    assert (tmp_path / "work" / "corrected" / "reviews.jsonl").is_file()


def test_work_is_not_kept_among_the_pictures(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (photographs, photographs / "advcam-studio", photographs / "a" / ".." / "b"):
        assert command(["studio", str(photographs), "--port", "0", "--out", str(out)]) == 2
        assert "name another folder with --out" in capsys.readouterr().err
    assert not (photographs / "advcam-studio").exists()


@pytest.mark.parametrize("link", ["studio", "studio/exports", "studio/dropped", "studio/index.parquet"])
def test_a_run_whose_links_lead_elsewhere_is_not_shown(run: Path, tmp_path: Path, link: str) -> None:
    """What the studio keeps it removes at some time, the oldest archives of a folder of exports for one."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(mine)
    with pytest.raises(RunError, match="nothing is written there; remove it"):
        studio_of(run)
    assert not list(mine.iterdir())
