"""Small runs that a studio can show, written without a network, and servers over them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from PIL import Image

from advcam.pipeline.album import open_album
from advcam.pipeline.config import LocalizeSettings, ModelSettings, keep_settings
from advcam.store.classes import ClassNumbers
from advcam.store.maps import MapStore, StoredMaps
from advcam.store.masks import write_mask
from advcam.studio.access import Access
from advcam.studio.app import create_app
from advcam.studio.serving import listen
from advcam.studio.studio import Studio
from advcam.types import Attribution

CLASSES = ("cat", "dog", "cup")
SIZE = (40, 60)  # (H, W)
CHANGES = {"X-Advcam": "1"}


def write_run(folder: Path, pictures: int = 4, steps: int = 3) -> Path:
    """A run of localize: picture k shows class k % 3; the class of picture 1 has no pixel in its mask."""
    photographs, run = folder / "photographs", folder / "run"
    photographs.mkdir(parents=True)
    rows, random = ["image,labels"], np.random.default_rng(0)
    settings = LocalizeSettings(
        inputs=(str(photographs),), labels=str(photographs / "labels.csv"), out=run, model=ModelSettings(model="lite0")
    )
    stored = []
    for k in range(pictures):
        name, class_id = f"picture {k:03d}.png", k % 3
        pixels = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photographs / name)
        rows.append(f"{name},{CLASSES[class_id]}")
        mask = np.zeros(SIZE, np.int32)
        if k != 1:
            mask[10:30, 10 : 20 + 5 * k % 40] = class_id + 1
        write_mask(run / "masks" / f"picture {k:03d}.png", mask)
        maps = random.random((1, 10, 15), dtype=np.float32).astype(np.float16).astype(np.float32)
        climbed = random.random((1, steps, 10, 15), dtype=np.float32).astype(np.float16).astype(np.float32)
        attribution = Attribution((class_id,), (CLASSES[class_id],), maps, SIZE, np.ones(1, np.float32), climbed)
        size = (photographs / name).stat().st_size
        stored.append(StoredMaps(name, size, attribution, np.arange(steps, dtype=np.float32)[None]))
    (photographs / "labels.csv").write_text("\n".join(rows) + "\n")
    MapStore(run / "maps").write(stored, 0, pictures - 1)
    ClassNumbers(run / "classes.json", CLASSES).extend(range(3))
    keep_settings(run, settings)
    return run


def studio_of(run: Path, **options: object) -> Studio:
    """A studio over a run."""
    return Studio(lambda: open_album(run, run.parent / "work"), **options)  # type: ignore[arg-type]


def wait_until(true: object, seconds: float = 30.0) -> None:
    """Wait for something that other threads bring about."""
    until = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


@contextmanager
def served(studio: Studio, access: Access | None = None) -> Iterator[httpx.Client]:
    """A real server in a thread, and a client of it that may change things."""
    with listen("127.0.0.1", 0) as socket:
        config = uvicorn.Config(
            create_app(studio, access or Access()), log_config=None, lifespan="on", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            url = f"http://127.0.0.1:{socket.getsockname()[1]}"
            with httpx.Client(base_url=url, headers=CHANGES, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def ended(client: httpx.Client, job: str) -> dict[str, object]:
    """A job, once it has ended."""
    found: dict[str, object] = {}

    def has_ended() -> bool:
        found.update(client.get(f"/api/jobs/{job}").json())
        return found["state"] not in ("queued", "running")

    wait_until(has_ended, 60)
    return found
