"""Head and feature layer of real architectures and of hostile little ones."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision.models as tv
from torch import Tensor, nn

from advcam import AdvCAM, Classifier, GradCAM
from advcam.attribution.response import DenseResponse, GradientResponse, LinearResponse, Response
from advcam.classifiers.layers import LayerResponder, MapResponder
from advcam.errors import LabelError, ModelError


def adapted(make: Callable[[], nn.Module], **options: object) -> Classifier:
    """A network with reproducible random weights, adapted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
    return Classifier.from_module(module, **options)  # type: ignore[arg-type]


def answer(network: Classifier, height: int = 96, width: int = 64) -> Response:
    if network.fixed_size is not None:
        height, width = network.fixed_size
    unit = network.size_multiple
    inputs = torch.rand((2, 3, height // unit * unit, width // unit * unit), generator=torch.Generator().manual_seed(0))
    with network.frozen():
        return network.respond(inputs)


LINEAR: dict[str, tuple[Callable[[], nn.Module], LayerResponder]] = {
    "torchvision resnet18": (
        lambda: tv.resnet18(num_classes=7),
        LayerResponder("layer4", head="fc"),
    ),
    "torchvision densenet121": (
        lambda: tv.densenet121(num_classes=7),
        LayerResponder("features", head="classifier", rectified=True),
    ),
    "torchvision squeezenet": (
        lambda: tv.squeezenet1_1(num_classes=7),
        LayerResponder("classifier.2", head="classifier.1", rectified=False),
    ),
    "torchvision swin_t": (
        lambda: tv.swin_transformer.SwinTransformer(
            patch_size=[4, 4], embed_dim=24, depths=[1, 1], num_heads=[2, 2], window_size=[7, 7], num_classes=7
        ),
        LayerResponder("permute", head="head"),
    ),
    "timm resnet10t": (
        lambda: timm.create_model("resnet10t", num_classes=7),
        LayerResponder("layer4", head="fc"),
    ),
    "timm mean-pooled vit": (
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=7, depth=2, global_pool="avg", class_token=False,
                                  fc_norm=False, dynamic_img_size=True),
        LayerResponder("norm", "tokens", head="head", patch=(16, 16)),
    ),
    "timm swin": (
        lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=7, embed_dim=24, depths=(1, 1),
                                  num_heads=(2, 2), strict_img_size=False),
        LayerResponder("norm", "NHWC", head="head.fc", patch=(1, 1)),
    ),
}
