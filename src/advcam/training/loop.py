"""The one training loop: any loss over any pictures, on a CPU, a GPU or many, killed and continued at will.

Hugging Face accelerate moves the work to the device, sums gradients over passes and processes, and computes in half
precision. Started by `torchrun` (or, on GPUs, `accelerate launch`) each process takes its share of every batch; the
training is the same as that of one process, but for the rounding of sums, for what a network draws (dropout), and for
batch normalisations whose statistics are not frozen: each process normalises with those of its own part.

What a step does is decided by the seed and its number alone: the order of the pictures, their augmentation, dropout and
learning rate. With the state on disk a training that was killed and started again ends with the same weights, bit for
bit in float32 on a CPU, as one that ran through; with another number of processes, as said above. An interrupt waits
for the end of the step, in all processes, and leaves the state of that step.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import Dataset

from advcam.attribution.batching import is_out_of_memory
from advcam.attribution.precision import as_said
from advcam.errors import OutOfMemoryError, RunError, SettingError
from advcam.store.files import remove_leftovers
from advcam.store.run import JSON
from advcam.training.acceleration import accelerated
from advcam.training.checkpoint import Epoch, Record, finite, read_state, write_state, write_weights
from advcam.training.divergence import base_lr, check_loss, check_weights
from advcam.training.interrupts import Interrupts, held_interrupts
from advcam.training.loading import Augmented, load_parts
from advcam.training.objective import Objective, WholeBatch
from advcam.training.order import Part, epoch_batches, split_batch, step_seed
from advcam.training.schedule import Schedule
from advcam.training.settings import LoopSettings
from advcam.training.sharing import peers, share_buffers

STATE_FILE, BEST_FILE = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Progress:
    """A word on the way.

    Args:
        epoch: The current one, counted from 1.
        epochs: All of them.
        step: Steps done of this epoch.
        steps: Steps of an epoch; 0 at the end of a training that has none.
        loss: Mean over the epoch so far; None where pictures are only looked at, and nothing is learnt yet.
        lr: Learning rate of the pretrained layers in the last step.
        metrics: Of the validation, at the end of an epoch; else empty.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    lr: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    Args:
        best: The best metric; None without a validation.
        best_epoch: The epoch of the weights that were kept, counted from 1.
        epoch: Epochs done.
        step: Steps done over all epochs.
        history: An entry for each epoch: epoch, training_loss (a mean over its pictures), lr, and the metrics of the
            validation.
        stopped_early: Ended by `patience` before the last epoch.
    """

    best: float | None
    best_epoch: int
    epoch: int
    step: int
    history: tuple[Epoch, ...]
    stopped_early: bool


def train(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    dataset: Dataset[dict[str, Tensor]],
    settings: LoopSettings,
    folder: Path,
    *,
    validate: Callable[[], dict[str, float]] | None = None,
    better: str = "",
    facts: Mapping[str, JSON] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train, or go on with the training that the folder holds. A finished one is not repeated.

    It runs where the objective lies. The folder holds `last.safetensors`, the whole state, and `best.safetensors`, the
    weights of `objective.kept` in its best epoch (in the last one, without a validation). Afterwards the objective
    has the weights of the last step.

    Args:
        objective: Network and loss.
        optimizer: Over parameters of the objective.
        schedule: Factor of the learning rate at each step.
        dataset: Map-style: a number gives the tensors of one picture by name, which are stacked to a batch. If it has
            `set_epoch` (see `Augmented`) it is told each epoch.
        settings: Of the loop.
        folder: Of the two files; created.
        validate: Measures `objective.kept` after each epoch, in all processes; what the main one finds counts.
        better: Name of the metric of `validate` that tells the best epoch: the highest, and of equal ones the last,
            as few pictures make many epochs equal. Early stopping waits for a higher one.
        facts: What else must be the same for a training to be continued: learning rate, classes, pictures.
        progress: Told every few steps and after each epoch, in the main process alone.

    Raises:
        SettingError: A batch that is larger than the data set with `drop_last`, float16 on a CPU, an unknown metric.
        DivergedError: The loss is NaN, infinite, or has exploded.
        OutOfMemoryError: A pass does not fit into the memory of the device.
        RunError: The folder holds another training or cannot be written to, or another process of the launch is gone;
            the last state is still there.
        KeyboardInterrupt: This or another process was interrupted; the state of the last step is there.
    """
    precision = settings.precision
    with peers(), accelerated(objective, precision, settings.accumulate) as accelerator, as_said(precision):
        loop = _Loop(accelerator, objective, optimizer, schedule, dataset, settings, folder)
        loop.facts |= dict(facts or {})
        loop.progress = progress if progress is not None and accelerator.is_main_process else _silent
        loop.resume()
        while loop.record.epoch < settings.epochs and not loop.record.stopped:
            loop.run_epoch()
            loop.finish_epoch(validate, better)
        return loop.result()


class _Loop:
    """A training in this process, and where it stands."""

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        dataset: Dataset[dict[str, Tensor]],
        settings: LoopSettings,
        folder: Path,
    ) -> None:
        if not isinstance(dataset, Sized) or len(dataset) == 0:
            raise SettingError("nothing to train with: the data set holds no picture")
        self.count = len(dataset)
        if settings.drop_last and settings.batch_size > self.count:
            raise SettingError(
                f"a batch of {settings.batch_size} with drop_last leaves nothing of {self.count} pictures; "
                "take a smaller batch_size"
            )
        self.accelerator, self.objective, self.optimizer = accelerator, objective, optimizer
        self.model, self.stepper = accelerator.prepare(objective, optimizer)
        self.schedule, self.dataset, self.settings, self.folder = schedule, dataset, settings, folder
        self.facts: dict[str, JSON] = {"pictures": self.count, **settings.deciding()}
        self.progress: Callable[[Progress], None] = _silent
        self.record = Record()
        self.steps = len(self._batches())
        self._saved = time.monotonic()
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def resume(self) -> None:
        """Take up the state of the folder, if there is one."""
        path = self.folder / STATE_FILE
        if self.accelerator.is_main_process and self.folder.is_dir():
            remove_leftovers(self.folder)
        if not path.exists():
            return
        self.record, scaler = read_state(path, self.objective, self.optimizer, self.facts)
        if scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scaler)

    def run_epoch(self) -> None:
        """The steps that are left of an epoch."""
        if isinstance(self.dataset, Augmented):
            self.dataset.set_epoch(self.record.epoch)
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        left = self._batches()[self.record.step :]
        plan = [split_batch(batch, self.settings.accumulate, process, processes) for batch in left]
        parts = [part for passes in plan for part in passes]
        examples = load_parts(self.dataset, parts, self.settings.workers, self.accelerator.device)
        self.model.train()
        if not left:  # it ended after the last step, before the end of the epoch
            self._set_rates((self.record.epoch + 1) * self.steps - 1)
        leave = False
        with held_interrupts() as interrupts:
            for batch, passes in zip(left, plan, strict=True):
                loss, leave = self._step(len(batch), passes, examples, interrupts)
                self.record.step += 1
                self.record.loss_sum += loss * len(batch)
                self.record.pictures += len(batch)
                if leave:
                    break
                if self.record.step % self.settings.log_every == 0 and self.record.step < self.steps:
                    self._tell({})
                if time.monotonic() - self._saved >= 60 * self.settings.save_minutes:
                    self._save()
            if leave or interrupts.asked:
                self._save()
        if leave:  # another process was asked to
            raise KeyboardInterrupt

    def finish_epoch(self, validate: Callable[[], dict[str, float]] | None, better: str) -> None:
        """Validate, keep the weights if they are the best ones, decide whether to go on, and write the state."""
        check_weights(self.objective, self.record.epoch + 1, self.optimizer, self.folder)
        metrics = self._validated(validate, better)
        self._tell(metrics)
        record = self.record
        mean_loss = record.loss_sum / record.pictures
        record.epoch += 1
        record.history.append(
            {"epoch": record.epoch, "training_loss": mean_loss, "lr": base_lr(self.optimizer), **metrics}
        )
        record.step, record.loss_sum, record.pictures = 0, 0.0, 0
        if validate is None or not _worse(metrics[better], record.best):
            if validate is None or metrics[better] != record.best:
                record.improved = record.epoch
            record.best, record.best_epoch = metrics.get(better), record.epoch
            if self.accelerator.is_main_process:
                write_weights(self.folder / BEST_FILE, self.objective.kept, {"epoch": record.epoch, **metrics})
        patience = self.settings.patience
        waited = record.epoch - record.improved
        record.stopped = patience is not None and waited >= patience and record.epoch < self.settings.epochs
        self._save()
        self.accelerator.wait_for_everyone()

    def result(self) -> TrainingResult:
        """What came out."""
        record = self.record
        step = record.epoch * self.steps
        history = tuple(record.history)
        return TrainingResult(record.best, record.best_epoch, record.epoch, step, history, record.stopped)

    def _batches(self) -> list[tuple[int, ...]]:
        settings = self.settings
        return epoch_batches(self.count, settings.batch_size, settings.seed, self.record.epoch, settings.drop_last)

    def _step(
        self, pictures: int, passes: list[Part], examples: Iterator[dict[str, Tensor]], interrupts: Interrupts
    ) -> tuple[float, bool]:
        """One step of the optimiser; the mean loss over the batch, and whether a process was asked to leave."""
        step = self.record.epoch * self.steps + self.record.step
        self._set_rates(step)
        self.objective.share = step / (self.steps * self.settings.epochs)
        torch.manual_seed(step_seed(self.settings.seed, step, self.accelerator.process_index))
        batches = [next(examples) for _ in passes]
        self.objective.whole = self._whole(pictures, passes, batches)
        total = torch.zeros((), device=self.accelerator.device)
        for part, batch in zip(passes, batches, strict=True):
            total += self._pass(batch, part.weight)
        # One exchange for both: so all processes leave after the same step.
        both = torch.stack([total / len(passes), total.new_tensor(float(interrupts.asked))])
        mean, leave = self.accelerator.reduce(both, "mean").tolist()
        if self.record.first_loss is None:
            self.record.first_loss = finite(mean)
        check_loss(mean, self.record.first_loss, step + 1, self.optimizer, self.folder)
        if self.settings.clip_gradient is not None:
            self.accelerator.clip_grad_norm_(self.objective.parameters(), self.settings.clip_gradient)
        self.stepper.step()
        self.stepper.zero_grad()
        self.objective.after_step()
        return mean, leave > 0

    def _set_rates(self, step: int) -> None:
        factor = self.schedule(step, self.steps, self.settings.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _whole(self, pictures: int, passes: list[Part], batches: list[dict[str, Tensor]]) -> WholeBatch | None:
        """What the objective counts, summed over all passes and processes; None where it does not count."""
        counts = [self.objective.counts(batch) for batch in batches]
        own = [count * (part.weight > 0) for count, part in zip(counts, passes, strict=True) if count is not None]
        if not own:
            return None
        return WholeBatch(pictures, self.accelerator.reduce(torch.stack(own).sum(dim=0), "sum"))

    def _pass(self, batch: dict[str, Tensor], weight: float) -> Tensor:
        """Forward and backward; the weighted loss."""
        try:
            with self.accelerator.accumulate(self.model):
                loss = self.model(batch) * weight
                self.accelerator.backward(loss)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            now = self.settings.accumulate
            raise OutOfMemoryError(
                f"a batch of {self.settings.batch_size} with accumulate {now} does not fit into the memory of "
                f"{self.accelerator.device}; set accumulate to {2 * now}: the training is the same, in smaller passes"
            ) from error
        detached: Tensor = loss.detach().float()
        return detached

    def _validated(self, validate: Callable[[], dict[str, float]] | None, better: str) -> dict[str, float]:
        """The metrics, in all processes those of the main one: what is decided by them is decided alike."""
        share_buffers(self.objective)
        if validate is None:
            return {}
        self.objective.eval()
        try:
            found = [validate()]
        except KeyboardInterrupt:
            self._save()
            raise
        metrics: dict[str, float] = broadcast_object_list(found)[0]
        if better not in metrics:
            raise SettingError(f"the validation gives {', '.join(metrics) or 'nothing'}, but better is {better!r}")
        return {name: value for name, value in metrics.items() if finite(value) is not None or name == better}

    def _tell(self, metrics: Mapping[str, float]) -> None:
        record = self.record
        loss = record.loss_sum / max(1, record.pictures)
        where = (record.epoch + 1, self.settings.epochs, record.step, self.steps)
        self.progress(Progress(*where, loss, base_lr(self.optimizer), metrics))

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        check_weights(self.objective, self.record.epoch + 1, self.optimizer, self.folder)
        scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None
        path = self.folder / STATE_FILE
        try:
            write_state(path, self.objective, self.optimizer, self.record, self.facts, scaler)
        except RunError as error:
            if not path.exists():
                raise
            raise RunError(f"{error}; the last state in {path} is whole, the same command goes on from it") from error


def _worse(value: float, best: float | None) -> bool:
    """Whether a metric is below the best one, or is NaN where that is not."""
    return best is not None and not math.isnan(best) and not value >= best


def _silent(_progress: Progress) -> None:
    pass
