"""The commands of `advcam`. Heavy imports happen inside a command, so that `--help` answers at once."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.markup import escape

import advcam
from advcam.cli.analyze import analyze
from advcam.cli.data import data
from advcam.cli.engines import Engines, opened
from advcam.cli.evaluate import evaluate
from advcam.cli.export import export, formats, import_
from advcam.cli.folders import LocalPath
from advcam.cli.onnx import onnx
from advcam.cli.predict import predict
from advcam.cli.report import compare, report
from advcam.cli.run import refine, segment, train
from advcam.cli.run import run as run_recipe
from advcam.cli.size import size
from advcam.cli.studio import studio
from advcam.cli.tune import tune
from advcam.cli.verify import verify
from advcam.errors import AdvcamError, one_line
from advcam.pipeline.operations.shutdown import ends_cleanly

if TYPE_CHECKING:
    from advcam.pipeline.config import LocalizeSettings

OK, SKIPPED, FAILED, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="advcam",
    help="From image labels to pixels: where a classifier looks, and masks and boxes from it.",
    version=advcam.__version__,
    help_on_error=False,
)
app.command(analyze)
app.command(data)
app.command(evaluate)
app.command(tune)
app.command(size)
app.command(train)
app.command(refine)
app.command(segment)
app.command(run_recipe, name="run")
app.command(predict)
app.command(onnx)
app.command(verify)
app.command(report)
app.command(compare)
app.command(studio)
app.command(export)
app.command(import_, name="import")
app.command(formats)
_messages = Console(stderr=True)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code.

    0, 1 (some pictures skipped), 2 (error), 130 (interrupted by Ctrl-C) or 143 (by SIGTERM).
    """
    with ends_cleanly() as ending:
        code = _code(arguments)
    return ending.exit_code or INTERRUPTED if code == INTERRUPTED else code


def _code(arguments: Sequence[str]) -> int:
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _fail(" ".join(str(error).split()) + " (advcam --help lists the commands)")
    except AdvcamError as error:
        return _fail(one_line(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    return int(code or 0)


def _fail(message: str) -> int:
    _messages.print(f"[red]advcam:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    return FAILED


#: Print the result on standard output as JSON.
Json = Annotated[bool, Parameter("--json")]


@app.command
def demo(*, out: LocalPath = Path("advcam-demo"), quiet: bool = False, json_: Json = False) -> int:
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


@app.command
def localize(
    *inputs: str,
    labels: str | None = None,
    out: str,
    data: Path | None = None,
    split: str | None = None,
    layout: str | None = None,
    groups: Path | None = None,
    recipe: Path | None = None,
    method: str | None = None,
    variant: Literal["paper", "published"] | None = None,
    effort: Literal["fast", "balanced", "paper"] | None = None,
    iterations: int | None = None,
    small_iterations: int | None = None,
    step_size: float | None = None,
    penalty: float | None = None,
    mask_threshold: float | None = None,
    other_classes: str | None = None,
    step_norm: Literal["max", "rms", "raw"] | None = None,
    scales: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True)] = None,
    flip: bool | None = None,
    fusion: Literal["sum", "geometric"] | None = None,
    max_side: int | None = None,
    momentum: float | None = None,
    stop: float | None = None,
    size_grid: int | None = None,
    precision: Literal["auto", "float32", "bfloat16", "float16"] | None = None,
    batch_size: int | None = None,
    compiled: bool | None = None,
    model: str = "lite0",
    weights: Path | None = None,
    class_names: Path | None = None,
    num_classes: int | None = None,
    output_stride: Literal[8, 16, 32] | None = None,
    multi_label: bool = False,
    device: str = "cpu",
    top: int = 1,
    threshold: float | None = None,
    boxes: Literal["largest", "all"] | None = None,
    overlays: bool | None = None,
    report_pictures: int | None = None,
    shard_pictures: int | None = None,
    engines: Engines | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    json_: Json = False,
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
        recipe: Settings that `advcam tune` chose; what is given here goes before.
        method: See `advcam methods`; advcam when left away.
        variant: Of AdvCAM: "paper" or "published" (the authors' code to the letter).
        effort: What the climb may cost: fast (2 steps), balanced (4, when left away), paper (8 and flips).
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
        precision: Number format of the network; what the device is fastest in when left away.
        batch_size: (picture, class) pairs at once; found out when left away.
        compiled: Through torch.compile: a minute for each size of picture, for long runs on a GPU.
        model: See `advcam models`.
        weights: safetensors or PyTorch file (tensors only).
        class_names: Text file, one name a line.
        num_classes: Outputs of the network.
        output_stride: Finer maps, where the network allows it.
        multi_label: The outputs are independent (sigmoid).
        device: cpu, cuda, cuda:1, mps.
        top: Classes a picture with --labels predicted.
        threshold: Of masks and boxes, 0 to 1.
        boxes: The largest contour of each class (when left away), or all.
        overlays: Write pictures with their maps over them, as is done when left away.
        report_pictures: Most pictures in report.html; 24 when left away.
        shard_pictures: Pictures that are worked on together and kept in one file; 64 when left away.
        engines: Who works on the pictures.
        dry_run: Say what would be done and how long it would take, from a few of the pictures; write nothing.
        quiet: No progress.
        json_: Print the summary as JSON.
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
        raise advcam.SettingError(
            "which pictures? advcam localize PHOTOS --labels labels.csv --out run (files, folders, patterns), "
            "or a data set: --data ROOT --split val"
        )
    if data is None and labels is None:
        raise advcam.SettingError(
            'which labels? --labels labels.csv (columns image,labels), "folders" (names of the folders), or "predicted"'
        )


def _say_plan(settings: "LocalizeSettings", as_json: bool) -> int:
    from dataclasses import asdict

    from advcam.cli.watch import plan_in_words
    from advcam.pipeline.localize import plan

    found = plan(settings)
    _print(json.dumps(asdict(found)) if as_json else plan_in_words(found))
    return OK


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
        return INTERRUPTED
    return SKIPPED if summary.skipped else OK


@app.command
def models(name: str | None = None, *, search: str | None = None, json_: Json = False) -> int:
    """Classifiers by name: those that bring their weights, and with --search those that take a file of yours.

    Args:
        name: Of one that brings its weights: its classes are listed, by which labels name them.
        search: List timm's and torchvision's networks, or the classes, whose name contains this.
        json_: Print a JSON list of names.
    """
    from advcam.classifiers.catalogue import EMBEDDED, list_models

    if name is not None:
        return _classes(name, search or "", json_)
    names = [one for one in list_models() if search.lower() in one.lower()] if search else list(EMBEDDED)
    if json_:
        _print(json.dumps(names))
    elif search:
        _print("\n".join(names) if names else f"no network has {search!r} in its name")
    else:
        rows = [f"{one:8}{entry.summary}" for one, entry in EMBEDDED.items()]
        others = len(list_models()) - len(rows)
        more = f"and {others} networks with --weights FILE: advcam models --search resnet"
        _print("\n".join([*rows, more, "their classes: advcam models lite0, or some of them: --search cat"]))
    return OK


def _classes(model: str, search: str, as_json: bool) -> int:
    """The classes of a network that brings its weights."""
    from advcam.classifiers.catalogue import EMBEDDED
    from advcam.classifiers.names import imagenet_classes

    if model not in EMBEDDED:
        raise advcam.SettingError(
            f"{model} brings no weights, so its classes are those of your file (--class-names), or, of 1,000 outputs "
            f"without one, those of ImageNet: advcam models lite0; the others that bring theirs: {', '.join(EMBEDDED)}"
        )
    names = imagenet_classes().names
    found = {number: name for number, name in enumerate(names) if search.casefold() in name.casefold()}
    if as_json:
        _print(json.dumps(list(found.values())))
    else:
        rows = [f"{number:4} {name}" for number, name in found.items()]
        _print("\n".join(rows) if rows else f"no class of {model} has {search!r} in its name")
    return OK


@app.command
def methods(*, json_: Json = False) -> int:
    """Attribution methods by name.

    Args:
        json_: Print a JSON list of names.
    """
    from advcam.attribution.registry import METHODS

    rows = [f"{name:12}{method.title:12}{method.summary}" for name, method in METHODS.items()]
    _print(json.dumps(list(METHODS)) if json_ else "\n".join(rows))
    return OK


@app.command
def doctor(*, json_: Json = False) -> int:
    """Versions, devices, memory, what is missing and how to get it. Exit code 1 if something is wrong.

    Args:
        json_: Print the findings as JSON.
    """
    from dataclasses import asdict

    from advcam.cli.doctor import examine

    findings = examine()
    if json_:
        _print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
            _print(f"{'ok ' if finding.fine else '!! '}{finding.what:26}{finding.state}{remedy}")
    return OK if all(finding.fine for finding in findings) else SKIPPED


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
