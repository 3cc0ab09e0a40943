"""A small network with batch normalisation, and what may be asked of a network and of its prepared copy."""

import warnings

import torch
from torch import Tensor, nn

from advcam import Classifier
from advcam.classifiers.prepared import PreparedNetwork

CLASSES = 3


def normalised(channels: int, generator: torch.Generator) -> nn.BatchNorm2d:
    """Statistics, scales and offsets far from those of a fresh layer."""
    layer = nn.BatchNorm2d(channels)
    nn.init.normal_(layer.weight, 1.0, 0.4, generator=generator)
    nn.init.normal_(layer.bias, 0.0, 0.5, generator=generator)
    nn.init.normal_(layer.running_mean, 0.0, 0.5, generator=generator)
    nn.init.uniform_(layer.running_var, 0.1, 2.0, generator=generator)
    return layer


class Network(nn.Module):
    """Convolution, normalisation, activation, twice; global average pooling; a linear head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
                normalised(16, generator),
                nn.ReLU(),
                nn.Conv2d(16, 24, 3, stride=2, padding=1),
                normalised(24, generator),
                nn.ReLU(),
            )
            self.head = nn.Linear(24, CLASSES)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def noise(rows: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(rows, 3, 40, 48, generator=torch.Generator().manual_seed(seed))


def answers(network: PreparedNetwork | Classifier, inputs: Tensor, label: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, signed class maps, and the gradient of a score at the pictures."""
    inputs = inputs.clone().requires_grad_()
    response = network.respond(inputs)
    maps = response.class_map(torch.full((len(inputs),), label))
    (gradient,) = torch.autograd.grad(response.scores[:, label].sum(), inputs)
    return response.scores.detach(), maps.detach(), gradient


def same_answers(network: PreparedNetwork, classifier: Classifier, tolerance: float = 1e-5) -> None:
    for label in range(CLASSES):
        pairs = zip(answers(network, noise(), label), answers(classifier, noise(), label), strict=True)
        for ours, theirs in pairs:
            assert theirs.abs().max() > 0
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.double().flatten(), b.double().flatten()]))[0, 1])


def warned(classifier: Classifier, precision: str) -> tuple[PreparedNetwork, str]:
    """The prepared network and the text of the one warning that came with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = classifier.prepared(precision)
    (warning,) = caught
    assert warning.category is RuntimeWarning
    return network, str(warning.message)
