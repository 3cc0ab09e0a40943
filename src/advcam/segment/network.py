"""Segmentation networks: a pretrained backbone, and a head that makes class scores of its features.

"deeplabv2" is the paper's head (Chen et al., TPAMI 2018), ours over any backbone of timm. "smp/<architecture>" is one
of segmentation-models-pytorch (U-Net, DeepLabV3+, ...) over the same backbones with the same weights.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from advcam.classifiers.catalogue import EMBEDDED
from advcam.errors import ModelError, SettingError, WeightsError, one_line
from advcam.training.augment import Normalisation
from advcam.training.network import StartingPoint, choose_trained, starting_point
from advcam.training.schedule import Group

#: Atrous rates of the four branches at stride 8 (Chen et al., TPAMI 2018: ASPP-L).
_RATES = (6, 12, 18, 24)
#: Heads of segmentation-models-pytorch whose backbone can be dilated, and the stride that inputs of the others fit.
_DILATED, _LARGEST_STRIDE = ("deeplabv3", "deeplabv3plus"), 32
#: DPT stands on vision transformers alone. PAN halves features of stride 16 three times more.
_TRANSFORMERS, _SMALLEST = ("dpt",), {"pan": 128}
#: Heads of our own.
_OWN = ("deeplabv2", "linear")
_DEFAULT_STRIDE: Literal[16] = 16
#: Side of the picture that tells the shape of a backbone's features.
_PROBE = 64


class NetworkSettings(BaseModel):
    """Which network is trained.

    Args:
        head: "deeplabv2"; "linear", a 1x1 convolution of the same features, which has a 36th of the weights and suits
            hundreds of masks; or "smp/unet", "smp/deeplabv3plus" .. of segmentation-models-pytorch.
        model: The backbone: "lite0", "lite1" or "lite2" with their ImageNet weights, or any convolutional network of
            timm.
        weights: Pretrained weights of the backbone with any number of classes, such as those of a classifier that
            `advcam train` left; "random"; or None for the embedded ones.
        output_stride: Of the features: 8 is finer, 16 is three times faster; None takes 16 where the head can choose.
        trained: "all", "last" (the last third of the backbone's stages and the head) or "head".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: str = "deeplabv2"
    model: str = "lite0"
    weights: Path | Literal["random"] | None = None
    output_stride: Literal[8, 16] | None = None
    trained: Literal["head", "last", "all"] = "all"

    @property
    def stride(self) -> Literal[8, 16] | None:
        """The output stride that the backbone is built with; None: its own."""
        return self.output_stride or (_DEFAULT_STRIDE if self.dilates else None)

    @property
    def dilates(self) -> bool:
        """Whether the head can stand on features of either output stride."""
        return self.head in _OWN or self.head.removeprefix("smp/") in _DILATED


class SegmentationNetwork(nn.Module, ABC):
    """A network that scores C classes at each place, class 0 being the background.

    Args:
        encoder: The pretrained part.
        num_classes: C.
        normalisation: Of the inputs.
        feature_channels: Of the features of `encode`.
        multiple: Inputs of `encode` need sides that this divides.
        smallest: Inputs of `encode` need sides of at least this.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        normalisation: Normalisation,
        feature_channels: tuple[int, ...],
        multiple: int = 1,
        smallest: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_classes, self.normalisation = num_classes, normalisation
        self.feature_channels, self.multiple, self.smallest = feature_channels, multiple, smallest

    @abstractmethod
    def encode(self, inputs: Tensor) -> list[Tensor]:
        """Features of normalised pictures (N, 3, H, W), from fine to coarse; the last one is the deepest."""

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Scores before softmax, (N, C, h, w), of the features of `encode`."""

    @abstractmethod
    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters of what starts at random."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores before softmax, (N, C, h, w), of normalised pictures (N, 3, H, W) of any size.

        They cover the picture: enlarging them to (H, W) puts each where it belongs.
        """
        height, width = inputs.shape[-2:]
        right, below = (
            -max(side, self.smallest) % self.multiple + max(0, self.smallest - side) for side in (width, height)
        )
        if not (right or below):
            return self.decode(self.encode(inputs))
        padded = functional.pad(inputs, (0, right, 0, below))  # zeros: the mean colour
        scores = self.decode(self.encode(padded))
        full = functional.interpolate(scores, size=padded.shape[-2:], mode="bilinear", align_corners=False)
        return full[..., :height, :width]

    def parameter_groups(self, lr: float, multiplier: float, weight_decay: float) -> list[Group]:
        """Groups for an optimiser, without parameters that are not trained.

        Args:
            lr: Learning rate of the backbone.
            multiplier: Of the head's weights, times that; its biases have twice as much and no weight decay (DeepLab).
            weight_decay: Of all else.
        """
        head = dict(self.head_parameters())
        inside = {id(parameter) for parameter in head.values()}
        backbone = [p for p in self.parameters() if p.requires_grad and id(p) not in inside]
        weights = [p for name, p in head.items() if not name.endswith("bias")]
        biases = [p for name, p in head.items() if name.endswith("bias")]
        groups: list[Group] = [
            {"params": backbone, "lr": lr, "weight_decay": weight_decay, "multiplier": 1.0},
            {"params": weights, "lr": lr * multiplier, "weight_decay": weight_decay, "multiplier": multiplier},
            {"params": biases, "lr": lr * 2 * multiplier, "weight_decay": 0.0, "multiplier": 2 * multiplier},
        ]
        return [group for group in groups if group["params"]]


class DeepLabV2(SegmentationNetwork):
    """Convolutions on the deepest features, summed.

    DeepLabV2 has four atrous ones (Chen et al., TPAMI 2018, ASPP-L). The rates are 6, 12, 18 and 24 at stride 8 and
    half of them at stride 16, so that they reach as far in the picture. Weights start from a normal distribution of
    standard deviation 0.01, biases at 0.

    Args:
        start: The backbone.
        num_classes: C.
        stride: Of its deepest features.
        linear: One 1x1 convolution in place of the four.
    """

    def __init__(self, start: StartingPoint, num_classes: int, stride: Literal[8, 16], linear: bool = False) -> None:
        channels = _feature_channels(start.network)
        super().__init__(start.network, num_classes, start.normalisation, (channels,))
        rates = [rate * 8 // stride for rate in _RATES]
        atrous = (nn.Conv2d(channels, num_classes, kernel_size=3, padding=rate, dilation=rate) for rate in rates)
        self.head = nn.ModuleList([nn.Conv2d(channels, num_classes, kernel_size=1)] if linear else atrous)
        for name, parameter in self.head.named_parameters():
            nn.init.normal_(parameter, std=0.0 if name.endswith("bias") else 0.01)

    def encode(self, inputs: Tensor) -> list[Tensor]:
        """The deepest features alone, those that the classifier stood on."""
        backbone: Any = self.encoder
        return [backbone.forward_features(inputs)]

    def decode(self, features: list[Tensor]) -> Tensor:
        """The sum of the branches."""
        first, *others = self.head
        scores: Tensor = first(features[-1])
        for branch in others:
            scores = scores + branch(features[-1])
        return scores

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The convolutions."""
        return self.head.named_parameters()


class SmpNetwork(SegmentationNetwork):
    """An architecture of segmentation-models-pytorch.

    Args:
        module: The network, its backbone filled.
        num_classes: C.
        normalisation: Of the inputs.
        smallest: Least side of the inputs of `encode`.
    """

    def __init__(self, module: Any, num_classes: int, normalisation: Normalisation, smallest: int) -> None:  # noqa: ANN401
        channels = tuple(int(count) for count in module.encoder.out_channels)
        super().__init__(module.encoder, num_classes, normalisation, channels, _LARGEST_STRIDE, smallest)
        self.decoder, self.head = module.decoder, module.segmentation_head

    def encode(self, inputs: Tensor) -> list[Tensor]:
        """The picture itself, and the features of each stage."""
        features: list[Tensor] = self.encoder(inputs)
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """Scores at the size of the picture."""
        scores: Tensor = self.head(self.decoder(features))
        return scores

    def head_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Decoder and head."""
        yield from self.decoder.named_parameters()
        yield from self.head.named_parameters()


def create_network(settings: NetworkSettings, num_classes: int, seed: int = 0) -> SegmentationNetwork:
    """A network before its training.

    Args:
        settings: Which one.
        num_classes: C, background counted.
        seed: Of what starts at random.

    Raises:
        ModelError: There is no such head or backbone, or they do not go together.
        WeightsError: No weights, or a file that is not of this backbone.
        SettingError: segmentation-models-pytorch is needed and not installed.
    """
    if settings.head not in _OWN and not settings.head.startswith("smp/"):
        raise ModelError(f"no head is called {settings.head!r}; take deeplabv2, linear, smp/unet, smp/deeplabv3plus ..")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        stride = settings.stride
        if settings.head in _OWN:
            start = starting_point(settings.model, 1, settings.weights, stride, seed)
            choose_trained(start, settings.trained, frozen_stem=True)
            network: SegmentationNetwork = DeepLabV2(
                start, num_classes, stride or _DEFAULT_STRIDE, linear=settings.head == "linear"
            )
        else:
            start = starting_point(settings.model, 1, settings.weights, None, seed)
            choose_trained(start, settings.trained, frozen_stem=True)
            smallest = _SMALLEST.get(settings.head.removeprefix("smp/"), 1)
            network = SmpNetwork(_smp(settings, num_classes, start), num_classes, start.normalisation, smallest)
    return network.to(memory_format=torch.channels_last)


def _smp(settings: NetworkSettings, num_classes: int, start: StartingPoint) -> nn.Module:
    """A network of segmentation-models-pytorch whose backbone has the weights of another."""
    try:
        import segmentation_models_pytorch as smp  # optional
    except ModuleNotFoundError as error:
        raise SettingError(
            f"{settings.head} needs segmentation-models-pytorch; run: pip install 'advcam[smp]', or take deeplabv2"
        ) from error
    architecture = settings.head.removeprefix("smp/")
    known = [name for name in smp.MODEL_ARCHITECTURES_MAPPING if name not in _TRANSFORMERS]
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=1)
        hint = f"did you mean smp/{near[0]}? " if near else ""
        raise ModelError(f"there is no head {settings.head}; {hint}take one of smp/{', smp/'.join(known)}")
    if settings.output_stride is not None and not settings.dilates:
        choosing = ", ".join([*_OWN, *(f"smp/{name}" for name in _DILATED)])
        raise ModelError(
            f"{settings.head} has an output stride of its own; leave output_stride out, or take {choosing}"
        )
    timm_name = EMBEDDED[settings.model].timm_name if settings.model in EMBEDDED else settings.model
    options = {} if settings.stride is None else {"encoder_output_stride": settings.stride}
    try:
        module: nn.Module = smp.create_model(
            architecture, encoder_name=f"tu-{timm_name}", encoder_weights=None, classes=num_classes, **options
        )
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError, AssertionError) as error:
        raise ModelError(
            f"{settings.head} cannot be built on {settings.model} ({one_line(error)}); take another backbone, such as "
            "lite0 or resnet50, or deeplabv2"
        ) from error
    _copy(start.network, module.get_submodule("encoder.model"), settings.model)
    return module


def _copy(source: nn.Module, target: nn.Module, model: str) -> None:
    """Weights of a classifier, and which of them are trained, into the same network built for its features.

    timm calls layers "stages_0" in the one and "stages.0" in the other.
    """

    def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace(".", "_"): tensor for name, tensor in tensors.items()}

    weights = plain(source.state_dict())
    lacking = [name for name in target.state_dict() if name.replace(".", "_") not in weights]
    if lacking:
        raise WeightsError(f"{model} does not fit its own features: {lacking[0]} is not there; take another backbone")
    target.load_state_dict({name: weights[name.replace(".", "_")] for name in target.state_dict()})
    trained = {name.replace(".", "_"): p.requires_grad for name, p in source.named_parameters()}
    for name, parameter in target.named_parameters():
        parameter.requires_grad_(trained[name.replace(".", "_")])


def _feature_channels(backbone: Any) -> int:  # noqa: ANN401, any network of timm
    """Channels of the features of a backbone, whose classifier is removed: it would be saved and never be trained."""
    name = type(backbone).__name__
    if not hasattr(backbone, "forward_features") or not hasattr(backbone, "reset_classifier"):
        raise ModelError(
            f"DeepLabV2 stands on a network of timm, and {name} is none; take one such as resnet50, or lite0"
        )
    backbone.reset_classifier(0)
    with torch.no_grad():
        features = backbone.eval().forward_features(torch.zeros((1, 3, _PROBE, _PROBE)))
    if features.ndim != 4 or features.shape[2] != features.shape[3]:
        raise ModelError(
            f"DeepLabV2 stands on features (N, C, h, w); those of {name} are of shape {tuple(features.shape)}; take a "
            "convolutional network such as resnet50, or lite0"
        )
    return int(features.shape[1])
