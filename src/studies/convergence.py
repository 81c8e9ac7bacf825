"""How fast the loss of a batch, the gap to its optimum and retrieval converge.

**Over the batch size.** Of n images with Gram matrix G_n = sum_i z_i z_i^T, z_i = [y_i; x_i], let

    l_n = (||Z||_* - alpha ||X||_*) / sqrt(n) + beta ||X||_2^2 / n,

which is the loss with beta / sqrt(n), over sqrt(n), and has the same minimisers. For n images that
are drawn with replacement from N, G_n / n is G / N in expectation. Nuclear norms are concave in it,
and so less in batches; the last term is convex, and more. With eigenvalues h_i of G / N and
coordinates along its eigenvectors, to second order in G_n / n - G / N,

    n (E ||Z_n||_* / sqrt(n) - ||Z||_* / sqrt(N))
        = -1/4 sum_ij Var(z_i z_j) / (sqrt(h_i h_j) (sqrt(h_i) + sqrt(h_j)))
    n (E ||X_n||_2^2 / n - ||X||_2^2 / N) = sum_{j > 1} Var(x_1 x_j) / (h_1 - h_j)

from the second derivatives of the trace of a root and of the largest eigenvalue [0]. For indicators
of classes with shares p the first is -sum (1 - p) / (8 sqrt(p)); exactly, their bias is
sum E sqrt(n_m / n) - sqrt(p), with n_m binomial. First-order terms have no bias but most of the
noise, and are known of every batch: they are taken off. The next order falls as 1 / n^2.

**Over the number of training images.** Encoders are trained on the first so many images, with the
same number of steps, by the default loss; discriminants answer for the test images.

References:
    [0] Lewis and Sendov, *Twice Differentiable Spectral Functions*, SIAM Journal on Matrix Analysis
        and Applications, 2001
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.progress import track
from scipy.optimize import curve_fit
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from src.data.images import ImageSet, LabelledImages
from src.losses.nuclear import gram_matrix, terms_from_gram
from src.losses.nuclear_discriminant import NuclearDiscriminantLoss
from src.metrics.retrieval import average_precision
from src.metrics.spectral import compare_spectrum
from src.readouts.discriminant import DiscriminantReadout
from src.reports.tables import Estimate, ResultTable, Row
from src.subspaces.minterms import distinct_minterms
from src.subspaces.propositions import truth_table
from src.subspaces.queries import make_queries

COLUMNS = {
    "over": "over",
    "of": "of",
    "measure": "measure",
    "first": "at the least n",
    "last": "at the most n",
    "rate": "rate b",
    "factor": "factor a",
    "predicted": "a by theory",
    "limit": "limit c",
}
JOINT, NUCLEAR, LOSS = "nuclear norm of Z", "nuclear norm of X", "loss"
SPECTRAL = "squared spectral norm of X"
GAP, RETRIEVAL = "relative gap", "1 - mAP"
LEAST = 1e-10  # eigenvalues below this share of the largest are the null space


class Rate(NamedTuple):
    """A power law a n^-b + c fitted to values, each parameter with its standard error."""

    factor: Estimate  # a
    rate: Estimate  # b
    limit: Estimate | None  # c; None where it is known to be 0


class Bias(NamedTuple):
    """The bias of one measure over batch sizes."""

    means: list[float]
    errors: list[float]  # standard errors
    predicted: float  # n times the bias, to second order


class Trained(NamedTuple):
    """What one training came to."""

    encoder: nn.Module
    gap: float
    retrieval: float


def run(
    folder: Path,
    image_set: ImageSet,
    batch_sizes: Sequence[int],
    draws: int,
    fit_from: int,
    whole: int,
    training_sizes: Sequence[int],
    seeds: Sequence[int],
    steps: int,
    batch_size: int,
    width: int,
    embedding_dim: int,
    alpha: float,
    beta: float,
    lr: float,
) -> ResultTable:
    """Measure both convergences, fit their rates and draw `figure.png`.

    Args:
        folder: The folder that the figure is written into.
        image_set: Images with several literals each.
        batch_sizes: n, ascending.
        draws: Batches of each size.
        fit_from: The least batch size that rates are fitted to.
        whole: N, the first so many training images.
        training_sizes: Numbers of training images, ascending.
        seeds: Of initial weights and of the order of images, two or more.
        steps: Of the optimizer, in every training.
        batch_size: Of trainings, and of what gaps are stated for.
        width: Of the hidden layer.
        embedding_dim: D.
        alpha, beta: Weights of the loss, beta for batches of `batch_size`.
        lr: The highest rate of AdamW, which climbs and falls in one cycle.

    Raises:
        ValueError: If there is one seed.
    """
    if len(seeds) < 2:
        raise ValueError(f"seeds must be two or more, for standard errors, not {len(seeds)}")
    splits = image_set.splits
    trained = {
        (size, seed): train(
            splits,
            size,
            *(seed, steps, batch_size, width, embedding_dim, alpha, beta, lr),
            literals=image_set.literals,
        )
        for size, seed in track([(n, s) for n in training_sizes for s in seeds], transient=True)
    }
    images, labels = splits["train"].images[:whole].float() / 255, splits["train"].labels[:whole]
    torch.manual_seed(0)
    sources = {
        "untrained": perceptron(images, width, embedding_dim),
        "trained": trained[training_sizes[-1], seeds[0]].encoder.eval(),
    }
    rows: list[Row] = []
    biases = {}
    with torch.no_grad():
        for name, encoder in sources.items():
            found = measure_bias(
                encoder(images).double(),
                *(labels.double(), alpha, beta * batch_size**0.5, batch_sizes, draws),
            )
            biases[name] = found
            chosen = [place for place, size in enumerate(batch_sizes) if size >= fit_from]
            for measure, bias in found.items():
                sizes, means, errors = (
                    [values[place] for place in chosen]
                    for values in (batch_sizes, bias.means, bias.errors)
                )
                about = {"over": "batch size", "of": f"bias, {name}", "measure": measure}
                rows.append(about | _cells(bias.means, fit_rate(sizes, means, errors, False)))
                rows[-1]["factor"] = fit_factor(sizes, means, errors)
                rows[-1]["predicted"] = Estimate(bias.predicted, None)
    curves = {}
    for measure in (GAP, RETRIEVAL):
        of_size = [
            [_measured(trained[size, seed], measure) for seed in seeds] for size in training_sizes
        ]
        means = [float(np.mean(values)) for values in of_size]
        # One deviation for all sizes, as few seeds say little of each
        deviation = float(np.sqrt(np.mean(np.var(of_size, axis=1, ddof=1))))
        errors = [deviation / len(seeds) ** 0.5] * len(means)
        rate = fit_rate(training_sizes, means, errors, True)
        about = {"over": "training images", "of": "test images", "measure": measure}
        rows.append(about | _cells(means, rate))
        curves[measure] = (means, errors, rate)
    figure(batch_sizes, biases, training_sizes, curves).savefig(folder / "figure.png", dpi=110)
    conditions = (
        "Fits of a n^-b + c, weighted, with standard errors. Bias: nuclear norms over sqrt(n), the "
        f"squared spectral norm over n, in batches of n of {whole:,} training images with "
        f"replacement less those of all, {draws} batches of each size, n from {batch_sizes[0]} to "
        f"{batch_sizes[-1]}, fitted from {fit_from}: b with c = 0, and a by itself, with b = 1, as "
        "theory has it, and a term of n^-2 beside; embeddings of a perceptron of width "
        f"{width} in {embedding_dim} dimensions, untrained or trained on {training_sizes[-1]:,} "
        f"images; alpha {alpha:g}, beta {beta:g} for batches of {batch_size}. Training: {steps} "
        f"steps, batches of {batch_size}, {len(seeds)} seeds; n "
        f"{', '.join(map(str, training_sizes))}; mAP over all conjunctions that some of "
        f"{len(splits['test']):,} test images answer, by calibrated discriminants."
    )
    return ResultTable(COLUMNS, rows, conditions)


def measure_bias(
    embeddings: Tensor,
    labels: Tensor,
    alpha: float,
    beta: float,
    batch_sizes: Sequence[int],
    draws: int,
) -> dict[str, Bias]:
    """The bias of l_n and of its three norms in random batches of n of N images.

    Args:
        embeddings: (N, D), float64.
        labels: (N, C), float64.
        alpha: Of the loss.
        beta: Of the loss over the root of n.
        batch_sizes: n.
        draws: Batches of each size.
    """
    stacked = torch.cat([labels, embeddings], dim=1)
    num_labels = labels.shape[1]
    joint, own = _Expansion.of(stacked), _Expansion.of(embeddings)
    weights = {JOINT: 1.0, NUCLEAR: -alpha, SPECTRAL: beta}
    predicted = {JOINT: joint.root_bias, NUCLEAR: own.root_bias, SPECTRAL: own.largest_bias}
    number, generator = len(stacked), torch.Generator().manual_seed(0)
    gram = gram_matrix(embeddings, labels) / number
    truth = dict(zip(weights, terms_from_gram(gram, num_labels), strict=True))
    biases = {name: Bias([], [], value) for name, value in predicted.items()}
    total = sum(weights[name] * value for name, value in predicted.items())
    biases[LOSS] = Bias([], [], total)
    for size in batch_sizes:
        seen: dict[str, list[float]] = {name: [] for name in biases}
        for _ in range(draws):
            rows = torch.randint(number, (size,), generator=generator)
            gram = stacked[rows].T @ stacked[rows] / size
            found = dict(zip(weights, terms_from_gram(gram, num_labels), strict=True))
            first = {
                JOINT: joint.root_slopes[rows].mean(),
                NUCLEAR: own.root_slopes[rows].mean(),
                SPECTRAL: own.largest_slopes[rows].mean(),
            }
            excess = {name: float(found[name] - truth[name] - first[name]) for name in weights}
            excess[LOSS] = sum(weights[name] * excess[name] for name in weights)
            for name, value in excess.items():
                seen[name].append(value)
        for name, values in seen.items():
            biases[name].means.append(float(np.mean(values)))
            biases[name].errors.append(float(np.std(values, ddof=1) / draws**0.5))
    return biases


class _Expansion(NamedTuple):
    """Of rows A, (N, K): first and second order of the nuclear norm over the root of n, and of the
    squared spectral norm over n, in batches of n.
    """

    root_slopes: Tensor  # (N,), the first order of each row, of mean 0
    root_bias: float  # n times the bias of the second order
    largest_slopes: Tensor
    largest_bias: float

    @classmethod
    def of(cls, rows: Tensor) -> "_Expansion":
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        kept = values > LEAST * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        roots = values.sqrt()
        squares = (rows @ vectors).square()  # of coordinates
        variances = squares.T @ squares / len(rows) - values.square().diag()
        curvature = roots.outer(roots) * (roots.unsqueeze(0) + roots.unsqueeze(1))
        others = values[-1] - values[:-1]
        return cls(
            ((squares - values) / (2 * roots)).sum(dim=1),
            -float((variances / curvature).sum()) / 4,
            squares[:, -1] - values[-1],
            float((variances[-1, :-1] / others).sum()),
        )


def fit_rate(
    sizes: Sequence[float], values: Sequence[float], errors: Sequence[float], with_limit: bool
) -> Rate:
    """Fit a n^-b, or a n^-b + c, by weighted least squares.

    Args:
        sizes: n.
        values: One for each size.
        errors: Their standard errors.
        with_limit: Whether c is fitted, or 0.
    """
    n, y = np.asarray(sizes, dtype=float), np.asarray(values)
    middle = float(np.exp(np.log(n).mean()))  # a at this n has least to do with b

    def law(n: np.ndarray, scale: float, rate: float, limit: float = 0.0) -> np.ndarray:
        return scale * (n / middle) ** -rate + limit

    start = [y[len(y) // 2] - (y[-1] if with_limit else 0), 0.5 if with_limit else 1.0]
    found, covariance = curve_fit(
        law,
        n,
        y,
        p0=[*start, y[-1]] if with_limit else start,
        sigma=errors,
        absolute_sigma=True,
        maxfev=20_000,
    )
    deviations = np.sqrt(np.diag(covariance))
    scale, rate = found[:2]
    # a = scale middle^b, and its error to first order
    factor = scale * middle**rate
    gradient = np.array([middle**rate, factor * np.log(middle)])
    error = float(np.sqrt(gradient @ covariance[:2, :2] @ gradient))
    limit = Estimate(float(found[2]), float(deviations[2])) if with_limit else None
    return Rate(Estimate(float(factor), error), Estimate(float(rate), float(deviations[1])), limit)


def fit_factor(
    sizes: Sequence[float], values: Sequence[float], errors: Sequence[float]
) -> Estimate:
    """Fit a / n + d / n^2, by weighted least squares, and return a with its standard error.

    Args:
        sizes: n, two or more.
        values: One for each size.
        errors: Their standard errors.
    """
    n = np.asarray(sizes, dtype=float)
    found, covariance = np.polyfit(
        1 / n, n * np.asarray(values), 1, w=1 / (n * np.asarray(errors)), cov="unscaled"
    )
    return Estimate(float(found[1]), float(covariance[1, 1] ** 0.5))


def perceptron(images: Tensor, width: int, embedding_dim: int) -> nn.Sequential:
    """An encoder with one hidden layer, whose embeddings are normalised over the batch, at a root
    mean square length of 1, as the default method has them. It stays in training mode.
    """
    normalize = nn.BatchNorm1d(embedding_dim)
    nn.init.constant_(normalize.weight, embedding_dim**-0.5)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(images[0].numel(), width),
        nn.GELU(),
        nn.Linear(width, embedding_dim),
        normalize,
    )


def train(
    splits: Mapping[str, LabelledImages],
    size: int,
    seed: int,
    steps: int,
    batch_size: int,
    width: int,
    embedding_dim: int,
    alpha: float,
    beta: float,
    lr: float,
    literals: Sequence[str],
) -> Trained:
    """Train on the first images of a split, by the default loss, and ask about the test split."""
    torch.manual_seed(seed)
    images, labels = splits["train"].images[:size].float() / 255, splits["train"].labels[:size]
    encoder = perceptron(images, width, embedding_dim)
    loss = NuclearDiscriminantLoss(
        labels.shape[1], embedding_dim, alpha, beta, gamma=0.01, averaging=0.95, shrinkage=0.01
    )
    optimizer = AdamW(encoder.parameters(), lr=lr, weight_decay=1e-4)
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    order = torch.cat([torch.randperm(size) for _ in range(steps * batch_size // size + 1)])
    for rows in order[: steps * batch_size].split(batch_size):
        optimizer.zero_grad()
        loss(encoder(images[rows]), labels[rows].float()).backward()
        optimizer.step()
        schedule.step()
    encoder.eval()
    readout = DiscriminantReadout(distinct_minterms(labels), embedding_dim, "additive", None)
    with torch.no_grad():
        readout.update(encoder(images), labels)
        readout.fit()
        embedded = {
            name: encoder(splits[name].images.float() / 255).double() for name in ("val", "test")
        }
        readout.calibrate(embedded["val"], splits["val"].labels)
        queries = make_queries(literals, readout.minterms, len(literals), 1, 0).propositions
        truth = splits["test"].labels
        scores = readout.score(embedded["test"], queries, "calibrated")
        precisions = average_precision(scores, truth_table(queries, truth))
        gram = gram_matrix(embedded["test"], truth.double()) * batch_size / len(truth)
        spectrum = compare_spectrum(gram, truth.shape[1], alpha, beta)
    return Trained(encoder, spectrum.summary["relative_gap"], float(precisions.nanmean()))


def _measured(trained: Trained, measure: str) -> float:
    return trained.gap if measure == GAP else 1 - trained.retrieval


def _cells(values: Sequence[float], rate: Rate) -> Row:
    cells = {"first": values[0], "last": values[-1], "rate": rate.rate, "factor": rate.factor}
    return cells if rate.limit is None else cells | {"limit": rate.limit}


def figure(
    batch_sizes: Sequence[int],
    biases: Mapping[str, Mapping[str, Bias]],
    training_sizes: Sequence[int],
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Rate]],
) -> Figure:
    """Biases over the batch size with what theory says of them, and the rest with its fits."""
    drawing = Figure(figsize=(15, 3.8), layout="constrained")
    panels = drawing.subplots(1, len(biases) + len(curves))
    batch = np.asarray(batch_sizes, dtype=float)
    for panel, (name, of_measure) in zip(panels, biases.items(), strict=False):
        for colour, (measure, bias) in enumerate(of_measure.items()):
            style = {"color": f"C{colour}", "label": measure}
            panel.errorbar(batch, np.abs(bias.means), bias.errors, fmt="o-", markersize=4, **style)
            panel.plot(batch, abs(bias.predicted) / batch, "--", color=f"C{colour}")
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(f"bias of batches, {name}", fontsize=10)
        panel.set_xlabel("images in a batch (dashed: theory)")
        panel.legend(fontsize=8)
    sizes = np.geomspace(training_sizes[0], training_sizes[-1], 100)
    for panel, (measure, (means, errors, rate)) in zip(
        panels[len(biases) :], curves.items(), strict=True
    ):
        panel.errorbar(training_sizes, means, errors, fmt="o", markersize=4, color="C0")
        limit = rate.limit.mean if rate.limit else 0.0
        panel.plot(sizes, rate.factor.mean * sizes**-rate.rate.mean + limit, "--", color="C0")
        panel.set_xscale("log")
        panel.set_title(f"{measure} of test images", fontsize=10)
        panel.set_xlabel("training images (dashed: fit)")
    for panel in panels:
        panel.grid(alpha=0.3)
    return drawing
