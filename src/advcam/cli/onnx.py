"""`advcam onnx`: a trained segmentation network as one ONNX file, compared with PyTorch."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from advcam.cli.folders import LocalPath
from advcam.errors import SettingError, counted

if TYPE_CHECKING:
    from PIL import Image

    from advcam.segment.agreement import Comparison
    from advcam.segment.export import Export


def onnx(
    segmenter: Path,
    *,
    out: LocalPath,
    check: Path | None = None,
    count: int = 50,
    opset: int | None = None,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Write a trained segmenter as ONNX: RGB between 0 and 1 in, probabilities out, any size. Compared with PyTorch.

    Args:
        segmenter: Folder of the run that trained it, or its folder segmenter.
        out: The file, such as model.onnx.
        check: A folder of pictures to compare both on as well, or one picture.
        count: Pictures of it, evenly spread.
        opset: Version of ONNX's operators, 18 or later; what torch takes when left away.
        json_: Print what was written as JSON.
    """
    from dataclasses import asdict

    from advcam.segment.export import check_installed, export_onnx
    from advcam.segment.trained import load_segmenter

    check_installed()
    if count < 1:
        raise SettingError(f"--count is 1 or more; got {count}")
    if out.is_dir():
        raise SettingError(f"{out} is a folder; name the file, such as {out / 'model.onnx'}")
    pictures = None if check is None else _pictures(check, count)
    trained = load_segmenter(segmenter)
    export = export_onnx(trained.network, trained.class_names, out, pictures=pictures, opset=opset)
    if json_:
        sys.stdout.write(json.dumps(asdict(export), default=str, ensure_ascii=False) + "\n")
    else:
        _say(export, Console(stderr=True, highlight=False, markup=False, emoji=False))
    return 0


def _pictures(folder: Path, count: int) -> "Iterator[Image.Image]":
    """Evenly spread over a folder; found at once, read one by one."""
    from advcam.datasets.pictures import find_pictures, read_picture
    from advcam.pipeline.targets import evenly

    chosen = evenly(find_pictures([folder]), count)
    return (read_picture(sample.path) for sample in chosen)


def _say(export: "Export", console: Console) -> None:
    size = (
        "pictures of any size" if export.fixed_size is None else "only pictures of {} x {}".format(*export.fixed_size)
    )
    console.print(f"wrote     {export.path} ({export.path.stat().st_size / 1e6:.1f} MB, opset {export.opset}, {size})")
    if export.fixed_size is not None:
        console.print(f"note the size is fixed since torch.export says: {export.why_fixed}", soft_wrap=True)
    console.print("takes     pictures: float32 (N, 3, H, W), RGB, 0 to 1; gives probabilities (N, C, H, W)")
    console.print(_in_words(export.drawn, "drawn"), soft_wrap=True)
    if export.given is not None:
        console.print(_in_words(export.given, "given"), soft_wrap=True)


def _in_words(comparison: "Comparison", kind: str) -> str:
    return (
        f"checked   on {counted(comparison.pictures, f'{kind} picture')}: probabilities differ from PyTorch by "
        f"{comparison.largest_difference:.1e} at most, {100 * comparison.equal_labels:.3f} % of the pixels have the "
        "same class"
    )
