"""Old samples kept as one matrix, with all layers of the network but the last frozen.

The nuclear-norm loss depends on data only by the Gram matrix of [Y; X]. With all but the last layer
frozen, X = W H is linear in the features H, so that the Gram matrix of all old images follows for
any W from that of [Y; H], of (C + F)^2 numbers.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from src.studies.incremental.learner import Data, Learner, Samples, evaluate


class Memory:
    """The mean outer product of [labels; features] with itself, over old samples.

    Args:
        samples: Features (N, F) with their labels (N, C).
    """

    def __init__(self, samples: Samples) -> None:
        self.num_classes = samples.labels.shape[1]
        stacked = torch.cat([samples.labels, samples.inputs], dim=1).double()
        self.gram = stacked.T @ stacked / len(stacked)  # (C + F, C + F)
        shares = self.gram.diagonal()[: self.num_classes]
        self.classes = shares.nonzero().flatten()
        sums = self.gram[self.classes, self.num_classes :]
        self.means = sums / shares[self.classes].unsqueeze(1)  # (k, F)
        moments = self.gram[self.num_classes :, self.num_classes :]
        self.spread = square_root(moments - sums.T @ self.means)

    def pseudo_samples(self, number: int) -> Samples:
        """C + F samples with the Gram matrix of `number` old ones; their labels are any numbers."""
        rows = square_root(number * self.gram).float()
        labels, features = rows.tensor_split([self.num_classes], dim=1)
        return Samples(features, labels)

    def draw(self, number: int) -> Samples:
        """Draw features, normal around the means of classes, from PyTorch's global generator."""
        drawn = torch.randint(len(self.classes), (number,))
        noise = torch.randn(number, len(self.spread)).double() @ self.spread
        labels = one_hot(self.classes[drawn], self.num_classes)
        return Samples((self.means[drawn] + noise).float(), labels.float())


def square_root(matrix: Tensor) -> Tensor:
    """A root R with R^T R = matrix, (n, n) and positive semidefinite."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()).T


def freeze_trunk(learner: Learner, data: Data) -> Data:
    """Leave a learner only its last layer, and turn images into the features that it takes.

    Returns:
        Features (N, F + 1) in place of images; the last is 1, so that the layer has no bias.
    """
    *layers, last = learner.network
    assert isinstance(last, nn.Linear)
    trunk = nn.Sequential(*layers)
    joined = nn.Linear(last.in_features + 1, last.out_features, bias=False)
    with torch.no_grad():
        joined.weight.copy_(torch.cat([last.weight, last.bias.unsqueeze(1)], dim=1))
    learner.network = nn.Sequential(joined)

    def features(samples: Samples) -> Samples:
        found = evaluate(trunk, samples.inputs)
        return Samples(pad(found, (0, 1), value=1.0), samples.labels)

    return Data(*map(features, data))
