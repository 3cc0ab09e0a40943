"""`advcam run`: a recipe from labelled pictures to masks. `train`, `refine` and `segment`: single stages of it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from advcam.cli.engines import Engines, opened
from advcam.cli.evaluate import Bar
from advcam.cli.folders import LocalPath
from advcam.errors import counted, printable

if TYPE_CHECKING:
    from advcam.pipeline.chain.planning import PlannedStage
    from advcam.pipeline.chain.run import Chain
    from advcam.pipeline.chain.settings import ChainSettings
    from advcam.pipeline.chain.stage import StageRecord, State

_SKIPPED = 1


def run(
    recipe: str,
    *overrides: str,
    out: LocalPath,
    from_: Annotated[str | None, Parameter("--from")] = None,
    until: str | None = None,
    engines: Engines | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """A recipe: train a classifier, localize, refine, make masks, score. The same command goes on where it stopped.

    Args:
        recipe: A .yaml file, or the name of a recipe that comes with advcam: folder, voc2012, coco2014, cub, imagenet,
            pets, tiny ..
        overrides: Settings of the recipe, section.key=value: data.root=PHOTOS train.epochs=3.
        out: Folder of the run.
        from_: Do this stage and all behind it anew.
        until: The last stage to be done.
        engines: Who works on the pictures; networks are trained in this process, or by torchrun in several.
        dry_run: Say what would be done and what it costs; write nothing.
        quiet: No progress.
        json_: Print the stages as JSON.
    """
    from advcam.pipeline.chain.recipe_file import read_chain

    return _chain(read_chain(recipe, overrides), out, from_, until, dry_run, quiet, json_, engines)


def train(
    data: Path,
    *overrides: str,
    out: LocalPath,
    split: str | None = None,
    val: str | None = None,
    layout: str | None = None,
    model: str | None = None,
    trained: Literal["mixture", "head", "last", "all"] | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    device: str = "cpu",
    dry_run: bool = False,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Train a classifier on labelled pictures, as the recipe folder does. The same command goes on where it stopped.

    Args:
        data: Root folder: folders of classes, a table labels.csv, or a public data set.
        overrides: Further settings, key=value, such as batch_size=8 kind=multi-label.
        out: Folder of the run; the classifier lies in its folder classifier.
        split: That is learnt; train, or all where there is no other.
        val: Split that chooses the best epoch; left away it is val, or a fifth of the pictures where there is none.
        layout: See `advcam data layouts`; found out when left away.
        model: See `advcam models`; lite0 when left away.
        trained: What of it is trained: the head, as a mixture of its ImageNet outputs (when left away; for hundreds of
            pictures) or by gradient steps, the last stages, or all (for thousands).
        epochs: Times that every picture is seen.
        lr: Learning rate.
        device: cpu, cuda, cuda:1, mps.
        dry_run: Say what would be done; write nothing.
        quiet: No progress.
        json_: Print the result as JSON.
    """
    from advcam.pipeline.chain.recipe_file import change, parse_chain, section_of

    content: dict[str, Any] = {
        "data": {"root": data, "train": split, "val": val, "layout": layout},
        "train": section_of("folder", "train") | _given(model=model, trained=trained, epochs=epochs, lr=lr),
        "device": device,
    }
    change(content, [f"train.{override}" for override in overrides])
    return _chain(parse_chain(content, "advcam train"), out, None, "train", dry_run, quiet, json_)


def refine(
    maps: Path,
    *overrides: str,
    data: Path,
    out: LocalPath,
    split: str | None = None,
    layout: str | None = None,
    method: str = "crf",
    classifier: Path | None = None,
    threshold: float | None = None,
    band: float | None = None,
    min_area: float | None = None,
    device: str = "cpu",
    engines: Engines | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Sharper scores, label masks, boxes and confidences from the maps of `advcam localize`.

    Args:
        maps: Folder of the run of `advcam localize --data`.
        overrides: Further settings of a recipe, section.key=value, such as refine.crf.kernels=irn.
        data: Root folder of the pictures.
        out: Folder of the refined run.
        split: Of the data set; train, or the only one, when left away.
        layout: See `advcam data layouts`; found out when left away.
        method: crf (dense CRF), irn (a network is trained), affinity, some of them joined by + (affinity+crf), or none:
            masks of the maps as they are.
        classifier: For IRN: the run of `advcam train` whose classifier made the maps; left away, lite0.
        threshold: Of the masks, 0 to 1; left away, the one that belongs to the method.
        band: Width of the band around the threshold that stays undecided (255).
        min_area: Share of the picture that a part of a class needs.
        device: cpu, cuda, cuda:1, mps.
        engines: Who works on the pictures.
        dry_run: Say what would be done; write nothing.
        quiet: No progress.
        json_: Print the result as JSON.
    """
    from advcam.pipeline.chain.recipe_file import change, parse_chain
    from advcam.pipeline.chain.training import trained_model

    content: dict[str, Any] = {
        "data": {"root": data, "train": split, "layout": layout},
        "maps": maps,
        "refine": {"methods": [] if method == "none" else _in_a_row(method)},
        "pseudo": _given(threshold=threshold, band=band, min_area=min_area),
        "device": device,
    }
    if classifier is not None:
        content["model"] = trained_model(classifier).model_dump()
    change(content, overrides)
    return _chain(parse_chain(content, "advcam refine"), out, None, None, dry_run, quiet, json_, engines)


def segment(
    data: Path,
    *overrides: str,
    masks: str,
    out: LocalPath,
    split: str | None = None,
    test: str | None = None,
    layout: str | None = None,
    model: str | None = None,
    head: str | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    strong: str | None = None,
    semi: Literal["cct", "unimatch"] | None = None,
    device: str = "cpu",
    from_: Annotated[str | None, Parameter("--from")] = None,
    dry_run: bool = False,
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Train a segmentation network on masks, and show it the test pictures. The same command goes on where it stopped.

    Args:
        data: Root folder: folders of classes, a table labels.csv, or a public data set.
        overrides: Further settings of the network, key=value, such as crop=256 self_training=1; docs/segmentation.md
            has them all.
        masks: Masks to learn: the folder pseudo of advcam run or refine, a folder of PNG files, or true for those of
            the data set.
        out: Folder of the run; the network lies in its folder segmenter.
        split: Split of the pictures to learn; train, or the only one, when left away.
        test: Split that it is shown in the end; val when left away, or else the pictures that it learnt.
        layout: See `advcam data layouts`; found out when left away.
        model: Backbone; see `advcam models`; lite0 when left away.
        head: linear (when left away), deeplabv2, or smp/deeplabv3plus, smp/unet .. of segmentation-models-pytorch.
        epochs: Times that every picture is seen; 10 when left away.
        lr: Learning rate of the backbone; 0.0001 when left away.
        strong: Learn so many true masks of the data set beside those of --masks: a number, a share of the pictures
            (1/32) or a list file.
        semi: How true masks and the others are learnt together; unimatch when left away.
        device: cpu, cuda, cuda:1, mps.
        from_: Do this stage (segment, predict, evaluate-segment or export) and all behind it anew.
        dry_run: Say what would be done; write nothing.
        quiet: No progress.
        json_: Print the result as JSON.
    """
    from advcam.pipeline.chain.recipe_file import change, parse_chain, section_of

    chosen = section_of("folder", "segment") | _given(epochs=epochs, lr=lr, strong=strong)
    chosen["network"] = chosen.get("network", {}) | _given(model=model, head=head)
    if masks == "true" or strong is not None or semi is not None:  # not for pseudo-labels alone
        chosen |= {"self_training": 0, "confidence_weights": False}
    if strong is not None or semi is not None:
        chosen["semi"] = _given(method=semi)
    content: dict[str, Any] = {
        "data": {"root": data, "train": split, "layout": layout, "test": test},
        "label_masks": masks if masks == "true" else Path(masks),
        "segment": chosen,
        "device": device,
    }
    change(content, [f"segment.{override}" for override in overrides])
    return _chain(parse_chain(content, "advcam segment"), out, from_, None, dry_run, quiet, json_)


def _given(**values: object) -> dict[str, Any]:
    """What was not left away."""
    return {name: value for name, value in values.items() if value is not None}


def _in_a_row(method: str) -> list[str]:
    """A refinement and those that it goes on from: affinity+crf is affinity, then affinity+crf."""
    steps = method.split("+")
    return ["+".join(steps[: count + 1]) for count in range(len(steps))]


def _chain(
    settings: "ChainSettings",
    out: Path,
    from_: str | None,
    until: str | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    engines: Engines | None = None,
) -> int:
    from advcam.pipeline.chain.run import open_chain

    with (
        opened(engines, settings.device) as engine,
        open_chain(settings, out, keep=not dry_run, engine=engine) as chain,
    ):
        if dry_run:
            _say_plan(chain.plan(from_, until), as_json)
            return 0
        quiet |= not chain.processes.main
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        try:
            with ChainWatch(console, quiet) as watch:
                records = chain.run(watch, from_, until)
        except KeyboardInterrupt:
            words = "interrupted: what is done so far is valid, and the same command goes on where it stopped"
            console.print(words, soft_wrap=True)
            raise
        if as_json and chain.processes.main:
            sys.stdout.write(json.dumps({"out": str(out), "stages": [r.__dict__ for r in records]}) + "\n")
        if not quiet:
            _say_end(chain, records, console)
        return _SKIPPED if any(record.skipped for record in records) else 0


class ChainWatch(Bar):
    """A bar for what a stage is doing, and a line for each stage."""

    def __init__(self, console: Console, quiet: bool) -> None:
        super().__init__(console, quiet)
        self.quiet = quiet
        self._named: set[str] = set()

    def __enter__(self) -> "ChainWatch":
        super().__enter__()
        return self

    def stage(self, name: str, state: "State") -> None:
        """A line."""
        self.say(f"{name}: {'is up to date' if state == 'done' else state}")

    def say(self, words: str) -> None:
        """A line."""
        if not self.quiet:
            self.progress.console.print(words, soft_wrap=True)

    def skipped(self, name: str, reason: str) -> None:
        """A line, of the first stage that cannot use a picture: later ones miss what that stage did not make."""
        if name not in self._named:
            self._named.add(name)
            self.say(printable(f"skipped {name}: {reason}"))

    def start(self, words: str, total: int) -> None:
        """A new bar; the last one is done with."""
        for task in self.progress.task_ids:
            self.progress.remove_task(task)
        super().start(words, total)


def _say_plan(planned: Sequence["PlannedStage"], as_json: bool) -> None:
    from dataclasses import asdict

    from advcam.cli.watch import duration

    if as_json:
        sys.stdout.write(json.dumps([asdict(stage) for stage in planned]) + "\n")
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for title in ("stage", "state", "pictures", "network passes", "about"):
        table.add_column(title, justify="left" if title in ("stage", "state") else "right")
    for stage in planned:
        if stage.state == "done":
            table.add_row(stage.name, stage.state, "", "", "")
            continue
        passes = f"{stage.passes:,.0f}" if stage.passes else ""
        table.add_row(stage.name, stage.state, f"{stage.pictures:,}", passes, duration(stage.seconds))
    Console(highlight=False, markup=False, emoji=False).print(table)


def _say_end(chain: "Chain", records: Sequence["StageRecord"], console: Console) -> None:
    """Scores, warnings, and where everything lies; a picture that is skipped counts for the first stage alone."""
    skipped = set[str]()
    for record in records:
        if record.name in ("train", "evaluate", "evaluate-segment"):
            for name, value in record.facts:
                console.print(f"  {name}: {value}", soft_wrap=True)
        for note in record.notes:
            console.print(f"  note, {record.name}: {note}", soft_wrap=True)
        new = {id_ for id_, _ in record.skipped} - skipped
        skipped |= new
        if new:
            console.print(f"  {record.name}: {counted(len(new), 'picture')} skipped (report.html)")
    console.print(f"look at   {chain.out / 'report.html'}", soft_wrap=True)
    if any(record.name == "pseudo" for record in records):
        console.print(
            f"masks in  {chain.out / 'pseudo' / 'masks'}, boxes.json and confidence.csv beside them", soft_wrap=True
        )
    elif any(record.name == "train" for record in records):
        console.print(f"classifier in  {chain.out / 'classifier'}", soft_wrap=True)
    if any(record.name == "predict" for record in records):
        where = f"{chain.out / 'segmenter'}, masks of the test pictures in {chain.out / 'predictions' / 'masks'}"
        console.print(f"network in  {where}", soft_wrap=True)
