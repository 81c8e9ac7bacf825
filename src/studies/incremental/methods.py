"""Second phases, all on the same new images and nothing else, except for the memory.

**Fine-tuning.** The first phase goes on, by cross-entropy or by the nuclear norm, on all weights.

**Split**, after the authors' notebook [0]. With F the frozen directions of old minterms and P the
projector onto their span, the loss sees [F x; ||(I - P) x||] in place of an embedding x. The
notebook takes the root of the plain sum of coordinates in the complement, which is NaN wherever
that is negative; here it is the norm.

**Memory.** The rows of the square root of the Gram matrix of [Y; H] (see
`src.studies.incremental.memory`) go into the loss as pseudo-samples beside the new images: exactly
the loss with all old images, of which none is kept. Directions of old classes follow W as well:
they are those of the class means, which the same matrix holds. Cross-entropy does not depend on
data by a Gram matrix. It gets the same frozen features and the same numbers, and draws features of
old classes from them: normal, with the means of the classes and one covariance within them.

References:
    [0] https://github.com/gabmoreira/subspaces, experiments_incremental.ipynb at revision 60710e2
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.losses.nuclear import NuclearNormLoss
from src.studies.incremental.learner import Data, Learner, Loss
from src.studies.incremental.memory import Memory, freeze_trunk
from src.subspaces.projectors import span_projectors

# Called before the second phase with the learner, the images of both phases, the nuclear norm and
# the batch size; returns the data as the learner takes them, and the loss of the phase.
SecondPhase = Callable[[Learner, Data, NuclearNormLoss, int], tuple[Data, Loss]]


def split_embeddings(embeddings: Tensor, directions: Tensor) -> Tensor:
    """Embeddings as coordinates along directions, and the norm of what is orthogonal to them all.

    Args:
        embeddings: (N, D).
        directions: (k, D), unit rows.

    Returns:
        (N, k + 1).
    """
    directions = directions.to(embeddings)
    everything = torch.ones(1, len(directions), device=directions.device)
    across = embeddings - embeddings @ span_projectors(directions, everything)[0]
    norms = torch.linalg.vector_norm(across, dim=1, keepdim=True)
    return torch.cat([embeddings @ directions.T, norms], dim=1)


def fine_tune_cross_entropy(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    return data, cross_entropy


def fine_tune_nuclear(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    return data, loss


def split_nuclear(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    assert learner.subspaces is not None
    frozen = learner.subspaces.directions[learner.subspaces.counts > 0]
    return data, lambda outputs, labels: loss(split_embeddings(outputs, frozen), labels)


def cross_entropy_with_memory(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    features = freeze_trunk(learner, data)
    memory = Memory(features.old)

    def with_memory(outputs: Tensor, labels: Tensor) -> Tensor:
        drawn = memory.draw(len(labels))
        old_outputs = learner.network(drawn.inputs.to(outputs))
        return cross_entropy(
            torch.cat([outputs, old_outputs]), torch.cat([labels, drawn.labels.to(outputs)])
        )

    return features, with_memory


def nuclear_with_memory(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    features = freeze_trunk(learner, data)
    memory = Memory(features.old)
    learner.old_means = memory.means.float()
    old = memory.pseudo_samples(batch_size)

    def with_memory(outputs: Tensor, labels: Tensor) -> Tensor:
        old_outputs = learner.network(old.inputs.to(outputs))
        return loss(torch.cat([outputs, old_outputs]), torch.cat([labels, old.labels.to(outputs)]))

    return features, with_memory


# By the loss of the first phase.
SECOND_PHASES: dict[str, dict[str, SecondPhase]] = {
    "cross-entropy": {
        "cross-entropy": fine_tune_cross_entropy,
        "cross-entropy, memory": cross_entropy_with_memory,
    },
    "nuclear norm": {
        "nuclear norm": fine_tune_nuclear,
        "nuclear norm, split as published": split_nuclear,
        "nuclear norm, memory": nuclear_with_memory,
    },
}
