"""`advcam predict`: label masks of pictures by a trained segmentation network."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from advcam.cli.engines import Engines, opened
from advcam.cli.evaluate import Bar
from advcam.errors import counted

if TYPE_CHECKING:
    from advcam.pipeline.predicting.predict import PredictSummary
    from advcam.store.places import Place

_SKIPPED, _INTERRUPTED = 1, 130
_NAMED = 8  # classes that the end names


def predict(
    *inputs: str,
    segmenter: Path,
    out: str,
    labels: str | None = None,
    scales: Annotated[tuple[float, ...] | None, Parameter(consume_multiple=True, negative=())] = None,
    flip: bool | None = None,
    max_side: int | None = None,
    tile: int | None = None,
    crf: bool = False,
    precision: Literal["auto", "float32", "bfloat16", "float16"] | None = None,
    boxes: Literal["largest", "all"] = "largest",
    overlays: bool = True,
    device: str = "cpu",
    quiet: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
    engines: Engines | None = None,
) -> int:
    """Masks, boxes and overlays of your pictures by a trained segmenter. The same command goes on where it stopped.

    Args:
        inputs: Pictures, folders (searched through), or patterns in quotes.
        segmenter: Folder of the run that trained it, or its folder segmenter.
        out: Folder of the run, or its URL in an object store (s3://bucket/run).
        labels: A CSV (image,labels; several separated by ;) or "folders", where the classes of a picture are known: no
            other class is predicted in it.
        scales: Sizes of the picture whose probabilities are averaged; 1 when left away.
        flip: Whether the mirrored picture takes part, as it does when left away, at twice the cost.
        max_side: Larger pictures are worked on at this size; 1024 when left away, 0 for no limit.
        tile: Pictures that are still larger are cut into tiles of this side, a multiple of 32; 1024 when left away.
        crf: Follow the edges of the picture by DeepLab's dense CRF, about a second a picture.
        precision: Number format of the network; when left away, the fastest one of the device.
        boxes: Around the largest part of each class, or around all.
        overlays: Write pictures with their masks over them, as is done when left away.
        device: cpu, cuda, cuda:1, mps.
        quiet: No progress.
        json_: Print the summary as JSON.
        engines: Who works on the pictures.
    """
    from dataclasses import asdict

    from advcam.pipeline.predicting.predict import predict_pictures
    from advcam.pipeline.predicting.settings import predict_settings

    given = {"scales": scales or None, "flip": flip, "tile": tile, "crf": crf or None, "precision": precision}
    inference: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    if max_side is not None:
        inference["max_side"] = max_side or None
    settings = predict_settings(
        inputs=inputs,
        segmenter=segmenter,
        out=out,
        labels=labels,
        inference=inference,
        boxes=boxes,
        overlays=overlays,
        device=device,
    )
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with opened(engines, device) as engine, PredictBar(console, quiet) as bar:
        summary = predict_pictures(settings, bar, engine)
    if not quiet:
        _say(summary, settings.out, console)
    if json_:
        sys.stdout.write(json.dumps(asdict(summary), ensure_ascii=False) + "\n")
    if summary.interrupted:
        return _INTERRUPTED
    return _SKIPPED if summary.skipped else 0


class PredictBar(Bar):
    """A bar of the pictures, and a line for each that cannot be used."""

    def __init__(self, console: Console, quiet: bool) -> None:
        super().__init__(console, quiet)
        self.quiet = quiet

    def __enter__(self) -> "PredictBar":
        super().__enter__()
        return self

    def skipped(self, name: str, reason: str) -> None:
        """A line."""
        if not self.quiet:
            self.progress.console.print(f"skipped {name}: {reason}", soft_wrap=True)
        self.step()


def _say(summary: "PredictSummary", out: "Place", console: Console) -> None:
    """The end of a run in words."""
    for warning in summary.warnings:
        console.print(f"note {warning}", soft_wrap=True)
    done = f"{counted(summary.computed, 'picture')} predicted in {summary.seconds:g} s"
    done += f", {summary.already_done} were already done" if summary.already_done else ""
    done += f", {len(summary.skipped)} skipped (named in summary.json)" if summary.skipped else ""
    console.print(f"{'interrupted:' if summary.interrupted else 'done     '} {done}", soft_wrap=True)
    if summary.interrupted:
        console.print("everything so far is valid; the same command goes on where it stopped")
    if summary.computed + summary.already_done:
        shown = sorted(summary.classes.items(), key=lambda item: (-item[1], item[0]))
        words = ", ".join(f"{name} in {count}" for name, count in shown[:_NAMED]) or "nothing but background"
        console.print(f"found     {words}{' ..' * (len(shown) > _NAMED)}", soft_wrap=True)
    console.print(f"masks in  {out / 'masks'}, boxes.json and predictions.json beside them", soft_wrap=True)
