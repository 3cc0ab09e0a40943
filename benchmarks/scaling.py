"""How a run grows with its workers, and what its driver needs.

    python benchmarks/scaling.py PHOTOS --pictures 60
    python benchmarks/scaling.py PHOTOS --pictures 60 --workers 1 2 4 --method cam
    python benchmarks/scaling.py --driver 1000 50000

The first form localizes the same pictures (JPEG files below a folder) by one and by two single-core workers of a Ray
cluster on this machine, and again, and gives the best of each: pictures a second from the moment when each of the most
workers may have returned two shards (of four pictures) to the last picture, since a run of hours starts its workers
once; `whole` are the seconds with everything around it. AdvCAM at three scales, `--effort fast`, float32.

`--driver` gives the peak memory of the driver, which lists the pictures, hands them out, collects the results and
writes boxes.json, at several numbers of tiny pictures. The stages are stand-ins that keep a row and answer with a box.

Every case is a process of its own. Prints one JSON object.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from advcam.pipeline import localize as room
from advcam.pipeline.config import localize_settings
from advcam.pipeline.localize import Plan, localize
from advcam.pipeline.shard_rows import ShardRows
from advcam.pipeline.shards import Shard, ShardResult, Told, Unheard
from advcam.scale.ray_engine import RaySettings, ray_engine
from advcam.store.maps import MapStore, StoredMaps
from advcam.types import Attribution

_FAST = {"effort": "fast", "precision": "float32"}
#: Pictures of a shard.
_SHARD = 4


class Clock(Unheard):
    """Notes when pictures are done."""

    def __init__(self) -> None:
        self.done: list[float] = []

    def announce(self, plan: Plan) -> None:
        """Nothing."""

    def picture_done(self, name: str) -> None:
        """The time."""
        self.done.append(time.monotonic())


@dataclass(frozen=True)
class Rows:
    """Keeps a row for each picture, without looking at it: a stand-in for the stage that explains pictures."""

    folder: Path

    def load(self) -> "Rows":
        """Nothing to load."""
        return self

    def __call__(self, shard: Shard, _told: Told) -> ShardResult:
        """A map of one cell for each picture."""
        one = Attribution((0,), ("tench",), np.ones((1, 1, 1), np.float32), (16, 16), np.zeros(1, np.float32))
        with ShardRows(MapStore(self.folder), shard) as rows:
            for sample in shard.samples:
                rows.add(StoredMaps(sample.id, sample.path.stat().st_size, one))
        return ShardResult(shard.first, shard.last, tuple(sample.id for sample in shard.samples))


@dataclass(frozen=True)
class Boxes(Rows):
    """Answers with a box for each picture: a stand-in for the stage of the outputs."""

    def __call__(self, shard: Shard, _told: Told) -> ShardResult:
        """The same box for all."""
        box = {"class": "tench", "class_id": 0, "x0": 0, "y0": 0, "x1": 16, "y1": 16, "score": 1.0}
        answer = {sample.id: {"height": 16, "width": 16, "boxes": [box]} for sample in shard.samples}
        return ShardResult(shard.first, shard.last, tuple(answer), answer=answer)


def scaled(photographs: Path, pictures: int, workers: int, method: str, warm: int) -> dict[str, float]:
    """Speed of one localization, from the `warm`-th picture to the last one."""
    found = sorted(photographs.rglob("*.jpg"))
    inputs = tuple(str(path) for path in found[:: max(1, len(found) // pictures)][:pictures])
    chosen = {"method": method, **(_FAST if method == "advcam" else {})}
    clock, started = Clock(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ray_engine(RaySettings(workers=workers)) as engine:
        settings = localize_settings(
            inputs=inputs,
            labels="predicted",
            out=Path(folder) / "run",
            shard_pictures=_SHARD,
            method=chosen,
            outputs={"report_pictures": 0},
        )
        localize(settings, clock, engine=engine)
    seconds = clock.done[-1] - clock.done[warm - 1]
    return {"pictures_per_second": (len(clock.done) - warm) / seconds, "whole": time.monotonic() - started}


def driver(pictures: int) -> dict[str, float]:
    """Peak memory of a driver in MB."""
    with tempfile.TemporaryDirectory() as folder:
        photographs, out = Path(folder) / "photographs", Path(folder) / "run"
        photographs.mkdir()
        Image.new("RGB", (16, 16)).save(photographs / "0000000.png")
        for number in range(1, pictures):
            os.link(photographs / "0000000.png", photographs / f"{number:07}.png")
        _stand_in(out)
        settings = localize_settings(
            inputs=(str(photographs),),
            labels="predicted",
            out=out,
            method={"method": "cam"},
            outputs={"report_pictures": 0, "overlays": False},
        )
        clock, started = Clock(), time.monotonic()
        with ray_engine(RaySettings(workers=2)) as engine:
            done = localize(settings, clock, engine=engine).computed
        entries = len(json.loads((out / "boxes.json").read_bytes())["pictures"])
    assert done == entries == pictures
    return {
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seconds": time.monotonic() - started,
    }


def _stand_in(out: Path) -> None:
    """Put the stand-ins in the place of the two stages of a localization."""

    def rows(*_: object) -> Rows:
        return Rows(out / "maps")

    def boxes(*_: object) -> Boxes:
        return Boxes(out / "maps")

    vars(room).update(LocalizeTask=rows, OutputsTask=boxes)


def case(arguments: list[str]) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--case", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(arguments, found, file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Run the cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--method", default="advcam")
    parser.add_argument("--driver", type=int, nargs="+", default=[])
    parser.add_argument("--case", action="store_true")
    parser.add_argument("--warm", type=int, default=0)
    options = parser.parse_args()
    if options.case:
        asked = (options.photographs, options.pictures, options.workers[0], options.method, options.warm)
        found = driver(options.driver[0]) if options.driver else scaled(*asked)
        print(json.dumps(found))
        return
    result: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    if options.driver:
        result["driver"] = {count: case(["--driver", str(count)]) for count in options.driver}
    else:
        shared = [str(options.photographs), "--pictures", str(options.pictures), "--method", options.method]
        shared += ["--warm", str(2 * max(options.workers) * _SHARD)]  # the same pictures, whoever works on them
        for _ in range(options.repeat):
            for workers in options.workers:
                found = case([*shared, "--workers", str(workers)])
                result.setdefault(str(workers), []).append(found)
        first = max(one["pictures_per_second"] for one in result[str(options.workers[0])])
        result["ratio"] = {
            workers: max(one["pictures_per_second"] for one in result[str(workers)]) / first
            for workers in options.workers[1:]
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
