"""How few images teach a literal that training never showed, from frozen embeddings.

Conjunctions with it are measured of the logistic probe alone: they add its log odds to those of
trained literals, and of few images a discriminant has log odds without a meaningful scale, as so
few hardly scatter.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import logsigmoid

from src.config.instantiate import instantiate
from src.data.images import ImageSet
from src.data.relabelled import without
from src.metrics.retrieval import TOP_K, average_precision
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.reports.tables import Estimate, ResultTable, Row
from src.studies.trainings import Embedded, compose_run, train

ALL = "all"  # images of the training split, in place of a few
Logits = Callable[[Tensor, Tensor, Tensor], Tensor]


def run(
    folder: Path,
    seeds: Sequence[int],
    shots: Sequence[int],
    draws: int,
    max_query_literals: int,
    penalty: float,
    split: str,
    data: Mapping[str, Mapping[str, Any] | None],
    methods: Mapping[str, Sequence[str]],
) -> ResultTable:
    """Train without a literal, then learn it from few images of each answer.

    Args:
        folder: The folder that `figure.png` is written into.
        seeds: Seeds of trainings, and of the few images.
        shots: Numbers of images that have the literal, and of as many that have not.
        draws: The few images are drawn so many times for each training, and measures averaged.
        max_query_literals: Conjunctions have 2 to so many literals, the one not trained among them.
        penalty: Of the logistic probe, on half the squared length of its weights.
        split: `test`; `val` to choose settings by.
        data: For each name the literals that are `hidden`, each from trainings of its own, and
            `overrides` of `src.train`; None to leave the set out.
        methods: Overrides of `src.train`, for each name.
    """
    probes = {  # with whether conjunctions are measured
        "discriminant": (discriminant, False),
        "logistic probe": (logistic_probe(penalty), True),
    }
    measured: dict[tuple[str, str, str, str], dict[int, list[dict[str, float]]]] = {}
    settings = {name: about for name, about in data.items() if about is not None}
    trainings = [
        (name, hidden, method, seed)
        for name, about in settings.items()
        for hidden, method, seed in product(about["hidden"], methods, seeds)
    ]
    sets: dict[str, ImageSet] = {}
    for name, hidden, method, seed in track(trainings, "training", transient=True):
        config = compose_run([*settings[name]["overrides"], *methods[method], f"seed={seed}"])
        if name not in sets:
            sets[name] = instantiate(config.dataset)
        whole = sets[name]
        model = train(config, without(whole, hidden), folder)
        known, asked = model.embed("train"), model.embed(split)
        for layer in Embedded._fields:
            task = Task(
                getattr(known, layer),
                whole.splits["train"].labels,
                getattr(asked, layer),
                whole.splits[split].labels,
                whole.literals.index(hidden),
                max_query_literals,
            )
            for probe, (learn, joint) in probes.items():
                runs = measured.setdefault((name, method, layer, probe), {})
                runs.setdefault(seed, []).append(task.measure(learn, shots, draws, seed, joint))
    columns = {
        f"{measure} {shot}": f"{measure} after {shot}"
        for measure, shot in product(("AP", "mAP"), (*shots, ALL))
    }
    rows: list[Row] = [
        {"data": name, "method": method, "layer": layer, "probe": probe, "n": str(len(runs))}
        | {key: Estimate.of(means) for key, means in means_over_literals([*runs.values()]).items()}
        for (name, method, layer, probe), runs in measured.items()
    ]
    figure(rows, shots).savefig(folder / "figure.png", dpi=110)
    conditions = (
        "Measures are averaged over the hidden literals of a set, in brackets the share of images "
        "that have each, which is the average precision of a guess: "
        f"{describe_hidden(settings, sets, split)}. Headings have the number of training images "
        "with the literal that it is learned from, and as many without, the mean over "
        f"{draws} draws, the same for every method; all: the whole training split. AP: of images "
        "ranked by the literal; mAP: by its conjunctions, plain and negated, of 2 to "
        f"{max_query_literals} literals, with trained ones by discriminants of the whole training "
        f"split; queries with fewer than {TOP_K} answers are left out. mAP is measured of the "
        "logistic probe alone, whose penalty keeps its log odds at the scale of those of trained "
        "literals; those of discriminants of few images have no such scale. Features are what the "
        "last linear layer of the encoder sees. Discriminant: in closed form, covariance shrunk by "
        "the estimate of Chen et al. (2010). Logistic probe: of scikit-learn, penalty "
        f"{penalty:g}, embeddings scaled to mean square 1. Mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))} on the {split} split; protocol clean."
    )
    headings = {"data": "data", "method": "method", "layer": "layer", "probe": "readout", "n": "n"}
    return ResultTable(headings | columns, rows, conditions)


def means_over_literals(
    runs: Sequence[Sequence[Mapping[str, float]]],
) -> dict[str, list[float]]:
    """Means of each measure over hidden literals, one for each seed."""
    return {
        key: [mean(found[key] for found in literals) for literals in runs] for key in runs[0][0]
    }


def describe_hidden(
    settings: Mapping[str, Mapping[str, Any]], sets: Mapping[str, ImageSet], split: str
) -> str:
    """Say which literals are hidden of each set, and of what share of images they are true."""
    said = []
    for name, about in settings.items():
        labels, literals = sets[name].splits[split].labels, sets[name].literals
        shares = labels.double().mean(dim=0)
        parts = [f"{hidden} ({shares[literals.index(hidden)]:.0%})" for hidden in about["hidden"]]
        said.append(f"{name}, {len(labels):,} images, {', '.join(parts)}")
    return "; ".join(said)


class Task:
    """A literal to be learned from few embeddings of the training split.

    Args:
        known: (n, D), of the training split.
        known_labels: (n, C), of all literals.
        asked: (N, D), to be ranked.
        asked_labels: (N, C).
        column: The literal that training has hidden.
        max_literals: The most literals of a conjunction.
    """

    def __init__(
        self,
        known: Tensor,
        known_labels: Tensor,
        asked: Tensor,
        asked_labels: Tensor,
        column: int,
        max_literals: int,
    ) -> None:
        self.known, self.asked = standardize(known, asked)
        self.novel = known_labels[:, column].bool()
        self.column = column
        others = torch.arange(known_labels.shape[1]) != column
        # Of the literals; the column of the one to be learned is filled in later.
        self.logits = asked.new_zeros(asked_labels.shape, dtype=torch.float64)
        self.logits[:, others] = discriminant(self.known, known_labels[:, others], self.asked)
        self.answers = asked_labels[:, column]
        signs = conjunction_signs(known_labels.shape[1], column, max_literals)
        relevance = satisfied(asked_labels, signs)
        counted = relevance.sum(dim=0) >= TOP_K
        self.signs, self.relevance = signs[counted], relevance[:, counted]

    def measure(
        self, learn: Logits, shots: Sequence[int], draws: int, seed: int, joint: bool
    ) -> dict[str, float]:
        """AP of the literal, by the number of images, means over draws.

        Args:
            learn: Log odds of a literal, (N, 1), of n embeddings, their labels (n, 1) and N others.
            shots: Numbers of images of each answer; more are drawn beside those of fewer.
            draws: Number of draws.
            seed: Of the draws.
            joint: Whether mAP of its conjunctions is measured, too.
        """
        everything = torch.arange(len(self.novel))
        found = {ALL: [self._evaluate(learn, everything, joint)]}
        generator = torch.Generator().manual_seed(seed)
        for _ in range(draws):
            drawn = draw(self.novel, max(shots), generator)
            for number in shots:
                chosen = drawn[:, :number].flatten()
                found.setdefault(str(number), []).append(self._evaluate(learn, chosen, joint))
        return {
            f"{measure} {number}": mean(values[measure] for values in runs)
            for number, runs in found.items()
            for measure in runs[0]
        }

    def _evaluate(self, learn: Logits, chosen: Tensor, joint: bool) -> dict[str, float]:
        """AP of the literal, and mAP of conjunctions if asked, learned of these images."""
        logits = learn(self.known[chosen], self.novel[chosen].unsqueeze(1), self.asked)
        measured = {"AP": float(average_precision(logits, self.answers.unsqueeze(1)))}
        if joint:
            self.logits[:, self.column] = logits.squeeze(1)
            scores = conjunction_scores(self.logits, self.signs)
            measured["mAP"] = float(average_precision(scores, self.relevance).mean())
        return measured


def discriminant(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    """Log odds (N, C) of embeddings (N, D) by discriminants of n embeddings with labels (n, C)."""
    names = [str(column) for column in range(labels.shape[1])]
    readout = LiteralDiscriminants(names, known.shape[1], None)
    readout.update(known, labels)
    readout.fit()
    return readout.literal_logits(asked)


def logistic_probe(penalty: float) -> Logits:
    """Log odds of one literal by scikit-learn's logistic regression."""

    def learn(known: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
        regression = LogisticRegression(C=1 / penalty, max_iter=1000)
        regression.fit(known.numpy(), labels[:, 0].numpy())
        return torch.from_numpy(regression.decision_function(asked.numpy())).unsqueeze(1)

    return learn


def standardize(known: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Move and scale embeddings, (n, D) and (N, D), so that the mean of the first is 0 and the mean
    square of their entries 1: one scale for all dimensions, in float64.
    """
    exact = known.double()
    middle = exact.mean(dim=0)
    scale = (exact - middle).square().mean().sqrt()
    return (exact - middle) / scale, (asked.double() - middle) / scale


def draw(novel: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Positions of as many images that have a literal as have not, of labels (n,): (2, number).

    Raises:
        ValueError: If there are not so many.
    """
    rows = []
    for answer in (novel, ~novel):
        places = answer.nonzero().flatten()
        if len(places) < number:
            raise ValueError(
                f"shots asks for {number} images of each answer, and there are {len(places)}"
            )
        rows.append(places[torch.randperm(len(places), generator=generator)[:number]])
    return torch.stack(rows)


def conjunction_signs(num_literals: int, column: int, max_literals: int) -> Tensor:
    """Conjunctions of 2 to so many of C literals, one of them given: (Q, C), 1 where a literal is
    plain in it, -1 where it is negated, 0 where it is absent.
    """
    signs = torch.cartesian_prod(*[torch.tensor([0, 1, -1])] * num_literals)
    named = (signs != 0).sum(dim=1)
    return signs[(signs[:, column] != 0) & (named >= 2) & (named <= max_literals)]


def satisfied(labels: Tensor, signs: Tensor) -> Tensor:
    """Whether conjunctions, (Q, C) as in `conjunction_signs`, hold of labels (N, C): (N, Q)."""
    truth = 2 * labels.long() - 1
    return (truth.unsqueeze(1) * signs >= 0).all(dim=2)


def conjunction_scores(logits: Tensor, signs: Tensor) -> Tensor:
    """Log probabilities of conjunctions (Q, C), literals independent given the image, of their log
    odds (N, C): (N, Q).
    """
    plain, negated = (signs > 0).to(logits), (signs < 0).to(logits)
    return logsigmoid(logits) @ plain.T + logsigmoid(-logits) @ negated.T


def figure(rows: Sequence[Row], shots: Sequence[int]) -> Figure:
    """Draw the AP of the hidden literal over the number of images, a line for each method."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    asked = list(dict.fromkeys((row["layer"], row["probe"]) for row in rows))
    drawing = Figure(figsize=(3.4 * len(asked), 3.4 * len(names) + 0.8), layout="constrained")
    grid = drawing.subplots(len(names), len(asked), sharey="row", squeeze=False)
    for panel, (name, (layer, probe)) in zip(grid.flat, product(names, asked), strict=True):
        chosen = [
            row for row in rows if (row["data"], row["layer"], row["probe"]) == (name, layer, probe)
        ]
        places = range(len(shots) + 1)
        for place, row in enumerate(chosen):
            means = [row[f"AP {number}"].mean for number in (*shots, ALL)]
            color = f"C{place}" if place < 10 else "black"
            panel.plot(places, means, "o-", label=row["method"], color=color, markersize=4)
        panel.set_xticks(places, [*map(str, shots), ALL])
        panel.set_title(f"{name}: {probe}, {layer}", fontsize=9)
        panel.grid(alpha=0.3)
    for panel in grid[-1]:
        panel.set_xlabel("images of each answer")
    for line in grid:
        line[0].set_ylabel("AP of the hidden literal")
    drawing.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawing
