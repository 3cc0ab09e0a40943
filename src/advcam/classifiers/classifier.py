"""`Classifier`: any image classification network, ready for the methods."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from advcam.attribution.precision import resolve
from advcam.attribution.response import Response
from advcam.classifiers.layers import LayerResponder, all_finite
from advcam.classifiers.names import ClassIndex, imagenet_classes
from advcam.classifiers.prepared import PreparedNetwork, Responder, prepare
from advcam.classifiers.probe import PROBE_SIZES, Probe, find_responder, probe
from advcam.errors import LabelError, ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_CHECK_SIDE = 96  # of the picture on which a prepared copy is held against the network


@dataclass(frozen=True)
class Prediction:
    """A class that the classifier sees in a picture, with its probability (softmax, or sigmoid if multi-label)."""

    class_id: int
    class_name: str
    probability: float


class Classifier:
    """A network, how to read class maps off it, and what its inputs and outputs mean.

    Make one with `advcam.load_classifier` or `Classifier.from_module`.

    Args:
        module: The network.
        responder: Turns (module, inputs) into a `Response`.
        classes: Names of the outputs.
        mean: Of the training pictures, RGB in [0, 1].
        std: Of the training pictures.
        fixed_size: (H, W) if the network takes no other size.
        size_multiple: Height and width of its inputs are multiples of it (patch size of a transformer).
        multi_label: Whether the outputs are independent (sigmoid) or exclude each other (softmax).
        name: For reports.
    """

    def __init__(
        self,
        module: nn.Module,
        responder: Responder,
        classes: ClassIndex,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        fixed_size: tuple[int, int] | None = None,
        size_multiple: int = 1,
        multi_label: bool = False,
        name: str = "",
    ) -> None:
        self.module = module
        self.responder = responder
        self.classes = classes
        self.mean, self.std = tuple(mean), tuple(std)
        self.fixed_size = fixed_size
        self.size_multiple = size_multiple
        self.multi_label = multi_label
        self.name = name or type(module).__name__
        self._prepared: dict[object, PreparedNetwork] = {}
        self._prepared_from: object = None

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        *,
        class_names: Sequence[str] | ClassIndex | None = None,
        feature_layer: str | None = None,
        prefix_tokens: int | None = None,
        responder: Responder | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        multi_label: bool = False,
        name: str = "",
    ) -> "Classifier":
        """Adapt any image classifier; it is run once on a random picture to find its head and features.

        Args:
            module: Takes (N, 3, H, W), returns class scores (N, K) before softmax or sigmoid, or class maps
                (N, K, h, w).
            class_names: Names of the K outputs; None takes the ImageNet names for K = 1000, else "class 0",
                "class 1" ...
            feature_layer: Name of the module whose output the map is made of, as in `module.named_modules()`; None
                finds it.
            prefix_tokens: Number of class and register tokens of a transformer; None reads it from the model.
            responder: For a network with class maps of its own: a function of (module, inputs) to a `Response`.
            mean: Of the inputs; None takes the model's own (timm) or ImageNet's.
            std: As `mean`.
            multi_label: Whether the outputs are independent (sigmoid).
            name: For reports.

        Raises:
            ModelError: NaN in the weights, or no way to run the network or to find its features.
            LabelError: Another number of class names than outputs.
        """
        broken = all_finite(module)
        if broken is not None:
            raise ModelError(
                f"the network holds NaN or infinity in {broken!r}; its training diverged or its file is damaged"
            )
        config = getattr(module, "pretrained_cfg", None) or {}
        with frozen(module):
            seen, fixed_size = _first_answer(module)
            found = responder or find_responder(module, seen, feature_layer, prefix_tokens)
        patch = found.patch if isinstance(found, LayerResponder) else (1, 1)
        return cls(
            module,
            found,
            _class_index(class_names, seen.scores.shape[1]),
            mean=mean or config.get("mean") or IMAGENET_MEAN,
            std=std or config.get("std") or IMAGENET_STD,
            fixed_size=fixed_size,
            size_multiple=max(patch),
            multi_label=multi_label,
            name=name,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.classes.names

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return _like(self.module).device

    def to(self, device: str | torch.device) -> "Classifier":
        """Move the network; returns itself."""
        self.module.to(device)
        return self

    def class_id(self, label: str | int) -> int:
        """Number of a class given by name, synonym or number.

        Raises:
            LabelError: No such class; the nearest names are suggested.
        """
        return self.classes.find(label)

    def normalise(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1], (..., 3, H, W), to network inputs on the network's device, in its dtype or float32."""
        like = _like(self.module)
        mean, std = (pictures.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        dtype = torch.promote_types(like.dtype, torch.float32)  # a climb adds up steps that half precision loses
        return ((pictures - mean) / std).to(like.device, dtype)

    def denormalise(self, inputs: Tensor) -> Tensor:
        """Network inputs (..., 3, H, W) to RGB in [0, 1]; perturbed ones may leave that range."""
        mean, std = (inputs.new_tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return inputs * std + mean

    def respond(self, inputs: Tensor) -> Response:
        """The answer to normalised pictures (B, 3, H, W); see `advcam.attribution.response`.

        Convolutions on the CPU take half the time on channels-last memory; the values differ by rounding only.
        """
        return self.responder(self.module, inputs.to(_like(self.module).dtype, memory_format=torch.channels_last))

    def precision(self, choice: str, exact: bool = False) -> str:
        """The number format that a choice means for this network, such as "bfloat16".

        Args:
            choice: "auto" (what the device computes fastest), "float64", "float32", "bfloat16" or "float16".
            exact: "auto" is the format of the weights.

        Raises:
            SettingError: Another choice.
        """
        return str(resolve(choice, _like(self.module), exact)).removeprefix("torch.")

    def prepared(self, precision: str = "auto", *, exact: bool = False, compiled: bool = False) -> PreparedNetwork:
        """The network ready to be run many times: a copy for each set of wishes, kept until weights or device change.

        Args:
            precision: See `precision`.
            exact: Leave batch normalisations where they are: folded ones differ by rounding.
            compiled: With torch.compile (and CUDA graphs).

        Raises:
            SettingError: An unknown precision.
        """
        dtype = resolve(precision, _like(self.module), exact)
        state = (self.responder, *map(id, self.module.modules()), *map(_state, _tensors(self.module)))
        if self._prepared_from != state:
            self._prepared, self._prepared_from = {}, state
        key = (dtype, exact, compiled)
        if key not in self._prepared:
            size = self.fixed_size or (max(1, _CHECK_SIDE // self.size_multiple) * self.size_multiple,) * 2
            with torch.inference_mode(False):  # a copy made in that mode could not be climbed on later
                made = prepare(self.module, self.responder, dtype, size, exact=exact, compiled=compiled)
            self._prepared[key] = made
        return self._prepared[key]

    def frozen(self) -> AbstractContextManager[None]:
        """Evaluation mode and no parameter gradients while it lasts; the former state afterwards."""
        return frozen(self.module)

    def predict(self, picture: Image.Image, top: int = 5) -> list[Prediction]:
        """The most probable classes of one picture, the best first.

        Args:
            picture: Any size; seen with its shorter side at 256 pixels (or at the network's fixed size).
            top: How many.

        Raises:
            ModelError: The network answers NaN or infinity.
        """
        rgb = picture.convert("RGB")
        factor = 256 / min(rgb.size)
        unit = self.size_multiple
        width, height = (max(unit, round(side * factor / unit) * unit) for side in rgb.size)
        if self.fixed_size is not None:
            height, width = self.fixed_size
        resized = rgb.resize((width, height), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad(), self.frozen():
            scores = self.respond(self.normalise(pixels)).scores[0].float()
        if not torch.isfinite(scores).all():
            raise ModelError(
                "the classifier answers NaN or infinity for this picture; check its weights and input range"
            )
        best = (scores.sigmoid() if self.multi_label else scores.softmax(dim=0)).topk(min(top, len(scores)))
        return [
            Prediction(class_id, self.class_names[class_id], value)
            for value, class_id in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def describe(self) -> dict[str, str]:
        """What was found, for people: network, classes, feature layer, kind of class map."""
        facts = {
            "network": self.name,
            "classes": str(len(self.class_names)),
            "class map": "the network's own",
        }
        if isinstance(self.responder, LayerResponder):
            linear = self.responder.head is not None
            facts["class map"] = "linear, W f" if linear else "gradient-weighted features"
            facts["feature layer"] = self.responder.layer
            facts["head"] = self.responder.head or "not linear in the mean of the features"
        facts["input"] = "any size" if self.fixed_size is None else f"{self.fixed_size[0]} x {self.fixed_size[1]}"
        return facts

    def fingerprint(self) -> str:
        """SHA-256 of weights, class names and normalisation: equal where two runs used the same classifier."""
        digest = hashlib.sha256(repr((self.mean, self.std, self.class_names, self.responder)).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients while it lasts; the former state of each afterwards."""
    training = [(layer, layer.training) for layer in module.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.eval()
        module.requires_grad_(False)
        yield
    finally:
        for layer, mode in training:
            layer.training = mode
        for parameter, required in trainable:
            parameter.requires_grad_(required)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _state(tensor: Tensor) -> tuple[object, ...]:
    """Changes with the values of a tensor: its place, how often it was written to, and its first value.

    The value is there for what writes through `.data`, as moving averages of weights do, and is not counted.
    """
    first = tensor.detach()[(0,) * tensor.ndim].item() if tensor.numel() else None
    written = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.device, tensor.dtype, written, first


def _like(module: nn.Module) -> Tensor:
    """A tensor with the network's device and floating dtype."""
    for tensor in _tensors(module):
        if tensor.is_floating_point():
            return tensor
    return torch.zeros(())


def _first_answer(module: nn.Module) -> tuple[Probe, tuple[int, int] | None]:
    """Probe at free sizes; if the network refuses all of them, at the one size it states."""
    like = _like(module)
    problem: Exception | None = None
    for size in PROBE_SIZES:
        try:
            return probe(module, size, like), None
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
            problem = error
            if isinstance(error, ModelError):
                raise
    fixed = _stated_size(module)
    try:
        return probe(module, fixed, like), fixed
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        raise ModelError(
            f"the network could not be run on a picture (1, 3, {fixed[0]}, {fixed[1]}): {_last_line(error)}"
        ) from problem


def _stated_size(module: nn.Module) -> tuple[int, int]:
    """(H, W) as the model, its configuration or its patch embedding states it; else what it was trained on, or 224."""
    for owner in module.modules():
        for holder in (owner, getattr(owner, "config", None)):
            stated = getattr(holder, "image_size", None) or getattr(holder, "img_size", None)
            if isinstance(stated, int):
                return stated, stated
            if isinstance(stated, tuple | list) and len(stated) == 2:
                return int(stated[0]), int(stated[1])
    config = getattr(module, "pretrained_cfg", None) or {}
    height, width = config.get("input_size", (3, 224, 224))[-2:]
    return int(height), int(width)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _class_index(class_names: Sequence[str] | ClassIndex | None, count: int) -> ClassIndex:
    if class_names is None:
        return imagenet_classes() if count == 1000 else ClassIndex([f"class {k}" for k in range(count)])
    index = class_names if isinstance(class_names, ClassIndex) else ClassIndex(class_names)
    if len(index.names) != count:
        raise LabelError(f"the network has {count} outputs, but {len(index.names)} class names were given")
    return index
