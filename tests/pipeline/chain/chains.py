"""Small chains for the tests: generated pictures, a network of random weights, class activation maps."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from advcam.pipeline.chain.recipe_file import change, parse_chain
from advcam.pipeline.chain.run import Chain, open_chain
from advcam.pipeline.chain.settings import ChainSettings
from advcam.pipeline.chain.stage import StageRecord, State

#: A recipe that takes a second; its data is put in by `settings`.
TOY: dict[str, Any] = {
    "train": {
        "model": "test_resnet",
        "weights": "random",
        "frozen_statistics": False,
        "crop": 64,
        "epochs": 1,
        "batch_size": 8,
        "precision": "float32",
    },
    "localize": {"method": "cam", "scales": [1.0], "precision": "float32"},
    "outputs": {"overlays": False, "report_pictures": 2},
    "threshold": 0.3,
    "refine": {
        "methods": [],
        "affinity": {"iterations": 2},
        "irn": {"crop": 64, "epochs": 1, "batch_size": 4, "steps": 2},
    },
    "pseudo": {"threshold": 0.3},
    "evaluate": {"resamples": 2},
}


class Heard:
    """A watcher that keeps what it hears."""

    def __init__(self) -> None:
        self.stages: dict[str, State] = {}
        self.words: list[str] = []

    def stage(self, name: str, state: State) -> None:
        self.stages[name] = state

    def say(self, words: str) -> None:
        self.words.append(words)

    def skipped(self, name: str, reason: str) -> None:
        self.words.append(f"skipped {name}: {reason}")

    def start(self, words: str, total: int) -> None:
        self.words.append(words)

    def step(self) -> None:
        pass


def content(root: Path, **data: object) -> dict[str, Any]:
    """A recipe as read from YAML, free to be changed."""
    return {"data": {"root": str(root), **data}, **deepcopy(TOY)}


def settings(root: Path, *overrides: str, **data: object) -> ChainSettings:
    """The toy recipe on a data set."""
    made = content(root, **data)
    change(made, overrides)
    return parse_chain(made, "toy.yaml")


def run(made: ChainSettings, out: Path, from_: str | None = None, until: str | None = None) -> dict[str, State]:
    """Carry out a chain; the state that each stage was found in."""
    heard = Heard()
    with open_chain(made, out) as chain:
        chain.run(heard, from_, until)
    return heard.stages


def records(made: ChainSettings, out: Path) -> dict[str, StageRecord]:
    """Records of the stages that are up to date, by name."""
    return {record.name: record for record in Chain(made, out).done()}


def files(folder: Path, pattern: str = "**/*") -> dict[str, bytes]:
    """Content of all files of a folder by their path in it, without what tells of a session."""
    of_a_session = ("log.jsonl", "metrics.json", "metrics.prom")
    found = (p for p in sorted(folder.glob(pattern)) if p.is_file() and p.name not in of_a_session)
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def without_truth(root: Path) -> Path:
    """A generated table of labels whose pictures have neither masks nor boxes: nothing to evaluate."""
    lines = (root / "labels.csv").read_text().splitlines()
    rows = [",".join(line.split(",")[:3]) for line in lines]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root
