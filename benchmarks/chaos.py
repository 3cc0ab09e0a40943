"""Processes of runs are killed at random moments; the same command ends each run as if nothing had happened.

    python benchmarks/chaos.py --kills 20 --seed 0

Victims are, in turn, a worker of a Ray cluster, the driver of a localization on it, and one process of a training of
two (torchrun). Each dies by SIGKILL after a random share of the time that the work took undisturbed. After the death of
a driver or of a training the same command is given again at once, whatever is left of the dead one's cluster; a worker
is replaced by the run itself. A run that has come to its end is compared with the undisturbed one:

- localization: the same shards by name (their names are checksums), each picture once, masks and boxes equal, and
  nothing left of dead writers;
- training: the same weights, bit for bit.

Then another run begins, until all kills are spent. Prints a line for each event, and one JSON object at the end.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from safetensors.numpy import load_file

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.store.maps import MapStore

_LOCALIZE = [
    *("--labels", "predicted", "--effort", "fast", "--scales", "1", "--max-side", "96", "--precision", "float32"),
    *("--shard-pictures", "3", "--report-pictures", "2", "--quiet"),
]
_TRAIN = [
    *("trained=all", "lr=0.001", "epochs=8", "crop=64", "batch_size=6", "precision=float32", "workers=0"),
    *("save_minutes=0", "seed=0"),
]
_VICTIMS = ("worker", "driver", "training")
_WORKER = "ray::MapWorker"
#: Seconds until a cluster has to notice that its driver is dead.
_PATIENCE = 120.0


@dataclass
class Log:
    """What happened, told as it happens."""

    started: float = field(default_factory=time.monotonic)
    events: list[dict[str, object]] = field(default_factory=list)

    def say(self, event: str, **facts: object) -> None:
        """One event."""
        self.events.append({"second": round(time.monotonic() - self.started, 1), "event": event, **facts})
        print(json.dumps(self.events[-1]), file=sys.stderr, flush=True)


class Localization:
    """Localizations of the same pictures.

    Args:
        folder: Of everything.
        log: Hears of it.
    """

    def __init__(self, folder: Path, log: Log) -> None:
        self.folder, self.log = folder, log
        self.orphans: set[int] = set()
        _draw(folder / "photographs")
        started = time.monotonic()
        self._run("whole").wait()
        self.seconds = time.monotonic() - started
        log.say("undisturbed localization", seconds=round(self.seconds, 1), shards=len(self._shards("whole")))

    def disturbed(self, victims: Sequence[str], random_: random.Random) -> int:
        """A run whose processes are killed until it ends; the number of kills."""
        kills, process = 0, self._run("broken")
        while True:
            wait = random_.uniform(0.05, 0.6) * self.seconds
            if _ended(process, wait):
                break
            if kills < len(victims) and self._kill(process, victims[kills], random_):
                kills += 1
                if victims[kills - 1] == "driver":
                    process.wait()
                    process = self._run("broken")
        if process.returncode:
            words = (self.folder / "broken.txt").read_text().splitlines()[-1]
            self.log.say("exit code", code=process.returncode, words=words)
            self._run("broken").wait()
        self._compare()
        shutil.rmtree(self.folder / "broken")
        return kills

    def _kill(self, process: "subprocess.Popen[bytes]", victim: str, random_: random.Random) -> bool:
        tree = _tree(process.pid)
        workers = [pid for pid, words in tree.items() if words.startswith(_WORKER)]
        if victim == "worker" and not workers:
            return False
        pid = random_.choice(workers) if victim == "worker" else process.pid
        done = len(list((self.folder / "broken" / "maps").glob("part-*")))
        self.log.say("kill", victim=victim, shards_done=done)
        os.kill(pid, signal.SIGKILL)
        if victim == "driver":
            self.orphans |= set(workers)
        return True

    def _compare(self) -> None:
        self.log.say("workers of dead drivers are gone", after=_gone(self.orphans))
        self.orphans.clear()
        whole, broken = (MapStore(self.folder / name / "maps") for name in ("whole", "broken"))
        ids = list(broken.ids())
        left = [str(path) for path in (self.folder / "broken").rglob("*") if ".partial" in path.name]
        same = {
            "shards": whole.names() == broken.names(),
            "pictures, each once": sorted(ids) == sorted(whole.ids()) and len(ids) == len(set(ids)),
            "masks": _bytes(self.folder / "whole" / "masks") == _bytes(self.folder / "broken" / "masks"),
            "boxes": _bytes(self.folder / "whole" / "boxes.json") == _bytes(self.folder / "broken" / "boxes.json"),
            "nothing left": not left and not (self.folder / "broken" / ".working").exists(),
        }
        self.log.say("localization compared", equal=all(same.values()), **same)
        if not all(same.values()):
            sys.exit(f"not as if nothing had happened: {same} {left}")

    def _shards(self, name: str) -> list[str]:
        return [shard.file for shard in MapStore(self.folder / name / "maps").names()]

    def _run(self, name: str) -> "subprocess.Popen[bytes]":
        out = ["--out", str(self.folder / name), "--engine", "ray", "--workers", "2"]
        return _started(["localize", str(self.folder / "photographs"), *_LOCALIZE, *out], self.folder / f"{name}.txt")


class Training:
    """Trainings of the same classifier by two processes.

    Args:
        folder: Of everything.
        log: Hears of it.
    """

    def __init__(self, folder: Path, log: Log) -> None:
        self.folder, self.log = folder, log
        write_dataset("folders", folder / "data", 12, 0)
        started = time.monotonic()
        self._run("whole").wait()
        self.seconds = time.monotonic() - started
        log.say("undisturbed training", seconds=round(self.seconds, 1))

    def disturbed(self, kills: int, random_: random.Random) -> int:
        """A training one of whose processes is killed until it ends; the number of kills."""
        killed, started, process = 0, time.monotonic(), self._run("broken")
        while not _ended(process, random_.uniform(0.3, 0.95) * self.seconds):
            ranks = [pid for pid, words in _tree(process.pid).items() if "-m advcam" in words and pid != process.pid]
            if killed < kills and ranks:
                self.log.say("kill", victim="training process")
                os.kill(random_.choice(ranks), signal.SIGKILL)
                killed += 1
                process.wait()
                process = self._run("broken")
        if process.returncode:
            sys.exit((self.folder / "broken-training.txt").read_text())
        if not killed:  # a machine that has become faster
            self.seconds = time.monotonic() - started
        self._compare()
        shutil.rmtree(self.folder / "broken-training")
        return killed

    def _compare(self) -> None:
        whole, broken = (load_file(self._weights(name)) for name in ("whole", "broken"))
        largest = max(float(np.abs(whole[name] - broken[name]).max()) for name in whole)
        self.log.say("training compared", equal=largest == 0, largest_difference=largest)
        if largest != 0:
            sys.exit("the weights differ")

    def _weights(self, name: str) -> Path:
        return self.folder / f"{name}-training" / "classifier" / "best.safetensors"

    def _run(self, name: str) -> "subprocess.Popen[bytes]":
        arguments = [
            "train",
            str(self.folder / "data"),
            *_TRAIN,
            "--out",
            str(self.folder / f"{name}-training"),
            "--quiet",
        ]
        launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        return _started(arguments, self.folder / f"{name}-training.txt", launch)


def _draw(folder: Path, count: int = 36) -> None:
    """Pieces of scikit-image's photographs."""
    folder.mkdir(parents=True)
    pictures = [getattr(skimage.data, name)() for name in ("chelsea", "coffee", "astronaut", "rocket")]
    for number in range(count):
        picture, step = pictures[number % 4], 8 * (number // 4)
        Image.fromarray(picture[step : step + 200, step : step + 240]).resize((120, 100)).save(
            folder / f"{number:03}.png"
        )


def _started(arguments: Sequence[str], words: Path, launch: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """A command of advcam in a process of its own, on one thread, what it says appended to a file."""
    command = [sys.executable, "-m", *launch, "advcam", *arguments]
    with words.open("ab") as file:
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=file, stderr=file, env=one_thread)


def _ended(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _tree(root: int) -> dict[int, str]:
    """Command lines of a process and of all that it started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, before = {root}, 0
    while len(found) != before:
        before = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return {pid: _words(pid) for pid in found}


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _gone(pids: set[int]) -> float:
    """Wait until processes have ended by themselves; the seconds that took."""
    started = time.monotonic()
    while any(_words(pid) for pid in pids):
        if time.monotonic() - started > _PATIENCE:
            sys.exit(f"processes outlive their driver: {[_words(pid) for pid in pids if _words(pid)]}")
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)


def _bytes(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*.*"))
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def main() -> None:
    """Spend the kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--victims", nargs="+", choices=_VICTIMS, default=list(_VICTIMS))
    options = parser.parse_args()
    random_, log = random.Random(options.seed), Log()
    with tempfile.TemporaryDirectory() as folder:
        victims = [options.victims[number % len(options.victims)] for number in range(options.kills)]
        of_runs = [victim for victim in victims if victim != "training"]
        localization = Localization(Path(folder), log) if of_runs else None
        while localization is not None and of_runs:
            of_runs = of_runs[localization.disturbed(of_runs, random_) :]
        left = victims.count("training")
        training = Training(Path(folder), log) if left else None
        while training is not None and left > 0:
            left -= training.disturbed(left, random_)
    counts = {victim: victims.count(victim) for victim in dict.fromkeys(victims)}
    compared = [event for event in log.events if str(event["event"]).endswith("compared")]  # a difference ends all
    print(json.dumps({"seed": options.seed, "kills": counts, "runs_compared": len(compared)}))


if __name__ == "__main__":
    main()
