"""Labels of which some are unknown, completed by the minterms that agree with those that are known.

Labels are taken to be unknown at random: that one is unknown says nothing of its value. Of an image
with known labels k and embedding x, the minterm is then m with probability

    r_m = p(m | k) proportional to pi_m [m agrees with k]                      (expected)
    r_m = p(m | k, x) proportional to pi_m N(x; mu_m, W) [m agrees with k]     (posterior)

and a label is true with the sum of r_m over the minterms that have it. pi_m, mu_m and W are those
of `DiscriminantReadout` with additive means. They follow in closed form from the sums

    n_m = sum_i r_im,    t_m = sum_i r_im x_i,    S_xx = sum_i x_i x_i^T

over the batches so far, each of which counts less by a factor d with every batch that follows. That
is expectation maximization [0] on a stream [1]: r is its E-step, and solving for the model its
M-step.

References:
    [0] Dempster, Laird, Rubin, *Maximum Likelihood from Incomplete Data via the EM Algorithm*,
        Journal of the Royal Statistical Society B, 1977
    [1] Cappe, Moulines, *Online EM Algorithm for Latent Data Models*, Journal of the Royal
        Statistical Society B, 2009, https://arxiv.org/abs/0712.4273
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist

from src.readouts.discriminant import shared_image, solve_minterm_discriminants
from src.readouts.moments import with_constant
from src.subspaces.minterms import MAX_MINTERMS

AVERAGING = 0.95  # d: sums remember about 20 batches, as those of `NuclearDiscriminantLoss`
GOLDEN_RATIO = (1 + 5**0.5) / 2
WARM_UP = 1 / (1 - AVERAGING)  # batches before embeddings have a say


def minterm_posterior(logits: Tensor, labels: Tensor, unknown: Tensor, minterms: Tensor) -> Tensor:
    """Probabilities of the minterms that agree with what is known of each image.

    Args:
        logits: log p(m) or log p(m | x) up to a constant, (M,) or (N, M), finite.
        labels: (N, C), bool.
        unknown: (N, C), bool, true where the label is unknown, whatever it reads.
        minterms: (M, C), bool.

    Returns:
        (N, M), float64, rows summing to 1: p(m | k) or p(m | k, x).

    Raises:
        ValueError: If no minterm agrees with what is known of an image.
    """
    true, false = (labels & ~unknown).double(), (~labels & ~unknown).double()
    table = minterms.double()
    disagreements = true @ (1 - table).T + false @ table.T
    agrees = disagreements == 0
    if not agrees.any(dim=1).all():
        row = labels[~agrees.any(dim=1)][0].int().tolist()
        raise ValueError(f"no minterm agrees with what is known of an image with labels {row}")
    return logits.double().expand_as(agrees).masked_fill(~agrees, -torch.inf).softmax(dim=1)


class LabelCompletion(nn.Module):
    """The probability of every minterm for images of which some labels are unknown.

    What it learned is in buffers, so that training goes on from a checkpoint as it would have.

    Args:
        minterms: (M, C), bool, at most 4,096, one of which agrees with what is known of any image.
        embedding_dim: D.

    Example:
        >>> completion = LabelCompletion(minterms, embedding_dim=64)
        >>> probabilities = completion.posterior(embeddings, labels, unknown)
        >>> completion.update(embeddings, probabilities)
        >>> completed = probabilities @ minterms.double()  # (N, C), labels between 0 and 1
    """

    minterms: Tensor  # (M, C)
    sums: Tensor  # (M, 1 + D), n_m and t_m
    scatter: Tensor  # (D, D), S_xx
    batches: Tensor  # scalar, how many the sums have seen

    def __init__(self, minterms: Tensor, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("minterms", minterms.bool(), persistent=False)
        number = len(minterms) if len(minterms) <= MAX_MINTERMS else 0
        self.register_buffer("sums", torch.zeros(number, 1 + embedding_dim).double())
        self.register_buffer("scatter", torch.zeros(embedding_dim, embedding_dim).double())
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def expected(self, labels: Tensor, unknown: Tensor) -> Tensor:
        """p(m | k) of labels (N, C), unknown where (N, C) says so: (N, M), float64.

        Raises:
            ValueError: If minterms are more than a table holds, or none agrees with an image.
        """
        if len(self.minterms) > MAX_MINTERMS:
            raise ValueError(
                f"some labels are unknown, and {len(self.minterms):,} minterms are more than the "
                f"{MAX_MINTERMS:,} of a table: set module.completion=absent"
            )
        return minterm_posterior(self._prior(), labels, unknown, self.minterms)

    @torch.no_grad()
    def posterior(self, embeddings: Tensor, labels: Tensor, unknown: Tensor) -> Tensor:
        """p(m | k, x), (N, M), as `expected` says it until embeddings (N, D) have a say."""
        if self.batches < WARM_UP:
            return self.expected(labels, unknown)
        counts, sums = self.sums[:, 0], self.sums[:, 1:]
        regressors = with_constant(self.minterms)
        weights, biases = solve_minterm_discriminants(
            regressors.T @ (counts.unsqueeze(1) * regressors),
            regressors.T @ sums,
            self.scatter,
            regressors,
            counts.sum(),
            shrinkage=None,
        )
        logits = embeddings.double() @ weights.T + biases + self._prior()
        return minterm_posterior(logits, labels, unknown, self.minterms)

    @torch.no_grad()
    def update(self, embeddings: Tensor, probabilities: Tensor) -> None:
        """Add a batch of embeddings (N, D) with probabilities of minterms (N, M)."""
        vectors = embeddings.double()
        sums, scatter = probabilities.T @ with_constant(vectors), vectors.T @ vectors
        if dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(scatter)
        self.sums.mul_(AVERAGING).add_(sums)
        self.scatter.mul_(AVERAGING).add_(scatter)
        self.batches += 1

    def _prior(self) -> Tensor:
        """log pi_m up to a constant, (M,); one image more is shared out, as in the readout."""
        counts = self.sums[:, 0]
        if not self.batches:
            return torch.zeros_like(counts)
        part = shared_image(counts, self.minterms)
        return (counts + part).clamp(min=torch.finfo(part.dtype).tiny).log()


def draw_labels(probabilities: Tensor, minterms: Tensor, indices: Tensor) -> Tensor:
    """Draw the labels of each image by the probabilities of its minterm.

    What is fitted on draws has the same sums in expectation as what is fitted on probabilities, and
    needs to know nothing of them. An image's draw is decided by its position alone, the same each
    time and in any number of processes: the multiples of the golden ratio lie evenly in [0, 1) [0].

    Args:
        probabilities: (N, M), rows summing to 1.
        minterms: (M, C), bool.
        indices: (N,), int64, positions of the images in their split.

    Returns:
        (N, C), bool.

    References:
        [0] Knuth, *The Art of Computer Programming*, volume 3, section 6.4, theorem S
    """
    places = (indices.double() * GOLDEN_RATIO).frac().unsqueeze(1)
    ends = probabilities.cumsum(dim=1)
    # Rounding may leave the last end below a place: no minterm of probability 0 is drawn even so
    last = probabilities.shape[1] - 1 - (probabilities.flip(1) > 0).int().argmax(dim=1)
    drawn = torch.searchsorted(ends, places, right=True).squeeze(1)
    return minterms[torch.minimum(drawn, last)]
