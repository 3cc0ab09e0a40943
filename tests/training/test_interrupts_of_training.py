"""Ctrl-C, SIGTERM and kill -9 of trainings, of one process and of several: what they leave, and who ends how."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from launched import launched
from safetensors.torch import load_file
from test_loop import run
from toys import Noise, Toy, ToyObjective, weights

from advcam.errors import RunError
from advcam.training.interrupts import held_interrupts
from advcam.training.loop import Progress

FEW = {"dropout": 0.0, "epochs": 4, "save_minutes": 60, "log_every": 1}


class Stopped(KeyboardInterrupt):
    """What a handler of the command line may raise."""


@pytest.fixture
def handler() -> None:
    """SIGTERM raises, as the command line has it."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(number)

    # A test run in the background of a shell inherits "ignore SIGINT".
    before = [signal.signal(signal.SIGTERM, stop), signal.signal(signal.SIGINT, signal.default_int_handler)]
    yield
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])


def hold(*signals: int, error: Exception | None = None) -> None:
    """These signals within a block."""
    with held_interrupts() as interrupts:
        for number in signals:
            os.kill(os.getpid(), number)
        assert interrupts.asked
        REACHED.append(len(signals))
        if error is not None:
            raise error


REACHED: list[int] = []


def test_an_interrupt_waits_for_the_end_of_the_block(handler: None) -> None:
    REACHED.clear()
    with pytest.raises(Stopped):
        hold(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        hold(signal.SIGINT, signal.SIGTERM)
    assert REACHED == [1, 2]
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_second_interrupt_acts_at_once(handler: None) -> None:
    REACHED.clear()
    with pytest.raises(Stopped):
        hold(signal.SIGTERM, signal.SIGTERM)
    assert REACHED == []


def test_an_error_is_told_rather_than_the_interrupt(handler: None) -> None:
    with pytest.raises(RunError, match="full"):
        hold(signal.SIGTERM, error=RunError("full"))


def test_what_is_ignored_stays_ignored_and_threads_hear_nothing() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with held_interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not interrupts.asked
    finally:
        signal.signal(signal.SIGTERM, before)

    def held() -> None:
        with held_interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    found, now = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=held)
    thread.start()
    thread.join()
    assert found == [now]


class Interrupting(ToyObjective):
    """Sends this process a signal in the middle of a step."""

    at = (7, signal.SIGTERM)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == self.at[0]:
            os.kill(os.getpid(), self.at[1])
        return super().forward(batch)


@pytest.mark.parametrize("step", [1, 3, 7, 12])
def test_an_interrupted_training_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: None, step: int
) -> None:
    """Also in the last step of an epoch; no state was due before."""
    through, expected = run(tmp_path / "through", **FEW)
    monkeypatch.setattr(Interrupting, "at", (step, signal.SIGTERM))
    with monkeypatch.context() as patch:
        patch.setattr("toys.ToyObjective", Interrupting)
        with pytest.raises(Stopped):
            run(tmp_path / "stopped", **FEW)
    data = Noise()
    resumed, result = run(tmp_path / "stopped", dataset=data, **FEW)
    assert torch.equal(weights(through), weights(resumed))
    assert result == expected
    done = {1: 4, 3: 11, 7: 26, 12: 44}  # pictures of the steps up to that of the signal
    assert len(data.seen) == 44 - done[step]


def test_an_interrupted_validation_loses_nothing(tmp_path: Path) -> None:
    def interrupted(_: ToyObjective):
        def validate() -> dict[str, float]:
            raise KeyboardInterrupt

        return validate

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, validate=interrupted, **FEW)
    data = Noise()
    _, result = run(tmp_path, dataset=data, validate=lambda _: lambda: {"score": 1.0}, **FEW)
    assert len(data.seen) == 33, "the steps of the first epoch are done"
    assert [epoch["score"] for epoch in result.history] == [1.0] * 4


def interrupted_in(folder: Path, step: int, rank: int) -> tuple[str, int]:
    """One of two processes is asked to leave in a step: how this process ends, and the steps it did."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(number)

    def validate(_: ToyObjective):
        return lambda: {"score": 1.0}

    signal.signal(signal.SIGTERM, stop)
    if os.environ["RANK"] == str(rank):
        Interrupting.at = (step, signal.SIGTERM)
        sys.modules["toys"].ToyObjective = Interrupting
    steps: list[Progress] = []
    try:
        run(folder, progress=steps.append, validate=validate, **FEW)
    except KeyboardInterrupt as error:
        return type(error).__name__, len(steps)
    return "done", len(steps)


def learnt(folder: Path) -> torch.Tensor:
    state = load_file(folder / "last.safetensors")
    return torch.cat([state[f"model.network.{name}"].flatten() for name in Toy().state_dict()])


def trained(folder: Path) -> torch.Tensor:
    run(folder, **FEW)
    return learnt(folder)


def test_all_processes_leave_after_the_same_step(tmp_path: Path) -> None:
    """One alone is asked to; then three go on, to the weights of one that ran through."""
    left = launched(2, interrupted_in, tmp_path / "stopped", 7, 1)
    assert [name for name, _ in left] == ["KeyboardInterrupt", "Stopped"]
    assert left[0][1] == 6, "all steps before it were told"
    through, _ = run(tmp_path / "through", **FEW)
    for found in launched(3, trained, tmp_path / "stopped"):
        torch.testing.assert_close(found, weights(through), rtol=0, atol=1e-6)


def test_kill_nine_of_one_process(tmp_path: Path) -> None:
    """MULTI-PROCESS (about 10 s): torchrun ends the other one, which says why; another number of processes goes on."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "import os, signal, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path; from test_loop import run; from advcam.errors import RunError\n"
        "import toys; from test_interrupts_of_training import Interrupting\n"
        "if os.environ['RANK'] == '1':\n"
        "    Interrupting.at = (7, signal.SIGKILL); toys.ToyObjective = Interrupting\n"
        "try:\n"
        "    run(Path('killed'), dropout=0.0, epochs=4, save_minutes=0)\n"
        "except RunError as error:\n"
        "    print('told:', error, flush=True)\n"
        "    raise SystemExit(3)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path, env=environment)
    assert done.returncode != 0
    assert "told: another process of this launch ended or cannot be reached (" in done.stdout, done.stderr[-3000:]
    assert "the same command goes on from the last state, with any number of processes" in done.stdout
    through, _ = run(tmp_path / "through", **FEW)
    for processes in (1, 2):
        folder = tmp_path / f"by{processes}"
        shutil.copytree(tmp_path / "killed", folder)
        for found in launched(processes, trained, folder):
            torch.testing.assert_close(found, weights(through), rtol=0, atol=1e-6)
