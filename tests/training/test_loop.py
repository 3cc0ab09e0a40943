import itertools
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from launched import launched
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from toys import Noise, Toy, ToyObjective, toy_objective, weights

from advcam.errors import DivergedError, ModelError, OutOfMemoryError, PictureError, RunError, SettingError
from advcam.training import loop as loop_module
from advcam.training.loop import LoopSettings, Progress, TrainingResult, train
from advcam.training.schedule import Polynomial, create_optimizer, parameter_groups

SETTINGS = {"epochs": 3, "batch_size": 4, "precision": "float32"}


def run(
    folder: Path,
    optimizer: str = "sgd",
    lr: float = 0.05,
    dropout: float = 0.2,
    facts: dict | None = None,
    progress: Callable[[Progress], None] | None = None,
    validate: Callable[[ToyObjective], Callable[[], dict[str, float]]] | None = None,
    better: str = "score",
    dataset: Noise | None = None,
    **settings: object,
) -> tuple[ToyObjective, TrainingResult]:
    objective = toy_objective(dropout=dropout)
    made = create_optimizer(optimizer, parameter_groups(objective.network, ["head"], lr=lr, weight_decay=1e-3))
    result = train(
        objective,
        made,
        Polynomial(),
        Noise() if dataset is None else dataset,
        LoopSettings(**(SETTINGS | settings)),
        folder,
        validate=validate(objective) if validate else None,
        better=better,
        facts=facts,
        progress=progress,
    )
    return objective, result


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: object) -> None:
    """A training that ends in the middle of its step number `steps`, behind the backward pass."""
    done: list[float] = []

    def check(loss: float, *_: object) -> None:
        done.append(loss)
        if len(done) > steps:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "check_loss", check)
        with pytest.raises(Killed):
            run(folder, **settings)


def literal(lr: float = 0.05, epochs: int = 3, batch_size: int = 4, momentum: float = 0.9) -> Tensor:
    """SGD with momentum and weight decay, polynomial decay and mean loss, written out; no dropout."""
    network = toy_objective(dropout=0.0).network
    values = dict(network.named_parameters())
    velocity = {name: torch.zeros_like(value) for name, value in values.items()}
    data, step, steps = Noise(), 0, epochs * math.ceil(len(Noise()) / batch_size)
    for epoch in range(epochs):
        data.set_epoch(epoch)
        order = np.random.default_rng((1, 0, epoch)).permutation(len(data))
        for start in range(0, len(data), batch_size):
            examples = [data[int(i)] for i in order[start : start + batch_size]]
            scores = network(torch.stack([e["pictures"] for e in examples]))
            loss = functional.cross_entropy(scores, torch.stack([e["labels"] for e in examples]))
            gradients = torch.autograd.grad(loss, list(values.values()))
            for (name, value), gradient in zip(values.items(), gradients, strict=True):
                rate = lr * (10 if name.startswith("head") else 1) * (1 - step / steps) ** 0.9
                velocity[name] = momentum * velocity[name] + gradient + 1e-3 * value.detach()
                value.data -= rate * velocity[name]
            step += 1
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_the_loop_is_gradient_descent_written_out(tmp_path: Path) -> None:
    objective, result = run(tmp_path, dropout=0.0)
    assert torch.allclose(weights(objective), literal(), atol=1e-6)
    assert (result.epoch, result.step, result.stopped_early) == (3, 9, False)
    published, _ = run(tmp_path / "p", optimizer="sgd-published", dropout=0.0)
    assert torch.allclose(weights(published), literal(momentum=1e-3), atol=1e-6)


@pytest.mark.parametrize(("accumulate", "batch_size"), [(2, 4), (3, 4), (4, 4), (8, 4)])
def test_passes_do_not_change_the_training(tmp_path: Path, accumulate: int, batch_size: int) -> None:
    """Also where a batch, and the last one of three pictures, cannot be divided evenly, or has too few for all."""
    whole, first = run(tmp_path / "whole", dropout=0.0, batch_size=batch_size)
    divided, second = run(tmp_path / "divided", dropout=0.0, batch_size=batch_size, accumulate=accumulate)
    assert torch.allclose(weights(whole), weights(divided), atol=1e-6)
    losses = [[epoch["training_loss"] for epoch in result.history] for result in (first, second)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "accumulate", "steps"),
    [
        *[("sgd", 1, 0), ("sgd", 1, 2), ("sgd", 1, 3), ("sgd", 2, 7), ("sgd", 2, 4)],
        *[("nesterov", 2, 5), ("sgd-published", 1, 5), ("adamw", 2, 5)],
    ],
)
def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, accumulate: int, steps: int
) -> None:
    """Killed before the first state, in the middle of an epoch, at its end, and in the middle of the last one."""
    settings = {"optimizer": optimizer, "accumulate": accumulate, "save_minutes": 0}
    through, expected = run(tmp_path / "through", **settings)
    killed_after(steps, monkeypatch, tmp_path / "killed", **settings)
    data = Noise()
    resumed, result = run(tmp_path / "killed", dataset=data, **settings)
    assert torch.equal(weights(through), weights(resumed))
    assert result == expected
    assert len(data.seen) < 3 * 11 or steps == 0, "it went on, it did not start again"
    files = [load_file(tmp_path / name / "best.safetensors") for name in ("through", "killed")]
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_a_state_of_an_earlier_step_gives_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done after the last state is done again."""
    through, _ = run(tmp_path / "through", save_minutes=60)
    killed_after(5, monkeypatch, tmp_path / "killed", save_minutes=60)
    resumed, _ = run(tmp_path / "killed", save_minutes=60)
    assert torch.equal(weights(through), weights(resumed))


def test_kill_nine(tmp_path: Path) -> None:
    """The process itself is killed, at a moment of the clock's choice."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]; import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from test_loop import run\n"
        "run(Path(sys.argv[1]), epochs=40, save_minutes=0, progress=lambda p: print(p.step, flush=True), log_every=1)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "killed"), *map(str, Path(__file__).parents[:2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(21):  # four an epoch: after each step and at the end
            assert process.stdout.readline()
        time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
    data = Noise()
    resumed, _ = run(tmp_path / "killed", epochs=40, save_minutes=0, dataset=data)
    through, _ = run(tmp_path / "through", epochs=40)
    assert torch.equal(weights(through), weights(resumed))
    assert 0 < len(data.seen) <= 11 * (40 - 4)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    _, first = run(tmp_path)
    data = Noise()
    _, second = run(tmp_path, dataset=data)
    assert first == second
    assert not data.seen


def test_workers_see_the_same_pictures(tmp_path: Path) -> None:
    alone, _ = run(tmp_path / "alone", epochs=2)
    helped, _ = run(tmp_path / "helped", epochs=2, workers=2)
    assert torch.equal(weights(alone), weights(helped))


def test_every_picture_once_an_epoch(tmp_path: Path) -> None:
    data = Noise()
    run(tmp_path, dataset=data)
    assert sorted(data.seen) == [(epoch, index) for epoch in range(3) for index in range(11)]
    assert [index for epoch, index in data.seen if epoch == 0] != [index for epoch, index in data.seen if epoch == 1]
    data = Noise()
    run(tmp_path / "dropped", dataset=data, drop_last=True)
    assert len(data.seen) == 3 * 8


def test_other_settings_are_refused(tmp_path: Path) -> None:
    run(tmp_path, facts={"classes": ["cat", "dog"], "lr": 0.1})
    with pytest.raises(RunError) as caught:
        run(tmp_path, facts={"classes": ["cat", "fox"], "lr": 0.03}, epochs=4)
    assert str(caught.value) == (
        f'{tmp_path} holds a training with other settings: classes.1 was "dog", is now "fox"; epochs was 3, is now 4; '
        "lr was 0.1, is now 0.03; choose another folder, or delete this one to start again"
    )


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_state(tmp_path: Path, content: bytes | None) -> None:
    run(tmp_path)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-7] if content is None else content)
    with pytest.raises(RunError, match=r"is damaged or no state of a training \(.*\); delete it to start again"):
        run(tmp_path)


def test_a_weights_file_is_no_state(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "best.safetensors").replace(tmp_path / "last.safetensors")
    with pytest.raises(RunError, match="no state of a training"):
        run(tmp_path)


def test_files_hold_tensors_and_json_alone(tmp_path: Path) -> None:
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors"]
    best = load_file(tmp_path / "best.safetensors")
    assert set(best) == set(Toy().state_dict())
    with safe_open(tmp_path / "last.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {"model.network.head.weight", "optimizer.0.momentum_buffer"} <= names


def test_divergence_is_told_and_the_last_state_survives(tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        run(tmp_path, lr=1e19, log_every=1)
    assert str(caught.value).startswith("training diverged at step 2 (loss ")
    assert str(caught.value).endswith(
        "): lower lr to 3e+18, clip the gradient, or check the pictures and labels; start again in another folder or "
        f"delete {tmp_path}"
    )
    assert not list(tmp_path.iterdir())
    assert issubclass(DivergedError, ModelError)


@pytest.mark.parametrize("value", [math.nan, math.inf, 101.0])
def test_what_counts_as_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    good, calls = ToyObjective.forward, []

    def forward(self: ToyObjective, batch: dict[str, Tensor]) -> Tensor:
        calls.append(1)
        loss = good(self, batch)
        return loss * 0 + value if len(calls) == 6 else loss / loss.detach()

    monkeypatch.setattr(ToyObjective, "forward", forward)
    with pytest.raises(DivergedError, match=rf"diverged at step 6 \(loss {value:.4g}, lr 0\."):
        run(tmp_path)
    with safe_open(tmp_path / "last.safetensors", framework="pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    monkeypatch.setattr(ToyObjective, "forward", good)
    _, result = run(tmp_path)
    assert result.epoch == 3, "the last good state is continued"


def test_weights_that_are_not_finite_replace_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop_module._Loop._step

    def step(self: object, *arguments: object) -> tuple[float, bool]:
        done = original(self, *arguments)
        if self.record.epoch == 1 and self.record.step == 2:
            self.objective.network.head.bias.data[0] = math.nan
        return done

    monkeypatch.setattr(loop_module._Loop, "_step", step)
    with pytest.raises(DivergedError, match=r"diverged in epoch 2 \(NaN or infinity in network\.head\.bias\)"):
        run(tmp_path)
    assert torch.isfinite(load_file(tmp_path / "last.safetensors")["model.network.head.bias"]).all()


def test_early_stopping(tmp_path: Path) -> None:
    """It waits for a higher metric; of equally good epochs the last one is kept."""
    values = iter([0.2, 0.5, 0.4, 0.5, 0.9])
    _, result = run(tmp_path, epochs=5, patience=2, validate=lambda _: lambda: {"score": next(values)})
    assert (result.best, result.best_epoch, result.epoch, result.stopped_early) == (0.5, 4, 4, True)
    assert [epoch["score"] for epoch in result.history] == [0.2, 0.5, 0.4, 0.5]
    _, again = run(tmp_path, epochs=5, patience=2, validate=lambda _: lambda: {"score": next(values)})
    assert again == result


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def validate(objective: ToyObjective) -> Callable[[], dict[str, float]]:
        def measure() -> dict[str, float]:
            assert not objective.network.training
            seen.append(weights(objective).clone())
            return {"score": [math.nan, 0.7, 0.1][len(seen) - 1], "other": math.nan}

        return measure

    _, result = run(tmp_path, validate=validate)
    best = load_file(tmp_path / "best.safetensors")
    kept = torch.cat([best[name].flatten() for name in Toy().state_dict()])
    assert torch.equal(kept, seen[1])
    assert (result.best, result.best_epoch) == (0.7, 2)


class Watched(ToyObjective):
    """Keeps what the loop tells it, and an average of the bias."""

    def __init__(self, network: Toy) -> None:
        super().__init__(network)
        self.shares: list[float] = []
        self.biases: list[Tensor] = []
        self.other = Toy()

    @property
    def kept(self) -> Toy:
        return self.other

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        self.shares.append(self.share)
        return super().forward(batch)

    def after_step(self) -> None:
        self.biases.append(self.network.head.bias.detach().clone())


def test_the_objective_hears_how_far_the_training_is(tmp_path: Path) -> None:
    """The share of the steps that are done, before each pass; and a word after each step. What it says is kept."""
    torch.manual_seed(0)
    objective = Watched(Toy())
    optimizer = create_optimizer("sgd", parameter_groups(objective.network, ["head"], lr=0.1))
    train(objective, optimizer, Polynomial(), Noise(), LoopSettings(**SETTINGS, accumulate=2), tmp_path)
    assert objective.shares == [step / 9 for step in range(9) for _ in range(2)]
    assert len(objective.biases) == 9
    assert torch.equal(objective.biases[-1], objective.network.head.bias), "after the step, not before it"
    assert all(not torch.equal(one, next_) for one, next_ in itertools.pairwise(objective.biases))
    best = load_file(tmp_path / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in objective.other.state_dict().items())


def test_a_metric_that_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="the validation gives accuracy, but better is 'score'"):
        run(tmp_path, validate=lambda _: lambda: {"accuracy": 1.0})


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    start = weights(toy_objective())
    objective, _ = run(tmp_path, optimizer="sgd-published", epochs=1, batch_size=11, clip_gradient=1e-3, lr=1.0)
    moved = weights(objective) - start + 1e-3 * torch.ones(())  # at most lr * 10 * (clip + decay of small weights)
    assert 0 < (weights(objective) - start).norm() < 10 * (1e-3 + 1e-3 * start.norm())
    assert moved.isfinite().all()


def test_a_full_disk_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_after(4, monkeypatch, tmp_path, save_minutes=0)
    before = (tmp_path / "last.safetensors").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(RunError) as caught:
            run(tmp_path, save_minutes=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    path = tmp_path / "last.safetensors"
    assert str(caught.value).startswith(f"cannot write {path} (File too large); make room")
    assert str(caught.value).endswith(f"the last state in {path} is whole, the same command goes on from it")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors"]
    resumed, _ = run(tmp_path, save_minutes=0)
    through, _ = run(tmp_path / "through")
    assert torch.equal(weights(resumed), weights(through))


def test_progress(tmp_path: Path) -> None:
    words: list[Progress] = []
    _, result = run(tmp_path, log_every=2, progress=words.append, validate=lambda _: lambda: {"score": 1.0})
    assert [(w.epoch, w.step, w.steps) for w in words] == [(e, s, 3) for e in (1, 2, 3) for s in (2, 3)]
    assert [dict(w.metrics) for w in words] == [{}, {"score": 1.0}] * 3
    assert words[-1].loss == result.history[-1]["training_loss"]
    assert words[0].lr == pytest.approx(0.05 * (1 - 1 / 9) ** 0.9)


def test_bfloat16_trains_float32_weights(tmp_path: Path) -> None:
    exact, _ = run(tmp_path / "exact", dropout=0.0)
    half, _ = run(tmp_path / "half", dropout=0.0, precision="bfloat16")
    assert weights(half).dtype == torch.float32
    difference = (weights(half) - weights(exact)).abs().max()
    assert 1e-5 < difference < 0.05


def test_the_objective_and_the_random_numbers_are_left_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    objective = toy_objective()
    optimizer = create_optimizer("sgd", parameter_groups(objective.network, ["head"], lr=0.1))
    torch.manual_seed(3)
    settings = LoopSettings(epochs=1, precision="bfloat16")
    train(objective, optimizer, Polynomial(), Noise(), settings, tmp_path)
    assert torch.equal(torch.rand(4), expected)
    assert objective.forward.__func__ is ToyObjective.forward
    assert objective.network.features(torch.zeros(1, 3, 9, 9)).dtype == torch.float32


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="precision float16 needs a GPU; on a CPU take bfloat16 or float32"):
        run(tmp_path, precision="float16")
    with pytest.raises(SettingError, match="a batch of 16 with drop_last leaves nothing of 11 pictures"):
        run(tmp_path, drop_last=True, batch_size=16)
    with pytest.raises(SettingError, match="the data set holds no picture"):
        run(tmp_path, dataset=Noise(0))
    objective = toy_objective().half()
    optimizer = create_optimizer("sgd", parameter_groups(objective.network, ["head"], lr=0.1))
    with pytest.raises(ModelError, match=r"trained with float32 weights; got torch\.float16"):
        train(objective, optimizer, Polynomial(), Noise(), LoopSettings(), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        run(tmp_path / "file" / "run")


class Broken(Noise):
    """Fails in each way that reading can."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if isinstance(self.error, SystemExit):
            os._exit(1)
        raise self.error


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_the_data_set_keep_their_words(tmp_path: Path, workers: int) -> None:
    with pytest.raises(PictureError) as caught:
        run(tmp_path, dataset=Broken(PictureError("no: picture can be read; check the path")), workers=workers)
    assert str(caught.value) == "no: picture can be read; check the path"


def test_a_worker_that_dies(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        run(tmp_path, dataset=Broken(SystemExit()), workers=1)
    assert str(caught.value).startswith("a process that reads pictures died (DataLoader worker (pid")
    assert str(caught.value).endswith("set workers to 0, or give the container more (--shm-size)")
    with pytest.raises(RuntimeError, match="something else"):
        run(tmp_path, dataset=Broken(RuntimeError("something else")))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_too_large_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def forward(self: ToyObjective, batch: dict[str, Tensor]) -> Tensor:
        raise error

    monkeypatch.setattr(ToyObjective, "forward", forward)
    with pytest.raises(OutOfMemoryError) as caught:
        run(tmp_path, accumulate=2)
    assert str(caught.value) == (
        "a batch of 4 with accumulate 2 does not fit into the memory of cpu; set accumulate to 4: the training is the "
        "same, in smaller passes"
    )


def test_other_errors_of_the_objective_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: ToyObjective, batch: dict[str, Tensor]) -> Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(ToyObjective, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(tmp_path)


def a_share(folder: Path) -> tuple[Tensor, TrainingResult, list[Progress]]:
    """What one of several processes does, and hears."""
    words: list[Progress] = []
    settings = {"dropout": 0.0, "accumulate": 2, "epochs": 2, "patience": 1, "log_every": 1}
    objective, result = run(folder, validate=lambda _: lambda: {"score": 1.0}, progress=words.append, **settings)
    return weights(objective), result, words


@pytest.mark.parametrize("processes", [2, 5])
def test_many_processes_train_as_one(tmp_path: Path, processes: int) -> None:
    """Also where a batch of four has no picture for the fifth."""
    found = launched(processes, a_share, tmp_path / "many")
    one, _ = run(tmp_path / "one", dropout=0.0, epochs=2)
    assert [[(word.epoch, word.step) for word in words] for _, _, words in found] == [
        [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)],
        *[[]] * (processes - 1),
    ]
    for learnt, result, _ in found:
        assert torch.allclose(weights(one), learnt, atol=1e-6)
        assert result == found[0][1]
