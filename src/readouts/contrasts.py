"""Vectors by whose inner products with embeddings the answers of a proposition are found.

Where log p(m | x) = w_m . x + b_m + const, the constant is another one for every x, so that the
inner product with w_m alone orders nothing. That with a difference w_m - w_m' orders by the odds of
two minterms. A minterm m that satisfies a proposition q is therefore held against those that do not
and differ from it in the fewest literals, N(m):

    v_m = w_m - mean of w_m' over N(m)

With weights additive in the literals, v_m adds up the weights of those that decide whether q holds,
each with its sign in m. A negation needs nothing else: `~a` is the disjunction of the minterms
without a, and its vector is then that of `a`, negated.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

DECIMALS = 6  # in which vectors of length 1 that are the same agree


def contrasts(weights: Tensor, minterms: Tensor, answers: Tensor) -> Tensor:
    """The distinct v_m of the minterms that satisfy a proposition, scaled to length 1.

    Args:
        weights: (M, D), float64.
        minterms: (M, C), bool.
        answers: (M,), bool, those that satisfy the proposition.

    Returns:
        (n, D), float64; one vector of zeros where all minterms satisfy it, or none.
    """
    if answers.all() or not answers.any():
        return weights.new_zeros(1, weights.shape[1])
    rows = minterms.double()
    differing = torch.cdist(rows[answers], rows[~answers], p=1).round()
    nearest = (differing == differing.min(dim=1, keepdim=True).values).double()
    against = nearest @ weights[~answers] / nearest.sum(dim=1, keepdim=True)
    unit = normalize(weights[answers] - against, dim=1)
    return unit.round(decimals=DECIMALS).unique(dim=0)
