"""The three networks of the WSOL evaluation: VGG-16, ResNet-50 and Inception-V3, changed so that their maps are finer.

Choe, Oh, Lee, Chun, Akata, Shim, "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020 (code:
clovaai/wsolevaluation). Layers carry the names of that code, and those of torchvision where they are ImageNet's, so
that weights files of both fit. Maps have a stride of 16 pixels, or of 8 for the "large feature map" of the paper: for
pictures of 224 x 224 they are 14 x 14 or 28 x 28. New layers are initialised as PyTorch does it, where that code takes
He's or Glorot's rule.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.inception import InceptionB

from advcam.errors import ModelError


class WsolVGG16(nn.Module):
    """VGG-16 without its last pooling and its fully connected layers; 3x3 convolution, ReLU, mean, linear.

    The class map is W f of the last ReLU.

    Args:
        num_classes: K.
        stride: 16, or 8 without the fourth pooling (published: 16).
    """

    #: Layers that ImageNet weights do not have: their learning rate is ten times that of the others.
    new_layers: ClassVar[tuple[str, ...]] = ("conv6", "fc")

    def __init__(self, num_classes: int = 1000, stride: int = 16) -> None:
        super().__init__()
        layers = list(torchvision.models.vgg16(weights=None).features)[:-1]
        if stride == 8:
            layers[23] = nn.Identity()  # in its place, so that the layers behind it keep their names
        self.features = nn.Sequential(*layers)
        self.conv6 = nn.Conv2d(512, 1024, kernel_size=3, padding=1)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (N, K) of pictures (N, 3, H, W)."""
        features = self.relu(self.conv6(self.features(pictures)))
        scores: Tensor = self.fc(self.avgpool(features).flatten(1))
        return scores


class WsolResNet50(nn.Module):
    """ResNet-50 whose last stage, and with a stride of 8 the one before it, keeps the resolution; nothing is dilated.

    The class map is W f of the last stage.

    Args:
        num_classes: K.
        stride: 16 or 8 (published: 8).
    """

    #: Layers with ten times the learning rate of the others; the published code counts the last stage among them.
    new_layers: ClassVar[tuple[str, ...]] = ("layer4", "fc")

    def __init__(self, num_classes: int = 1000, stride: int = 8) -> None:
        super().__init__()
        network = torchvision.models.resnet50(weights=None, num_classes=num_classes)
        for stage in (network.layer3, network.layer4) if stride == 8 else (network.layer4,):
            stage[0].conv2.stride = stage[0].downsample[0].stride = (1, 1)
        for name, child in network.named_children():
            self.add_module(name, child)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (N, K) of pictures (N, 3, H, W)."""
        features = pictures
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            features = self.get_submodule(name)(features)
        scores: Tensor = self.get_submodule("fc")(self.get_submodule("avgpool")(features).flatten(1))
        return scores


class WsolInceptionV3(nn.Module):
    """Inception-V3 up to Mixed_6e, two 3x3 convolutions and a 1x1 convolution to class maps; their mean is the score.

    Args:
        num_classes: K.
        stride: 8, or 16 by a pooling before Mixed_6a (published: 8).
    """

    #: Layers that ImageNet weights do not have: their learning rate is ten times that of the others.
    new_layers: ClassVar[tuple[str, ...]] = ("SPG_A3_1b", "SPG_A3_2b", "SPG_A4")
    _STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", None, "Conv2d_3b_1x1", "Conv2d_4a_3x3", None)
    _MIXED = ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e")

    def __init__(self, num_classes: int = 1000, stride: int = 8) -> None:
        super().__init__()
        self.stride = stride
        network = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
        network.Conv2d_1a_3x3.conv.padding = (1, 1)
        network.Mixed_6a = _EvenInceptionB(288)
        for name in (*self._STEM, *self._MIXED):
            if name is not None:
                self.add_module(name, network.get_submodule(name))
        self.SPG_A3_1b = nn.Sequential(nn.Conv2d(768, 1024, 3, padding=1), nn.ReLU())
        self.SPG_A3_2b = nn.Sequential(nn.Conv2d(1024, 1024, 3, padding=1), nn.ReLU())
        self.SPG_A4 = nn.Conv2d(1024, num_classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Class maps (N, K, h, w) of pictures (N, 3, H, W)."""
        features = pictures
        for name in self._STEM:
            if name is None:
                features = functional.max_pool2d(features, kernel_size=3, stride=2, padding=1, ceil_mode=True)
            else:
                features = self.get_submodule(name)(features)
        for name in self._MIXED:
            if name == "Mixed_6a" and self.stride == 16:
                features = functional.max_pool2d(features, kernel_size=3, stride=2, ceil_mode=True)
            features = self.get_submodule(name)(features)
        for layer in (self.SPG_A3_1b, self.SPG_A3_2b, self.SPG_A4):
            features = layer(functional.dropout(features, 0.5, self.training))
        return features


class _EvenInceptionB(InceptionB):  # type: ignore[misc]
    """Mixed_6a at a stride of 1: as large as its input."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for layer in (self.branch3x3.conv, self.branch3x3dbl_3.conv):
            layer.stride, layer.padding = (1, 1), (1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, F, h, w) to (N, F + 480, h, w)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        pooled = functional.max_pool2d(features, kernel_size=3, stride=1, padding=1)
        return torch.cat([self.branch3x3(features), double, pooled], dim=1)


#: The networks by name, and the stride of their published maps.
WSOL_NETWORKS: dict[str, tuple[Callable[[int, int], nn.Module], int]] = {
    "wsol/vgg16": (WsolVGG16, 16),
    "wsol/resnet50": (WsolResNet50, 8),
    "wsol/inception_v3": (WsolInceptionV3, 8),
}


def build_wsol(name: str, num_classes: int, output_stride: int | None = None) -> nn.Module:
    """One of the three networks, without weights.

    Args:
        name: Of `WSOL_NETWORKS`.
        num_classes: K.
        output_stride: 8 or 16; None takes the published one.

    Raises:
        ModelError: Another name or stride.
    """
    if name not in WSOL_NETWORKS:
        raise ModelError(f"no localization network is called {name!r}; they are {', '.join(WSOL_NETWORKS)}")
    network, published = WSOL_NETWORKS[name]
    if output_stride not in (None, 8, 16):
        raise ModelError(f"{name} has an output stride of 8 or 16 (published: {published}); got {output_stride}")
    return network(num_classes, output_stride or published)
