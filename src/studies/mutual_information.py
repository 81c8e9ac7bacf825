"""Whether the nuclear-norm loss falls as the mutual information of embeddings and labels rises.

The paper motivates its loss by mutual information. Encoders are trained on digits, and after every
epoch images that none has seen give the loss and, from Gram matrices, the mutual information. Ranks
alone are compared, over epochs, seeds, learning rates and weights.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from rich.progress import track
from scipy.stats import spearmanr
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from sklearn.preprocessing import normalize
from torch import Tensor
from torch.nn.functional import one_hot
from torch.optim import Adam

from src.data.digits import DIGITS_WITH
from src.losses.nuclear import nuclear_norm_loss
from src.metrics.entropy import mutual_information
from src.reports.tables import ResultTable, Row
from src.studies.claims.verdicts import Claim, judge
from src.studies.digits import TOTAL, perceptron, split
from src.subspaces.closed_form import optimal_loss

Kernel = Callable[[np.ndarray], np.ndarray]  # of vectors (N, D): (N, N)

SURROGATE = "the loss falls as mutual information rises, over "
EPOCHS, CHANGES = SURROGATE + "the epochs of a run", SURROGATE + "changes between epochs"
LAST = SURROGATE + "runs of one loss, at the last epoch"
OF_ONE = SURROGATE + "all epochs and runs of one loss"
ALL = SURROGATE + "all epochs and runs of all losses"
MEASURE, REFERENCE = "rank correlation", "[0]"
COLUMNS = {
    "claim": "claim",
    "setting": "labels",
    "loss": "kernel and order",
    "median": "median",
    "measured": "worst",
    "bound": "bound",
    "verdict": "verdict",
    "convergence": "correlations",
    "reference": "from",
}


class Training(NamedTuple):
    """What is trained, and how."""

    labels: str  # the name of a coding
    weights: tuple[float, float]  # alpha, beta
    lr: float
    seed: int
    batch_size: int
    epochs: int
    width: int
    embedding_dim: int


class Run(NamedTuple):
    """What held-out images say of one training, at its start and after every epoch."""

    labels: str
    weights: tuple[float, float]  # alpha, beta
    gaps: list[float]  # loss above the optimum for these labels, relative
    information: dict[str, list[float]]  # bits, by kernel and order


def run(
    folder: Path,
    seeds: Sequence[int],
    weights: Sequence[Sequence[float]],
    learning_rates: Sequence[float],
    images: int,
    held_out: int,
    batch_size: int,
    epochs: int,
    width: int,
    embedding_dim: int,
    orders: Sequence[float],
    gamma: float,
    bound: float,
) -> ResultTable:
    """Train all encoders, correlate ranks and draw `figure.png`.

    Args:
        folder: The folder that the figure is written into.
        seeds: Seeds of the initial encoders and of the batches.
        weights: Pairs of alpha and beta.
        learning_rates: Of Adam.
        images: Number of images to train on.
        held_out: Number of other images, a multiple of `batch_size`.
        batch_size: Images a batch, in training and where the loss is measured.
        epochs: Number of epochs.
        width: Of the two hidden layers.
        embedding_dim: D.
        orders: Of the entropy.
        gamma: Of the Gaussian kernel exp(-gamma |x - y|^2) between embeddings of length 1.
        bound: A rank correlation at most this holds.
    """
    kernels: dict[str, Kernel] = {
        "cosine": cosine_similarity,
        "Gaussian": lambda vectors: rbf_kernel(normalize(vectors), gamma=gamma),
    }
    entropies = {
        f"{name}, order {order:g}": (kernel, order)
        for (name, kernel), order in product(kernels.items(), orders)
    }
    inputs, digits, others, truths = split(images, 0)
    others, truths = others[:held_out], truths[:held_out]
    settings = list(product(codings().items(), weights, learning_rates, seeds))
    runs = []
    for (name, rows), (alpha, beta), lr, seed in track(settings, "training", transient=True):
        how = Training(name, (alpha, beta), lr, seed, batch_size, epochs, width, embedding_dim)
        embeddings = train(inputs, rows[digits], others, how)
        runs.append(measure(embeddings, rows[truths], how, entropies))
    figure(runs).savefig(folder / "figure.png", dpi=110)
    conditions = (
        f"{images} of scikit-learn's digits to train on and {held_out} others to measure on; "
        f"perceptrons with two hidden layers of {width} and {embedding_dim} dimensions; Adam, "
        f"{epochs} epochs of batches of {batch_size}; learning rates "
        f"{', '.join(f'{lr:g}' for lr in learning_rates)}; alpha and beta "
        f"{' and '.join(f'{alpha:g}, {beta:g}' for alpha, beta in weights)}; {len(seeds)} seeds. "
        "Mutual information S(A) + S(B) - S(A, B) of matrix-based Renyi entropies, A the kernel of "
        f"embeddings at length 1, Gaussian with gamma {gamma:g}, B the cosines of labels. "
        "Spearman's rank correlation to the loss above its optimum, relative. The worst, that is "
        "the highest, decides, with all its digits. A loss is a pair of alpha and beta: under two "
        "of them equal gaps are not equal information, so that ranks over both say less. Changes "
        "are ranked less well, since curves bend: a step of the loss is worth more bits at some "
        "epochs than at others. [0] arXiv 2405.16213."
    )
    return ResultTable(COLUMNS, list(judged(runs, bound)), conditions)


def codings() -> dict[str, Tensor]:
    """Labels of the ten digits, (10, C), by the name of their coding."""
    literals = torch.tensor(
        [[digit in has for has in DIGITS_WITH.values()] for digit in range(TOTAL)]
    )
    minterms = literals.unique(dim=0, return_inverse=True)[1]
    return {
        "classes": torch.eye(TOTAL).double(),
        "minterms": one_hot(minterms).double(),
        "literals": literals.double(),
    }


def train(inputs: Tensor, labels: Tensor, others: Tensor, how: Training) -> Iterator[Tensor]:
    """Train an encoder under the nuclear-norm loss.

    Args:
        inputs: (N, F).
        labels: (N, C).
        others: (M, F).
        how: The training.

    Yields:
        Embeddings (M, D) of the other inputs in float64, at the start and after every epoch.
    """
    torch.manual_seed(how.seed)
    model = perceptron(how.width, how.embedding_dim)
    optimizer = Adam(model.parameters(), lr=how.lr)
    inputs, others = inputs.float(), others.float()
    yield model(others).detach().double()
    for _ in range(how.epochs):
        for batch in torch.randperm(len(inputs)).split(how.batch_size):
            optimizer.zero_grad()
            nuclear_norm_loss(model(inputs[batch]), labels[batch], *how.weights).backward()
            optimizer.step()
        yield model(others).detach().double()


def measure(
    embeddings: Iterable[Tensor],
    labels: Tensor,
    how: Training,
    entropies: Mapping[str, tuple[Kernel, float]],
) -> Run:
    """Measure the loss, and the mutual information with labels, of embeddings of each epoch.

    Args:
        embeddings: (M, D) each.
        labels: (M, C).
        how: The training.
        entropies: A kernel and an order, for each name.
    """
    batches = labels.split(how.batch_size)
    least = mean(optimal_loss(batch, *how.weights) for batch in batches)
    record = Run(how.labels, how.weights, [], {name: [] for name in entropies})
    for vectors in embeddings:
        parts = zip(vectors.split(how.batch_size), batches, strict=True)
        losses = [float(nuclear_norm_loss(*part, *how.weights)) for part in parts]
        record.gaps.append(mean(losses) / least - 1)
        for name, (kernel, order) in entropies.items():
            gram = torch.from_numpy(kernel(vectors.numpy()))
            bits = mutual_information(gram, labels @ labels.T, order)
            record.information[name].append(bits)
    return record


def judged(runs: Sequence[Run], bound: float) -> Iterator[Row]:
    """Rank correlations of loss and mutual information, each held against a bound."""
    for coding in dict.fromkeys(run.labels for run in runs):
        chosen = [run for run in runs if run.labels == coding]
        for entropy in chosen[0].information:
            for claim, correlations in correlate(chosen, entropy).items():
                about = Claim(claim, MEASURE, REFERENCE), entropy, coding, f"{len(correlations)}"
                yield judge(*about, correlations, "≤", bound) | {"median": median(correlations)}


def correlate(runs: Sequence[Run], entropy: str) -> Mapping[str, list[float]]:
    """Rank correlations of loss and mutual information over parts of these runs, by claim.

    A loss is one pair of alpha and beta.
    """
    gaps = np.array([run.gaps for run in runs])
    bits = np.array([run.information[entropy] for run in runs])
    objectives = dict.fromkeys(run.weights for run in runs)
    of_one = [[run.weights == weights for run in runs] for weights in objectives]
    return {
        EPOCHS: [_rank(*run) for run in zip(gaps, bits, strict=True)],
        CHANGES: [_rank(*run) for run in zip(np.diff(gaps), np.diff(bits), strict=True)],
        LAST: [_rank(gaps[chosen, -1], bits[chosen, -1]) for chosen in of_one],
        OF_ONE: [_rank(gaps[chosen].ravel(), bits[chosen].ravel()) for chosen in of_one],
        ALL: [_rank(gaps.ravel(), bits.ravel())],
    }


def _rank(gaps: np.ndarray, bits: np.ndarray) -> float:
    return float(spearmanr(gaps, bits).statistic)


def figure(runs: Sequence[Run]) -> Figure:
    """Mutual information over the loss, a line for each run, of the first order of each kernel."""
    names = list(dict.fromkeys(run.labels for run in runs))
    shown = {name.partition(",")[0]: name for name in reversed(runs[0].information)}
    entropies = list(reversed(shown.values()))
    styles = dict(
        zip(dict.fromkeys(run.weights for run in runs), ("-", "--", ":", "-."), strict=False)
    )
    drawing = Figure(figsize=(4.2 * len(names), 3.6 * len(entropies)), layout="constrained")
    grid = drawing.subplots(len(entropies), len(names), sharex="col", sharey="row", squeeze=False)
    colours = ScalarMappable(Normalize(0, len(runs[0].gaps) - 1), "viridis")
    for (row, entropy), (column, name) in product(enumerate(entropies), enumerate(names)):
        panel = grid[row, column]
        for run in runs:
            if run.labels == name:
                bits = run.information[entropy]
                panel.plot(run.gaps, bits, styles[run.weights], color="0.7", linewidth=0.8)
                panel.scatter(
                    run.gaps, bits, s=8, c=colours.to_rgba(np.arange(len(bits))), zorder=2
                )
        panel.set_title(f"{name}: {entropy}", fontsize=10)
        panel.grid(alpha=0.3)
    for panel in grid[-1]:
        panel.set_xlabel("loss above its optimum, relative")
    for panel in grid[:, 0]:
        panel.set_ylabel("mutual information, bits")
    drawing.colorbar(colours, ax=grid, label="epoch", shrink=0.6)
    return drawing
