"""`advcam localize`, and `advcam demo`: the same on three photographs."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from rich.console import Console

from advcam.cli.engines import Engines, opened
from advcam.cli.folders import LocalPath
from advcam.errors import SettingError

if TYPE_CHECKING:
    from advcam.pipeline.config import LocalizeSettings

_OK, _SKIPPED, _INTERRUPTED = 0, 1, 130
_messages = Console(stderr=True)

# The groups of the options of localize, in the order in which a newcomer needs them.
_PICTURES = Group("Pictures and labels", sort_key=1)
_MASKS = Group("Masks", sort_key=2)
_CLIMB = Group("Climb", sort_key=3)
_CLASSIFIER = Group("Classifier", sort_key=4)
_WORK = Group("Work", sort_key=5)


def demo(
    *, out: LocalPath = Path("advcam-demo"), quiet: bool = False, json_: Annotated[bool, Parameter("--json")] = False
) -> int:
    """The whole idea on three photographs, in about a minute on an idle laptop: maps, masks, boxes and report.html.

    Args:
        out: Folder for the photographs and the run.
        quiet: No progress.
        json_: Print the summary as JSON.
    """
    from advcam.pipeline.config import localize_settings
    from advcam.pipeline.demo import write_photographs

    labels = write_photographs(out / "photographs")
    settings = localize_settings(inputs=(str(out / "photographs"),), labels=str(labels), out=out / "run")
    return _localize(settings, quiet, json_)


def localize(
    *inputs: str,
    labels: Annotated[str | None, Parameter(group=_PICTURES)] = None,
    out: Annotated[str, Parameter(group=_PICTURES)],
    data: Annotated[Path | None, Parameter(group=_PICTURES)] = None,
    split: Annotated[str | None, Parameter(group=_PICTURES)] = None,
    layout: Annotated[str | None, Parameter(group=_PICTURES)] = None,
    groups: Annotated[Path | None, Parameter(group=_PICTURES)] = None,
    top: Annotated[int, Parameter(group=_PICTURES)] = 1,
    threshold: Annotated[float | None, Parameter(group=_MASKS)] = None,
    boxes: Annotated[Literal["largest", "all"] | None, Parameter(group=_MASKS)] = None,
    overlays: Annotated[bool | None, Parameter(group=_MASKS)] = None,
    report_pictures: Annotated[int | None, Parameter(group=_MASKS)] = None,
    effort: Annotated[Literal["fast", "balanced", "paper"] | None, Parameter(group=_CLIMB)] = None,
    method: Annotated[str | None, Parameter(group=_CLIMB)] = None,
    variant: Annotated[Literal["paper", "published"] | None, Parameter(group=_CLIMB)] = None,
    recipe: Annotated[Path | None, Parameter(group=_CLIMB)] = None,
    iterations: Annotated[int | None, Parameter(group=_CLIMB)] = None,
    small_iterations: Annotated[int | None, Parameter(group=_CLIMB)] = None,
    step_size: Annotated[float | None, Parameter(group=_CLIMB)] = None,
    penalty: Annotated[float | None, Parameter(group=_CLIMB)] = None,
    mask_threshold: Annotated[float | None, Parameter(group=_CLIMB)] = None,
    other_classes: Annotated[str | None, Parameter(group=_CLIMB)] = None,
    step_norm: Annotated[Literal["max", "rms", "raw"] | None, Parameter(group=_CLIMB)] = None,
    scales: Annotated[tuple[float, ...] | None, Parameter(group=_CLIMB, consume_multiple=True, negative=())] = None,
    flip: Annotated[bool | None, Parameter(group=_CLIMB)] = None,
    fusion: Annotated[Literal["sum", "geometric"] | None, Parameter(group=_CLIMB)] = None,
    max_side: Annotated[int | None, Parameter(group=_CLIMB)] = None,
    momentum: Annotated[float | None, Parameter(group=_CLIMB)] = None,
    stop: Annotated[float | None, Parameter(group=_CLIMB)] = None,
    size_grid: Annotated[int | None, Parameter(group=_CLIMB)] = None,
    model: Annotated[str, Parameter(group=_CLASSIFIER)] = "lite0",
    weights: Annotated[Path | None, Parameter(group=_CLASSIFIER)] = None,
    class_names: Annotated[Path | None, Parameter(group=_CLASSIFIER)] = None,
    num_classes: Annotated[int | None, Parameter(group=_CLASSIFIER)] = None,
    output_stride: Annotated[Literal[8, 16, 32] | None, Parameter(group=_CLASSIFIER)] = None,
    multi_label: Annotated[bool, Parameter(group=_CLASSIFIER)] = False,
    device: Annotated[str, Parameter(group=_CLASSIFIER)] = "cpu",
    dry_run: Annotated[bool, Parameter(group=_WORK)] = False,
    quiet: Annotated[bool, Parameter(group=_WORK)] = False,
    json_: Annotated[bool, Parameter("--json", group=_WORK)] = False,
    batch_size: Annotated[int | None, Parameter(group=_WORK)] = None,
    precision: Annotated[Literal["auto", "float32", "bfloat16", "float16"] | None, Parameter(group=_WORK)] = None,
    compiled: Annotated[bool | None, Parameter(group=_WORK)] = None,
    shard_pictures: Annotated[int | None, Parameter(group=_WORK)] = None,
    engines: Engines | None = None,
) -> int:
    """Maps, masks, boxes, overlays and a report of your pictures. The same command goes on where it stopped.

    Args:
        inputs: Pictures, folders (searched through), or patterns in quotes.
        labels: A CSV (image,labels; several separated by ;), "folders" (name of the picture's folder) or "predicted".
            A data set brings its own.
        out: Folder of the run, or its URL in an object store (s3://bucket/run).
        data: Root folder of a data set, instead of pictures and labels.
        split: Of the data set, such as train.
        layout: Of the data set, see `advcam data layouts`; found out when left away.
        groups: JSON: for each class of the data set the classifier's classes that mean it.
        top: Classes a picture with --labels predicted.
        threshold: Of masks and boxes, 0 to 1.
        boxes: The largest contour of each class (when left away), or all.
        overlays: Write pictures with their maps over them, as is done when left away.
        report_pictures: Most pictures in report.html; 24 when left away.
        effort: What the climb may cost: fast (2 steps), balanced (4, when left away), paper (8 and flips).
        method: See `advcam methods`; advcam when left away.
        variant: Of AdvCAM: "paper" or "published" (the authors' code to the letter).
        recipe: Settings that `advcam tune` chose; what is given here goes before.
        iterations: T, steps of the climb.
        small_iterations: T at scales below 1; a quarter of the others when left away.
        step_size: xi, length of a step.
        penalty: lambda, weight of the regulariser.
        mask_threshold: tau, the part of the map that the regulariser holds.
        other_classes: Which other classes are pushed down: all, none, logsumexp, or a number.
        step_norm: What a step is divided by.
        scales: Sizes of the picture whose maps are joined.
        flip: Whether the mirrored picture takes part, at twice the cost.
        fusion: How the maps of the scales are joined: added up, or by a geometric mean (all scales have to agree).
        max_side: Larger pictures are worked on at this size; 0 for no limit.
        momentum: Share of the last step that the next one takes along.
        stop: A climb ends where a step changes its map by less than this.
        size_grid: Resize to a multiple of so many pixels, so that more pictures go together.
        model: See `advcam models`.
        weights: safetensors or PyTorch file (tensors only).
        class_names: Text file, one name a line.
        num_classes: Outputs of the network.
        output_stride: Finer maps, where the network allows it.
        multi_label: The outputs are independent (sigmoid).
        device: cpu, cuda, cuda:1, mps.
        dry_run: Say what would be done and how long it would take, from a few of the pictures; write nothing.
        quiet: No progress.
        json_: Print the summary as JSON.
        batch_size: (picture, class) pairs at once; found out when left away.
        precision: Number format of the network; what the device is fastest in when left away.
        compiled: Through torch.compile: a minute for each size of picture, for long runs on a GPU.
        shard_pictures: Pictures that are worked on together and kept in one file; 64 when left away.
        engines: Who works on the pictures.
    """
    from advcam.pipeline.config import localize_settings
    from advcam.pipeline.recipe import Recipe, read_recipe
    from advcam.store.places import place

    _check_source(inputs, labels, data)
    chosen = Recipe() if recipe is None else read_recipe(recipe)
    given = {
        "method": method,
        "variant": variant,
        "effort": effort,
        "iterations": iterations,
        "small_iterations": small_iterations,
        "step_size": step_size,
        "penalty": penalty,
        "mask_threshold": mask_threshold,
        "other_classes": int(other_classes) if other_classes and other_classes.isdecimal() else other_classes,
        "step_norm": step_norm,
        "scales": scales or None,
        "flip": flip,
        "fusion": fusion,
        "max_side": max_side,
        "momentum": momentum,
        "stop": stop,
        "size_grid": size_grid,
        "precision": precision,
        "batch_size": batch_size,
        "compiled": compiled,
    }
    given = chosen.method.model_dump(exclude_unset=True) | {k: v for k, v in given.items() if v is not None}
    network = {
        "model": model,
        "weights": weights,
        "class_names": class_names,
        "num_classes": num_classes,
        "output_stride": output_stride,
        "multi_label": multi_label,
        "device": device,
    }
    asked = {"threshold": threshold, "boxes": boxes, "overlays": overlays, "report_pictures": report_pictures}
    written = chosen.outputs.model_dump(exclude_unset=True) | {k: v for k, v in asked.items() if v is not None}
    source = {"inputs": inputs, "labels": labels or "data", "data": data, "split": split, "layout": layout}
    by_recipe = chosen.chosen if threshold is None and "threshold" in written else None
    source |= {"supervision": by_recipe.supervision if by_recipe else ""}
    source |= {"labelled": chosen.chosen.labelled if chosen.chosen else (), "groups": groups}
    shards = {} if shard_pictures is None else {"shard_pictures": shard_pictures}
    settings = localize_settings(
        **source, **shards, out=place(out), top=top, method=given, model=network, outputs=written
    )
    return _say_plan(settings, json_) if dry_run else _localize(settings, quiet, json_, engines)


def _check_source(inputs: Sequence[str], labels: str | None, data: Path | None) -> None:
    """Pictures come with labels, a data set brings its own."""
    if data is None and not inputs:
        raise SettingError(
            "which pictures? advcam localize PHOTOS --labels labels.csv --out run (files, folders, patterns), "
            "or a data set: --data ROOT --split val"
        )
    if data is None and labels is None:
        raise SettingError(
            'which labels? --labels labels.csv (columns image,labels), "folders" (names of the folders), or "predicted"'
        )


def _say_plan(settings: "LocalizeSettings", as_json: bool) -> int:
    from dataclasses import asdict

    from advcam.cli.watch import plan_in_words
    from advcam.pipeline.localize import plan

    found = plan(settings)
    sys.stdout.write((json.dumps(asdict(found)) if as_json else plan_in_words(found)) + "\n")
    return _OK


def _localize(settings: "LocalizeSettings", quiet: bool, as_json: bool, engines: Engines | None = None) -> int:
    from dataclasses import asdict

    from advcam.cli.watch import Quiet, Watch, say_summary
    from advcam.pipeline.localize import localize as run_localize

    command = "advcam " + shlex.join(sys.argv[1:])
    with (
        opened(engines, settings.model.device) as engine,
        Quiet() if quiet else Watch(_messages) as progress,
    ):
        summary = run_localize(settings, progress, command, engine)
    if not quiet:
        say_summary(_messages, summary, settings.out)
    if as_json:
        sys.stdout.write(json.dumps(asdict(summary), ensure_ascii=False) + "\n")
    if summary.interrupted:
        return _INTERRUPTED
    return _SKIPPED if summary.skipped else _OK
