"""Batch normalisation folded into convolutions: the same function, with fewer layers."""

import timm
import torch
from torch import nn

from advcam.classifiers.folding import fold_batch_norm


def randomised(module: nn.Module) -> nn.Module:
    """Statistics and scales that are far from those of a fresh network."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator))
            layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.1)
            nn.init.normal_(layer.weight, 1.0, 0.3, generator=generator)
            nn.init.normal_(layer.bias, 0.0, 0.3, generator=generator)
    return module.eval()


def test_one_pair_by_hand() -> None:
    # y = 2 (3 x + 1 - 4) / sqrt(0.24 + 0.01) + 5 = 12 x - 7
    pair = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.01)).eval()
    for tensor, value in ((pair[0].weight, 3.0), (pair[0].bias, 1.0), (pair[1].weight, 2.0), (pair[1].bias, 5.0)):
        nn.init.constant_(tensor, value)
    pair[1].running_mean.fill_(4.0)
    pair[1].running_var.fill_(0.24)
    assert fold_batch_norm(pair) == 1
    assert torch.allclose(pair[0].weight.flatten(), torch.tensor([12.0]))
    assert torch.allclose(pair[0].bias, torch.tensor([-7.0]))
    assert isinstance(pair[1], nn.Identity)


def test_a_whole_network_answers_as_before_in_value_and_gradient() -> None:
    network = randomised(timm.create_model("tf_efficientnet_lite0", num_classes=7)).double()
    inputs = torch.randn(2, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    expected = network(inputs)
    (gradient,) = torch.autograd.grad(expected[:, 3].sum(), inputs)
    assert fold_batch_norm(network) == 49
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    folded = network(inputs)
    (again,) = torch.autograd.grad(folded[:, 3].sum(), inputs)
    assert torch.allclose(folded, expected, atol=1e-10)
    assert torch.allclose(again, gradient, atol=1e-10)


def test_what_does_not_follow_a_fitting_convolution_stays() -> None:
    alone = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    without_statistics = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    other_width = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(8))
    assert [fold_batch_norm(m) for m in (alone, without_statistics, other_width)] == [0, 0, 0]
