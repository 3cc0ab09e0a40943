"""What is said while a classifier is trained: no numbers that are none, and shares of how many pictures."""

from dataclasses import dataclass, field
from pathlib import Path

from advcam.datasets.synthetic.catalogue import write_dataset
from advcam.pipeline.chain.pictures import read_pictures
from advcam.pipeline.chain.settings import DataSettings
from advcam.pipeline.chain.stage import State
from advcam.pipeline.chain.training import LoopWatch, facts_of
from advcam.training.classifier import TrainedClassifier
from advcam.training.loop import Progress, TrainingResult
from advcam.types import Sample


@dataclass
class Heard:
    """Keeps what it hears."""

    said: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    steps: int = 0

    def stage(self, name: str, state: State) -> None:
        raise AssertionError(name)

    def say(self, words: str) -> None:
        self.said.append(words)

    def skipped(self, name: str, reason: str) -> None:
        raise AssertionError(name)

    def start(self, words: str, total: int) -> None:
        self.started.append(f"{words} ({total})")

    def step(self) -> None:
        self.steps += 1


def test_pictures_that_are_only_looked_at_are_no_epochs_and_have_no_loss() -> None:
    heard = Heard()
    watch = LoopWatch(heard)
    for look in (1, 2):
        for step in (1, 2, 3):
            watch(Progress(look, 2, step, 3, None, 0.0, {}))
    watch(Progress(2, 2, 0, 0, 0.25, 0.0, {"loss": 0.5, "top_1": 2 / 3}))
    looks = ["looking at the pictures, 1 of 2", "looking at the pictures, 2 of 2"]
    assert heard.started == [f"{look} (3)" for look in looks]
    assert heard.said == [*looks, "learnt from what was seen: training loss 0.2500, loss 0.5000, top 1 66.7 %"]
    assert heard.steps == 6


def test_epochs_keep_their_words() -> None:
    heard = Heard()
    watch = LoopWatch(heard, "IRN: ")
    watch(Progress(1, 2, 3, 3, 1.5, 0.1, {"top_1": 1.0}))
    assert heard.said == ["IRN: epoch 1 of 2: training loss 1.5000, top 1 100 %"]


def test_shares_say_of_how_many_pictures() -> None:
    metrics = {"training_loss": 0.25, "loss": 0.5, "top_1": 1.0}
    result = TrainingResult(1.0, 2, 2, 0, ({"epoch": 2, "lr": 0.0, **metrics},), False)
    trained = TrainedClassifier(
        Path("absent"), "lite0", None, False, ("cat", "dog"), metrics, result, {"broken": "truncated"}, ()
    )
    held_out = [Sample(name, Path(name), ("cat",)) for name in ("a", "b", "c", "broken")]
    facts = dict(facts_of(trained, held_out))
    assert facts["top 1"] == "100 % of 3 held-out pictures", "the broken one was not measured"
    assert facts["training loss"] == "0.2500"
    assert dict(facts_of(trained, held_out[:1]))["top 1"] == "100 % of 1 held-out picture"


def test_a_table_beside_the_folders_is_said_not_to_be_read(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    write_dataset("folders", root, 12)
    settings = DataSettings(root=root, train="train", val="val")
    assert read_pictures(settings).notes == ()
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\n")
    (note,) = read_pictures(settings).notes
    assert note == f"the names of the folders are the classes; {table} is not read: put it into {root} if it counts"
