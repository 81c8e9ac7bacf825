# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of retrieval with negation
#
# We train a small network on handwritten digits with the project's own command, ask it propositions
# with *not*, look at what it knows of one image and whether its probabilities can be trusted, hold
# it against binary cross-entropy, and end with what fails, and why. The mathematics is in
# [theory](theory.ipynb); one paragraph of it suffices here:
#
# Each *minterm*, a full assignment of the labels, has a unit direction $u_m$. A proposition $q$ is
# the subspace of the minterms $M(q)$ that satisfy it, and an image with the embedding $x$ answers
# with the squared length of its projection, $\sum_{m \in M(q)} (u_m \cdot x)^2$. *Not* is the
# orthogonal complement.
#
# Two trainings of 15 epochs take some seconds each on an idle core. That is a quarter of the
# default, with one seed: enough to try things, too little to compare methods by. For that there are
# [tables](tables.ipynb).

# %%
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, "..")  # notebooks run in their own folder, the project is one above

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import display
from IPython.utils.capture import capture_output

from src.config.groups import CONF_DIR
from src.data.digits import DIGITS_WITH
from src.metrics.evaluation import evaluate
from src.metrics.retrieval import TOP_K, average_precision, top_k
from src.modules.subspace import SubspaceModule
from src.reports.figures.retrieval import retrieval_figure
from src.reports.figures.spectra import coherence_figure, reliability_figure
from src.runs.load import load_checkpoint
from src.search.answers import read_query
from src.search.images import Images, open_split
from src.subspaces.minterms import minterm_name
from src.subspaces.propositions import Proposition, truth_table

# %matplotlib inline
torch.set_num_threads(1)
plt.rcParams |= {"figure.dpi": 80, "figure.constrained_layout.use": True}
plt.rcParams |= {"legend.frameon": False}

# %% [markdown]
# ## Train
#
# `python -m src.train` with fewer epochs, no W&B, and a folder that is thrown away: the paper's
# form, `method=nuclear`, and the same network under binary cross-entropy, one independent logit for
# each label.

# %%
folder = TemporaryDirectory()  # gone with the kernel
SHORT = [
    "logger=none",
    "trainer.max_epochs=15",
    "trainer.check_val_every_n_epoch=15",
    "~callbacks.report",
]


def train(name: str, *overrides: str) -> Path:
    """Train as on the command line; the checkpoint."""
    command = [sys.executable, "-m", "src.train", f"hydra.run.dir={folder.name}/{name}"]
    run = subprocess.run(
        [*command, *SHORT, *overrides], cwd=CONF_DIR.parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return Path(folder.name) / name / "checkpoints" / "last.ckpt"


checkpoints = {
    "nuclear norm": train("nuclear", "method=nuclear"),
    "binary cross-entropy": train("bce", "method=bce"),
}

# %% [markdown]
# A checkpoint holds the configuration, the weights and the fitted directions: all that it takes to
# answer. `open_split` embeds the 360 test images.

# %%
models: dict[str, SubspaceModule] = {}
images: dict[str, Images] = {}
for name, path in checkpoints.items():
    _, data, models[name] = load_checkpoint(str(path), data_dir=None)
    with torch.inference_mode(), capture_output():  # its progress bar
        images[name] = open_split(data, "test", models[name])
ours, test = models["nuclear norm"], images["nuclear norm"]
truth, literals = test.labels, ours.literals
assert truth is not None
pd.DataFrame(
    {name: [len(found.embeddings), found.embeddings.shape[1]] for name, found in images.items()},
    index=["test images", "dimensions of an embedding"],
)

# %% [markdown]
# ## The eight minterms
#
# Five labels, of which ten digits show eight combinations: 5 and 7 agree in all five, and so do 6
# and 8. Nothing tells them apart, to the network either.

# %%
minterms = ours.subspaces.minterms
digits_of = {
    minterm_name(minterm, literals): ", ".join(
        str(digit)
        for digit in range(10)
        if [digit in members for members in DIGITS_WITH.values()] == minterm.tolist()
    )
    for minterm in minterms
}
pd.DataFrame(
    {
        "digits": list(digits_of.values()),
        "training images": ours.subspaces.counts.tolist(),
        "test images": [int((truth == minterm).all(dim=1).sum()) for minterm in minterms],
    },
    index=pd.Index(list(digits_of), name="minterm: the labels that are true"),
)

# %% [markdown]
# **Look at** how close to orthogonal their directions are after so short a training: off the
# diagonal all is dark. That is the theorem at work, since minterm indicators are the labels here.

# %%
coherence_figure(ours.subspaces.directions, minterms, literals)

# %% [markdown]
# ## Ask
#
# `&`, `|`, `~` and parentheses. A query is ranked by one projection; nothing was trained for it.
# **Look at** the ten best test images, and at the last line, with nested negation. Images that do
# not answer would be crossed.

# %%
QUERIES = (
    "even & ~prime",
    "prime & ~even",
    "~(even | prime)",
    "has_loop & ~even",
    "square & ~has_loop & ~even",
    "~(even & ~prime) & ~(prime & ~even)",
)


def ask(model: str, texts: tuple[str, ...], kind: str | None = None) -> plt.Figure:
    """The ten best images for each query, under the default score of the model or another."""
    module, found = models[model], images[model]
    queries = [read_query(text, module) for text in texts]
    readout = module.readout if kind is None else module.subspaces
    scores = readout.score(found.embeddings, queries, kind or module.score_kind)
    best = top_k(scores, 10)
    hits = torch.stack([query.holds(truth) for query in queries]).T.gather(0, best)
    relevant = [int(query.holds(truth).sum()) for query in queries]
    captions = [
        f"{int(hit.sum())} of 10 right; {count} of {len(truth)} images answer"
        for hit, count in zip(hits.T, relevant, strict=True)
    ]
    return retrieval_figure(
        texts,
        captions,
        [found.show(column) for column in best.T],
        [range(1, 11)] * len(queries),
        [hit.tolist() for hit in hits.T],
    )


ask("nuclear norm", QUERIES)

# %% [markdown]
# `python -m src.retrieve ckpt_path=... query="even & ~prime"` does the same from a terminal, and
# `python -m src.explore ckpt_path=...` on a page to click through.
#
# ## One image
#
# Scores of all minterms, divided by their sum, are probabilities. Those of a proposition are sums
# of them, so they always agree with each other: $p(q) + p(\neg q) = 1$, and $p(a) = p(a \wedge b) +
# p(a \wedge \neg b)$.
#
# **Look at** two images: one that the network is sure about, and the test image about which it is
# least sure. Light bars are probabilities as defined, dark ones *calibrated* on the validation
# split, by a temperature and a bias of each literal.

# %%
raw = ours.subspaces.minterm_probabilities(test.embeddings)
calibrated = ours.subspaces.minterm_probabilities(test.embeddings, calibrated=True)
sure, unsure = int(raw.max(dim=1).values.argmax()), int(raw.max(dim=1).values.argmin())


def show_image(axes: plt.Axes, position: int) -> None:
    """Its pixels and what is true of it."""
    axes.imshow(test.show([position])[0, 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(minterm_name(truth[position], literals).replace(" & ", "\n& "), size=9)
    axes.set_axis_off()


def show_minterms(axes: plt.Axes, position: int) -> None:
    """Probabilities of all minterms; the true one is bold."""
    places = torch.arange(len(minterms))
    axes.barh(places - 0.2, raw[position], 0.4, color="lightsteelblue", label="as defined")
    axes.barh(places + 0.2, calibrated[position], 0.4, color="tab:blue", label="calibrated")
    labels = axes.set_yticks(places, [f"digit {digits}" for digits in digits_of.values()])
    for label, minterm in zip(labels, minterms, strict=True):
        label.label1.set_fontweight("bold" if torch.equal(minterm, truth[position]) else "normal")
    axes.set(xlim=(0, 1.02), xlabel="probability of a minterm")
    axes.invert_yaxis()


def show_propositions(axes: plt.Axes, position: int) -> None:
    """Probabilities of some propositions; those that are true are bold."""
    asked = [Proposition(text, literals) for text in (*literals, "~even", *QUERIES[:2])]
    probabilities = ours.subspaces.score(test.embeddings[[position]], asked, "calibrated")[0]
    axes.barh(range(len(asked)), probabilities, color="tab:blue")
    labels = axes.set_yticks(range(len(asked)), [query.text for query in asked])
    for label, query in zip(labels, asked, strict=True):
        holds = bool(query.holds(truth[[position]]))
        label.label1.set_fontweight("bold" if holds else "normal")
    axes.set(xlim=(0, 1.02), xlabel="calibrated probability of a proposition")
    axes.invert_yaxis()


figure, grid = plt.subplots(2, 3, figsize=(11.5, 5.8), width_ratios=(1, 2, 2))
for row, position in zip(grid, (sure, unsure), strict=True):
    show_image(row[0], position)
    show_minterms(row[1], position)
    show_propositions(row[2], position)
grid[0, 1].legend(loc="lower right")
plt.show()

# %% [markdown]
# ## Can the probabilities be trusted?
#
# Of all statements that were given 0.8, eight in ten should be true. Here are all 242 conjunctions
# and 120 harder propositions about 360 images, in 15 bins, for both models. **Look at** the bars
# first, how many statements each bin holds: nearly all are at 0 or 1. A bin between them holds
# statements about the same few images, so that curves jump there. What counts is the *error*, the
# mean distance from the diagonal over all statements. Calibration is fitted on other images, the
# validation split, by a temperature and a bias of each literal for both.

# %%
evaluations = {
    name: evaluate(
        module.readout,
        module.beside,
        module.subspaces,
        images[name].embeddings,
        truth,
        module.queries,
        module.score_kind,
    )
    for name, module in models.items()
}
reliability_figure({name: evaluations[name].reliability["propositions"] for name in models})

# %% [markdown]
# ## Beside binary cross-entropy
#
# The usual way: one logit for each label, and a conjunction is the product of its probabilities,
# labels being taken for independent given the image. Each point is a query that at least ten test
# images answer; both models are asked the same. Axes are the *missing* average precision, 1 - AP,
# on a logarithmic scale; what is perfect is drawn at 0.0001.
#
# **Look at** the line: below it the subspaces rank better. After 15 epochs nearly all queries are
# there; binary cross-entropy is slower on these data. That is no verdict. On larger sets with rare
# minterms it is the other way round, see the [tables](tables.ipynb).

# %%
results = {name: evaluation.retrieval for name, evaluation in evaluations.items()}
counted = results["nuclear norm"].positives >= TOP_K
groups = ours.queries.groups
figure, axes = plt.subplots(figsize=(4.8, 4.6))
for name, color in (("positive", "tab:green"), ("negated", "tab:red"), ("depth_4", "tab:blue")):
    chosen = groups[name] & counted
    missing = [
        (1 - results[model].average_precision[chosen]).clamp(min=1e-4) for model in reversed(models)
    ]
    axes.plot(*missing, "o", color=color, alpha=0.4, markersize=5, label=name.replace("_", " "))
axes.plot([8e-5, 0.2], [8e-5, 0.2], color="black", linewidth=0.8)
axes.set(xlabel="1 - AP, binary cross-entropy", ylabel="1 - AP, nuclear norm")
axes.set(xscale="log", yscale="log", xlim=(8e-5, 0.2), ylim=(8e-5, 0.2), aspect="equal")
axes.legend(title="queries", loc="upper left")
plt.show()

# %% [markdown]
# Every run writes these means into its `metrics.json`, which is what tables are made of:

# %%
metrics = {
    name: json.loads((path.parent.parent / "metrics.json").read_text())
    for name, path in checkpoints.items()
}
SHOWN = {
    "test/minterm_accuracy": "all five labels right",
    "test/retrieval/map_positive": "mAP, positive conjunctions",
    "test/retrieval/map_negated": "mAP, conjunctions with negation",
    "test/retrieval/map_depth_4": "mAP, random propositions of depth 4",
    "test/calibration/probability_of_propositions": "calibration error, as defined",
    "test/calibration/calibrated_of_propositions": "calibration error, calibrated",
}
pd.DataFrame(
    {name: [f"{found[key]:.3f}" for key in SHOWN] for name, found in metrics.items()},
    index=list(SHOWN.values()),
)

# %% [markdown]
# ## What fails, and why
#
# ### There is nothing to answer
#
# No digit is prime and has a loop. The proposition is not a contradiction, but no minterm that was
# seen satisfies it, so its subspace is zero. The command says so instead of ranking by zeros.

# %%
try:
    read_query("prime & has_loop", ours)
except ValueError as error:
    display(str(error))

# %% [markdown]
# ### An image leans to another minterm
#
# The worst query of the subspaces, and the first image in its ranking that should not be there.
# **Look at** the bars: a good part of the embedding points to a minterm that the image does not
# have. Every proposition that is true of the one and false of the other errs on this image alike. A
# subspace does not fail on a label, it fails on a minterm, and errors come in families.

# %%
ours_precision = torch.where(counted, results["nuclear norm"].average_precision, 2.0)
worst = ours.queries.propositions[int(ours_precision.argmin())]
ranking = ours.score(test.embeddings, [worst])[:, 0].argsort(descending=True)
holds = worst.holds(truth)[ranking]
first_wrong = int((~holds).nonzero()[0])
misplaced = int(ranking[first_wrong])

figure, (picture, bars) = plt.subplots(1, 2, figsize=(7.5, 3.2), width_ratios=(1, 2))
show_image(picture, misplaced)
show_minterms(bars, misplaced)
bars.legend(loc="lower right")
figure.suptitle(
    f"{worst.text}: {int(holds.sum())} images answer, first wrong one at rank {first_wrong + 1}",
    size=11,
)
plt.show()

# %% [markdown]
# ### There is no room for the minterms
#
# Subspaces need embeddings that were made for them. Those of binary cross-entropy have five
# dimensions, one for each label, and eight minterms. One can fit directions to them all the same;
# every run with another readout reports what they are worth (`test/subspaces/...`). **Look at** the
# coherence.

# %%
bce = models["binary cross-entropy"]
coherence_figure(bce.subspaces.directions, bce.subspaces.minterms, literals)

# %% [markdown]
# And at what it does to the query for which it does most: the subspaces of its minterms hold a good
# part of other images too, so other images answer. The same embeddings, read by their own sigmoids,
# rank well, and so does the same readout on embeddings of the nuclear norm. It takes both: the loss
# makes the geometry that the readout assumes.

# %%
queries = ours.queries.propositions
scores_by_subspaces = bce.subspaces.score(images["binary cross-entropy"].embeddings, queries, "sum")
by_subspaces = average_precision(scores_by_subspaces, truth_table(queries, truth))
conjunction = groups[""] & counted
failing = queries[int(torch.where(conjunction, by_subspaces, 2.0).argmin())]
ask("binary cross-entropy", (failing.text,), kind="sum")

# %%
row = queries.index(failing)
pd.DataFrame(
    {
        "average precision": {
            "subspaces of binary cross-entropy": f"{float(by_subspaces[row]):.3f}",
            **{
                f"{name}, its own readout": f"{float(found.average_precision[row]):.3f}"
                for name, found in results.items()
            },
        }
    }
).rename_axis(failing.text)

# %% [markdown]
# ## Where to go from here
#
# - Another loss with its readout: `python -m src.train method=harmonic`; `conf/method` has them
#   all.
# - Your own images: `python -m src.retrieve ckpt_path=... gallery=FOLDER query="..."`.
# - Several seeds and means over them: `python -m src.train -m seed=1,2,3`, and the
#   [tables](tables.ipynb).
