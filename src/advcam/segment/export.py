"""A segmentation network as an ONNX file that needs nothing around it, and the proof that it answers alike.

The file takes pictures as users have them, float RGB between 0 and 1, and gives the probability of each class at each
of their pixels. It is traced by torch.export, compared with PyTorch, and written only if it answers the same.
"""

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

import advcam
from advcam.errors import ModelError, SettingError, WeightsError, one_line
from advcam.segment.network import SegmentationNetwork
from advcam.segment.tracing import INPUT, OUTPUT, Traced, trace
from advcam.store.files import replacing
from advcam.training.augment import Normalisation, resize_longest

if TYPE_CHECKING:
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

BACKGROUND = "background"
#: Largest difference of two probabilities that is taken for rounding; float32 alone gives about 1e-5.
TOLERANCE = 1e-3
#: Oldest version of ONNX's operators that torch.export writes.
LOWEST_OPSET = 18
#: (H, W) of the drawn pictures that every file is tried on: odd, even, small, multiples of 32.
_TRIED = ((96, 128), (61, 87), (128, 75), (33, 160))
#: Larger pictures are compared at this size of the longer side: a class costs 4 bytes a pixel, twice.
_LONGEST = 640


@dataclass(frozen=True)
class Comparison:
    """How far an ONNX file and PyTorch, in float32 on the CPU, are apart.

    Args:
        pictures: Compared.
        sizes: Different sizes among them.
        largest_difference: Of two probabilities, in [0, 1].
        equal_labels: Share of all pixels with the same most probable class.
    """

    pictures: int
    sizes: int
    largest_difference: float
    equal_labels: float


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
    with _quiet():
        traced = trace(network, fixed_size)
        model = _translated(traced, opset)
    _describe(model, class_names, network.normalisation, traced.fixed_size)
    content = _serialised(model)
    session = _session(content)
    drawn = compare(network, session, _drawn())
    given = None if pictures is None else compare(network, session, pictures)
    for comparison in (drawn, given) if given else (drawn,):
        _check_equal(comparison, tolerance)
    with replacing(path) as file:
        file.write(content)
    return Export(path, _opset(model), traced.fixed_size, traced.why, drawn, given)


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
        return compare(network, _session(content), pictures)
    except ModelError as error:
        raise WeightsError(f"{path}: {one_line(error)}") from error


def compare(
    network: SegmentationNetwork, session: "onnxruntime.InferenceSession", pictures: Iterable[Image.Image]
) -> Comparison:
    """Run both on each picture, one at a time.

    Raises:
        SettingError: There is no picture.
        ModelError: onnxruntime fails, or answers in another shape.
    """
    largest, equal, pixels = 0.0, 0, 0
    sizes: list[tuple[int, ...]] = []
    plain = copy.deepcopy(network).to(device="cpu", dtype=torch.float32).eval()
    for picture in pictures:
        inputs = _inputs(picture, _fixed_size(session))
        expected, answer = _reference(plain, inputs), _answer(session, inputs)
        if answer.shape != expected.shape:
            raise ModelError(f"the ONNX file answers {answer.shape} where the network answers {expected.shape}")
        largest = max(largest, float(np.nan_to_num(np.abs(answer - expected), nan=np.inf).max()))
        equal += int((answer.argmax(axis=1) == expected.argmax(axis=1)).sum())
        pixels += inputs.shape[2] * inputs.shape[3]
        sizes.append(inputs.shape[2:])
    if not sizes:
        raise SettingError("nothing to compare: there is no picture")
    return Comparison(len(sizes), len(set(sizes)), largest, equal / pixels)


def check_installed() -> None:
    """Raise `SettingError` unless the packages of the extra "onnx" are there."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise SettingError(f"ONNX files need {', '.join(missing)}; run: pip install 'advcam[onnx]'")


def _translated(traced: Traced, opset: int | None) -> "onnx.ModelProto":
    """torch.export's program in operators of ONNX."""
    try:
        program = torch.onnx.export(
            traced.program,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
        model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    except Exception as error:
        if opset is not None:
            raise SettingError(f"no export with opset {opset} ({one_line(error)}); leave it away") from error
        raise ModelError(f"torch cannot write this network as ONNX ({one_line(error)})") from error
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


def _session(content: bytes) -> "onnxruntime.InferenceSession":
    """ONNX Runtime on the CPU, with a file in memory."""
    import onnxruntime  # optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base but Exception
        raise ModelError(f"onnxruntime does not take the file ({one_line(error)})") from error


def _fixed_size(session: "onnxruntime.InferenceSession") -> tuple[int, int] | None:
    """(H, W) that the input of a file demands."""
    _, _, height, width = session.get_inputs()[0].shape
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _inputs(picture: Image.Image, fixed_size: tuple[int, int] | None) -> NDArray[np.float32]:
    """A picture as the file takes it, (1, 3, H, W)."""
    picture = picture.convert("RGB")
    if fixed_size is not None:
        picture = picture.resize(fixed_size[::-1], Image.Resampling.BILINEAR)
    elif max(picture.size) > _LONGEST:
        picture = resize_longest(picture, _LONGEST)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _reference(network: SegmentationNetwork, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What PyTorch says of a picture, (1, C, H, W)."""
    normalise = network.normalisation
    mean, std = (torch.tensor(list(values)).view(1, 3, 1, 1) for values in (normalise.mean, normalise.std))
    pictures = torch.from_numpy(inputs)
    with torch.inference_mode():
        scores = network((pictures - mean) / std)
        full = functional.interpolate(scores, size=pictures.shape[-2:], mode="bilinear", align_corners=False)
        return full.softmax(dim=1).numpy()


def _answer(session: "onnxruntime.InferenceSession", inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the file says of a picture, (1, C, H, W)."""
    try:
        (answer,) = session.run([OUTPUT], {INPUT: inputs})
    except Exception as error:
        raise ModelError(
            f"onnxruntime fails on a picture of {inputs.shape[2]} x {inputs.shape[3]} ({one_line(error)})"
        ) from error
    return np.asarray(answer)


def _drawn() -> Iterator[Image.Image]:
    """Blurred noise: many colours, soft and sharp borders, the same each time."""
    random = np.random.default_rng(0)
    for height, width in _TRIED:
        coarse = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8))
        yield coarse.resize((width, height), Image.Resampling.BICUBIC)


def _check_equal(comparison: Comparison, tolerance: float) -> None:
    if comparison.largest_difference > tolerance:
        raise ModelError(
            f"the ONNX file answers otherwise than PyTorch: probabilities differ by "
            f"{comparison.largest_difference:.2g} where {tolerance:g} is allowed; nothing was written; try another "
            "opset, or another release of torch"
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
