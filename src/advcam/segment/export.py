"""A segmentation network as an ONNX file that needs nothing around it, and the proof that it answers alike.

The file takes pictures as users have them, float RGB between 0 and 1, and gives the probability of each class at each
of their pixels. It is traced by torch.export, compared with PyTorch, and written only if it answers the same.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

import advcam
from advcam.errors import ModelError, SettingError, WeightsError, one_line
from advcam.segment.agreement import Comparison, compare, drawn_pictures, session_of
from advcam.segment.network import SegmentationNetwork
from advcam.segment.tracing import INPUT, OUTPUT, trace
from advcam.store.files import replacing
from advcam.training.augment import Normalisation

if TYPE_CHECKING:
    import onnx

BACKGROUND = "background"
#: Largest difference of two probabilities that is taken for rounding; float32 alone gives about 1e-5.
TOLERANCE = 1e-3
#: Oldest version of ONNX's operators that torch.export writes.
LOWEST_OPSET = 18


@dataclass(frozen=True)
class Export:
    """An ONNX file that was written.

    Args:
        path: Of the file.
        opset: Version of ONNX's operators in it.
        fixed_size: (H, W) of the only pictures that it takes; None: any.
        why_fixed: What kept the size from being free, one line; empty where it is.
        drawn: Comparison with PyTorch on drawn pictures.
        given: The same on the pictures that were given; None without any.
    """

    path: Path
    opset: int
    fixed_size: tuple[int, int] | None
    why_fixed: str
    drawn: Comparison
    given: Comparison | None


def export_onnx(
    network: SegmentationNetwork,
    class_names: Sequence[str],
    path: Path,
    *,
    pictures: Iterable[Image.Image] | None = None,
    opset: int | None = None,
    fixed_size: tuple[int, int] = (512, 512),
    tolerance: float = TOLERANCE,
) -> Export:
    """Write a network as ONNX, after it was compared with PyTorch. On any error `path` stays as it was.

    Input: `pictures` (N, 3, H, W), float32 RGB in [0, 1]. Output: `probabilities` (N, C, H, W). N, H and W are free; if
    the network cannot be traced so, H and W are `fixed_size`. Class names (the background first), normalisation and
    versions are in the metadata of the file.

    Args:
        network: On any device; it is copied.
        class_names: K of them, without the background.
        path: Of the file.
        pictures: Both are compared on them, besides four drawn ones of different sizes.
        opset: Version of ONNX's operators; None: what torch takes.
        fixed_size: (H, W) for a network that must have one.
        tolerance: Largest difference of two probabilities that is taken for rounding.

    Raises:
        SettingError: onnx, onnxscript or onnxruntime is missing, there is no such opset, or the names are not as many
            as the network's classes.
        ModelError: The network cannot be exported, or the file answers otherwise than PyTorch.
        RunError: The file cannot be written.
    """
    check_installed()
    if len(class_names) + 1 != network.num_classes:
        raise SettingError(
            f"the network has {network.num_classes} classes, the background counted; got {len(class_names)} names"
        )
    if opset is not None and opset < LOWEST_OPSET:
        raise SettingError(f"opset {opset} is too old: torch.export writes {LOWEST_OPSET} and later")
    size, why = None, ""
    try:
        made = _make(network, class_names, opset, None, tolerance)
    except ModelError as error:
        size, why = fixed_size, one_line(error)
        made = _make_fixed(network, class_names, opset, fixed_size, tolerance, why)
    given = None
    if pictures is not None:
        given = compare(network, session_of(made.content), pictures)
        _check_equal(given, tolerance)
    with replacing(path) as file:
        file.write(made.content)
    return Export(path, made.opset, size, why, made.drawn, given)


def compare_onnx(network: SegmentationNetwork, path: Path, pictures: Iterable[Image.Image]) -> Comparison:
    """Compare a file of `export_onnx` with the network that it was made from.

    Args:
        network: On any device; it is compared in float32 on the CPU.
        path: Of the file.
        pictures: RGB; those with a side above 640 are made smaller.

    Raises:
        SettingError: onnxruntime is missing, or there is no picture.
        WeightsError: The file is missing, damaged, or another network's.
    """
    check_installed()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); name a file of advcam onnx") from error
    try:
        return compare(network, session_of(content), pictures)
    except ModelError as error:
        raise WeightsError(f"{path}: {one_line(error)}") from error


def check_installed() -> None:
    """Raise `SettingError` unless the packages of the extra "onnx" are there."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise SettingError(f"ONNX files need {', '.join(missing)}; run: pip install 'advcam[onnx]'")


@dataclass(frozen=True)
class _Made:
    """The bytes of a file, its opset, and how it compares on drawn pictures."""

    content: bytes
    opset: int
    drawn: Comparison


def _make(
    network: SegmentationNetwork,
    class_names: Sequence[str],
    opset: int | None,
    size: tuple[int, int] | None,
    tolerance: float,
) -> _Made:
    """A file for pictures of any size, or of one, that answers as PyTorch does.

    Raises:
        ModelError: It cannot be made, or answers otherwise.
    """
    with _quiet():
        model = _translated(trace(network, size), opset)
    _describe(model, class_names, network.normalisation, size)
    content = _serialised(model)
    drawn = compare(network, session_of(content), drawn_pictures())
    _check_equal(drawn, tolerance)
    return _Made(content, _opset(model), drawn)


def _make_fixed(
    network: SegmentationNetwork,
    class_names: Sequence[str],
    opset: int | None,
    size: tuple[int, int],
    tolerance: float,
    why: str,
) -> _Made:
    """`_make` for a network that did not do for pictures of any size, and why."""
    try:
        return _make(network, class_names, opset, size, tolerance)
    except ModelError as error:
        raise ModelError(
            f"no ONNX file for pictures of any size ({why}), nor for pictures of {size[0]} x {size[1]} "
            f"({one_line(error)}); nothing was written; take another network, such as deeplabv2"
        ) from error


def _translated(program: "torch.export.ExportedProgram", opset: int | None) -> "onnx.ModelProto":
    """torch.export's program in operators of ONNX."""
    try:
        written = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
        model: onnx.ModelProto = written.model_proto  # type: ignore[union-attr]
    except Exception as error:
        which = "" if opset is None else f" with opset {opset}"
        raise ModelError(f"torch cannot write this network as ONNX{which}: {one_line(error)}") from error
    if opset is not None and _opset(model) != opset:
        raise SettingError(
            f"torch cannot write this network with opset {opset}, it wrote {_opset(model)}; leave the opset away"
        )
    return model


def _describe(
    model: "onnx.ModelProto",
    class_names: Sequence[str],
    normalisation: Normalisation,
    fixed_size: tuple[int, int] | None,
) -> None:
    """Say in the file what it is; forget what torch noted of the program, paths of this machine among it."""
    for entry in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer, model):
        entry.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    for value in (*model.graph.input, *model.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", "", "height", "width"), strict=True):
            if dimension.dim_param:
                dimension.dim_param = name
    size = "any" if fixed_size is None else "{} x {} (H x W) only".format(*fixed_size)
    facts = {
        "advcam_version": advcam.__version__,
        "class_names": json.dumps([BACKGROUND, *class_names], ensure_ascii=False),
        "input": f"{INPUT}: float32 (N, 3, H, W), RGB, 0 to 1; size: {size}",
        "output": f"{OUTPUT}: float32 (N, C, H, W), sum 1 over the classes",
        "fixed_size": json.dumps(fixed_size),
        "normalisation": json.dumps(
            {"mean": list(normalisation.mean), "std": list(normalisation.std), "where": "inside the graph"}
        ),
    }
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "advcam", advcam.__version__


def _serialised(model: "onnx.ModelProto") -> bytes:
    """The bytes of a file, found right by onnx itself."""
    import onnx  # optional

    try:
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
    except Exception as error:  # protobuf and onnx have errors of their own
        raise ModelError(
            f"torch wrote an ONNX file that onnx refuses ({one_line(error)}); try another opset"
        ) from error
    return content


def _check_equal(comparison: Comparison, tolerance: float) -> None:
    if comparison.largest_difference > tolerance:
        raise ModelError(
            f"the ONNX file answers otherwise than PyTorch: probabilities differ by "
            f"{comparison.largest_difference:.2g} where {tolerance:g} is allowed; nothing was written"
        )


def _opset(model: "onnx.ModelProto") -> int:
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch, onnxscript and onnx print, warn and log to themselves: errors say what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
