"""The commands of `advcam`. Heavy imports happen inside a command, so that `--help` answers at once."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.markup import escape

import advcam
from advcam.cli.analyze import analyze
from advcam.cli.data import data
from advcam.cli.evaluate import evaluate
from advcam.cli.export import export, formats, import_
from advcam.cli.localize import demo, localize
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
    pass

OK, SKIPPED, FAILED, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="advcam",
    help="From image labels to pixels: where a classifier looks, and masks and boxes from it.",
    version=advcam.__version__,
    help_on_error=False,
)
app.command(demo)
app.command(localize)
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
