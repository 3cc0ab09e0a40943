"""Many people at one studio: how long answers take while nobody climbs and while one climb after the other runs.

    python benchmarks/studio_load.py
    python benchmarks/studio_load.py --clients 50 --seconds 60 --pictures 1000

Draws a run (500 x 375 pixels, maps, masks), serves it in a process of its own, and lets clients browse it as a browser
would, over six connections each: a page of the grid with its first 20 thumbnails, or a picture with its facts, JPEG,
maps and final mask, with a pause between. Latencies are those of single requests in milliseconds, from sending to the
last byte; `climb` is AdvCAM with 8 steps on one picture, from its turn in the queue to its end. Clients run in this
process, on the same machine. Prints one JSON object.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from advcam.classifiers.names import imagenet_classes
from advcam.datasets.synthetic.scenes import draw_scene
from advcam.pipeline.config import LocalizeSettings, keep_settings
from advcam.store.classes import ClassNumbers
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import write_mask
from advcam.types import Attribution

_SIZE, _SHARD, _CLASSES, _STEPS = (500, 375), 64, 8, 5
_CONNECTIONS, _SHOWN, _PAGE = 6, 20, 60
_PERCENTILES = (50, 95, 99)


def draw_run(folder: Path, pictures: int) -> Path:
    """A run of localize with maps (steps of every tenth picture), masks and classes."""
    photographs, run, rows = folder / "photographs", folder / "run", ["image,labels"]
    photographs.mkdir(parents=True)
    names = imagenet_classes().names
    stored: list[StoredMaps] = []
    for k in range(pictures):
        class_id = k % _CLASSES
        scene = draw_scene(k, (class_id,), _SIZE)
        path = photographs / f"{k:06d}.jpg"
        scene.picture.save(path, quality=90)
        rows.append(f'{path.name},"{names[class_id]}"')
        write_mask(run / "masks" / f"{k:06d}.png", scene.label_mask)
        stored.append(_maps(path, class_id, names[class_id], scene.label_mask, steps=k % 10 == 0))
        if len(stored) == _SHARD or k + 1 == pictures:
            MapStore(run / "maps").write(stored, k + 1 - len(stored), k)
            stored = []
    MapStore(run / "maps").write_index()
    (photographs / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    ClassNumbers(run / "classes.json", names).extend(range(_CLASSES))
    labels = str(photographs / "labels.csv")
    keep_settings(run, LocalizeSettings(inputs=(str(photographs),), labels=labels, out=run))
    return run


def _maps(path: Path, class_id: int, name: str, mask: np.ndarray, steps: bool) -> StoredMaps:
    small = cv2.resize((mask > 0).astype(np.float32), (125, 94), interpolation=cv2.INTER_AREA)
    blurred = np.stack([cv2.GaussianBlur(small, (0, 0), 9 - step) for step in range(_STEPS)])
    grown = (blurred / blurred.max(axis=(1, 2), keepdims=True)).astype(np.float32)
    climbed, scores = (grown[None], np.arange(_STEPS, dtype=np.float32)[None]) if steps else (None, None)
    one = np.ones(1, np.float32)
    attribution = Attribution((class_id,), (name,), grown[None, -1], mask.shape, one, climbed)
    return StoredMaps(path.name, path.stat().st_size, attribution, scores)


@contextlib.contextmanager
def served(run: Path) -> Iterator[tuple[str, int]]:
    """A studio in a process of its own: its address and process id."""
    command = [sys.executable, "-m", "advcam", "studio", str(run), "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


class Connection:
    """One kept connection that speaks as much HTTP as is needed here."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of an answer; on a new connection where the server has hung up meanwhile, as it may."""
        try:
            return await self._ask(path, method, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return await self._ask(path, method, body)

    async def _ask(self, path: str, method: str, body: bytes) -> tuple[int, bytes]:
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Advcam: 1\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Accept-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line[15:]) for line in answer.split("\r\n") if line.startswith("content-length:"))
        return int(answer.split(" ", 2)[1]), await reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


class Load:
    """Clients, and what they saw.

    Args:
        url: Of the studio.
        pictures: Of the run.
        pause: Mean seconds between two things that a client does.
    """

    def __init__(self, url: str, pictures: int, pause: float) -> None:
        self.url, self.pictures, self.pause = url, pictures, pause
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: dict[str, int] = defaultdict(int)

    async def browse(self, clients: int, seconds: float) -> None:
        """So many clients for so many seconds."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._client(random.Random(k), until) for k in range(clients)))

    async def climb_on(self, ended: asyncio.Event) -> list[float]:
        """One climb after the other, until the others have ended; seconds of each."""
        connection, found = Connection(self.url), list[float]()
        while not ended.is_set():
            found.append(await climb(connection, len(found) % self.pictures))
        connection.close()
        return found

    async def _client(self, chance: random.Random, until: float) -> None:
        connections = [Connection(self.url) for _ in range(_CONNECTIONS)]
        await asyncio.sleep(chance.uniform(0, self.pause))
        while time.monotonic() < until:
            page = [("run", "/api/run"), ("list", f"/api/pictures?offset={self._offset(chance)}&limit={_PAGE}")]
            if chance.random() < 0.5:
                first = self._offset(chance)
                page += [("thumbnail", f"/api/pictures/{(first + k) % self.pictures}/thumbnail") for k in range(_SHOWN)]
            else:
                n = chance.randrange(self.pictures)
                parts = {"picture": "", "image": "/image", "maps": "/maps/localize", "mask": "/masks/final"}
                page = [(kind, f"/api/pictures/{n}{end}") for kind, end in parts.items()]
            await self._load(connections, page)
            await asyncio.sleep(chance.uniform(0, 2 * self.pause))
        for connection in connections:
            connection.close()

    def _offset(self, chance: random.Random) -> int:
        return _PAGE * chance.randrange(max(1, self.pictures // _PAGE))

    async def _load(self, connections: list[Connection], page: list[tuple[str, str]]) -> None:
        """All parts of a page, in their order, over as many connections as there are."""
        left = iter(page)

        async def one(connection: Connection) -> None:
            for kind, path in left:
                began = time.perf_counter()
                status, _ = await connection.ask(path)
                self.seconds[kind].append(time.perf_counter() - began)
                if status != 200:
                    self.errors[f"{kind} {status}"] += 1

        await asyncio.gather(*map(one, connections))

    def result(self, seconds: float) -> dict[str, Any]:
        """Milliseconds by kind, requests a second, errors."""
        total = sum(map(len, self.seconds.values()))
        return {
            "requests_per_second": round(total / seconds, 1),
            "errors": dict(self.errors),
            "milliseconds": {
                kind: {f"p{p}": round(1000 * float(np.percentile(found, p)), 1) for p in _PERCENTILES}
                | {"requests": len(found)}
                for kind, found in sorted(self.seconds.items())
            },
        }


async def climb(connection: Connection, n: int) -> float:
    """Climb one picture; seconds that it took."""
    asked = {"picture": n, "class_ids": [n % _CLASSES], "iterations": 8}
    _, answer = await connection.ask("/api/climbs", "POST", json.dumps(asked).encode())
    began, state = time.perf_counter(), "queued"
    while state in ("queued", "running"):
        await asyncio.sleep(0.2)
        state = json.loads((await connection.ask(f"/api/jobs/{json.loads(answer)['job']}"))[1])["state"]
    assert state == "done", state
    return time.perf_counter() - began


async def measure(url: str, pid: int, asked: argparse.Namespace) -> dict[str, Any]:
    """The three parts: a climb alone, clients alone, both."""
    connection, began = Connection(url), time.perf_counter()
    while not json.loads((await connection.ask("/api/run"))[1])["index"]["ready"]:
        await asyncio.sleep(0.2)
    found: dict[str, Any] = {"index_seconds": round(time.perf_counter() - began, 1)}
    await climb(connection, 0)  # loads the classifier
    found["climb_alone_seconds"] = [round(await climb(connection, n), 1) for n in (1, 2)]
    for name in ("browsing", "browsing_and_climbing"):
        load, ended = Load(url, asked.pictures, asked.pause), asyncio.Event()
        climbs = asyncio.create_task(load.climb_on(ended)) if name.endswith("climbing") else None
        began = time.perf_counter()
        await load.browse(asked.clients, asked.seconds)
        found[name] = load.result(time.perf_counter() - began)
        ended.set()
        if climbs is not None:
            found[name]["climb_seconds"] = [round(one, 1) for one in await climbs]
        found[name]["resident_megabytes"] = _resident(pid)
    return found


def _resident(pid: int) -> int:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    """Draw, serve, browse, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds between two things that a client does")
    parser.add_argument("--run", type=Path, help="folder for the drawn run; kept, and taken if it is there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.run or Path(temporary)
        run = folder / "run" if (folder / "run" / "settings.json").exists() else draw_run(folder, asked.pictures)
        with served(run) as (url, pid):
            found = asyncio.run(measure(url, pid, asked))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    print(json.dumps({"machine": machine, "pictures": asked.pictures, "clients": asked.clients} | found, indent=1))


if __name__ == "__main__":
    main()
