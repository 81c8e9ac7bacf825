# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Theory in pictures
#
# An encoder maps images to vectors. Each image has several labels at once, such as *even* and
# *prime* for a handwritten digit, and we want to ask for **propositions** of them: `even & ~prime`.
# This notebook shows how one loss makes propositions into subspaces:
#
# 1. the loss, and why it has the form that it has;
# 2. its minimum, which is known in closed form;
# 3. why it is *minterms*, and not labels, that become orthogonal;
# 4. propositions as subspaces, with *and*, *or* and *not*;
# 5. what breaks when directions overlap.
#
# Everything is computed by the functions of `src/losses` and `src/subspaces`; nothing is trained
# but a few free vectors. It runs in about a minute.

# %%
import sys
from collections.abc import Callable
from functools import partial

sys.path.insert(0, "..")  # notebooks run in their own folder, the project is one above

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize, one_hot
from torch.optim import SGD

from src.data.digits import DIGITS_WITH
from src.losses.nuclear import NuclearNormLoss, nuclear_norm_loss, nuclear_norm_terms
from src.readouts.subspaces import MintermSubspaces
from src.studies.descent import gradient_steps, random_start
from src.studies.lattice_laws import entailment_agreement
from src.studies.synthetic import descend, label_matrix, squared_cosines
from src.subspaces.closed_form import optimal_embeddings, optimal_loss, optimal_singular_values
from src.subspaces.lattice import boolean_share, complement, entails, join, meet
from src.subspaces.minterms import distinct_minterms, find_minterms
from src.subspaces.projectors import coherence, max_coherence, max_commutator, span_projectors
from src.subspaces.propositions import Proposition, conjunctions
from src.tables.experiments import load_experiment

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
plt.rcParams |= {"figure.dpi": 80, "figure.constrained_layout.use": True}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}

# %% [markdown]
# ## 1. The loss
#
# Write the embeddings of a batch as the columns of $X$ ($D \times N$), its labels, zeros and ones,
# as those of $Y$ ($C \times N$), and stack them to $Z = \binom{Y}{X}$. The loss is
#
# $$ \ell(X) = \|Z\|_* - \alpha \|X\|_* + \beta \|X\|_2^2 , $$
#
# with $\|\cdot\|_*$ the nuclear norm, the sum of the singular values, and $\|\cdot\|_2$ the largest
# of them. The nuclear norm is a soft count of dimensions. So the loss asks embeddings to have
# **many dimensions**, $-\alpha\|X\|_*$, but **none that labels do not have too**, $\|Z\|_*$, and to
# be **of bounded size**, $\beta\|X\|_2^2$.
#
# In code samples are rows, as usual: `nuclear_norm_loss(embeddings, labels, alpha, beta)` takes
# $(N, D)$ and $(N, C)$. Its gradient is not differentiated but written down,
# $\partial\|Z\|_* / \partial Z = (ZZ^\top)^{-1/2} Z$, from the small matrix $ZZ^\top$. Held against
# PyTorch, which differentiates through singular values:

# %%
embeddings = random_start(6, 4, seed=0, scale=1.0).requires_grad_()
labels = torch.tensor([[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1], [1, 1, 0]]).double()


def loss_by_svd(embeddings: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    """The definition, word for word."""
    joint = torch.linalg.svdvals(torch.cat([labels, embeddings], dim=1))
    values = torch.linalg.svdvals(embeddings)
    return joint.sum() - alpha * values.sum() + beta * values.max() ** 2


losses = {
    "nuclear_norm_loss": nuclear_norm_loss(embeddings, labels, alpha=0.99, beta=0.05),
    "the definition, by svdvals": loss_by_svd(embeddings, alpha=0.99, beta=0.05),
}
gradients = [torch.autograd.grad(loss, embeddings)[0] for loss in losses.values()]
pd.DataFrame(
    {
        "loss": [f"{float(loss.detach()):.12f}" for loss in losses.values()],
        "norm of the gradient": [f"{float(gradient.norm()):.12f}" for gradient in gradients],
        "its largest difference": ["", f"{float((gradients[0] - gradients[1]).abs().max()):.0e}"],
    },
    index=list(losses),
)

# %% [markdown]
# ### Why $\alpha < 1$, and what $\beta$ does
#
# Take one image with one label, $Y = 1$, and an embedding of length $s$. Then
# $\ell = \sqrt{1 + s^2} - \alpha s + \beta s^2$.
#
# **Look at** the left picture, without $\beta$. For $\alpha < 1$ there is a minimum, at $s = k =
# \alpha / \sqrt{1 - \alpha^2}$. At $\alpha = 1$ the curve falls forever, towards 0, and beyond 1 it
# falls without bound: embeddings would run away. **On the right**, $\alpha = 0.99$ would like a
# length of 7, and $\beta$ stops it earlier. Dots are the closed form, of which more below.

# %%
lengths = np.linspace(0, 12, 160)
one_label = torch.ones(1, 1)


def loss_of_length(length: float, alpha: float, beta: float) -> float:
    """Of one image, for any alpha and beta: `NuclearNormTerms` holds the three norms."""
    return float(nuclear_norm_terms(torch.tensor([[length]]), one_label).combine(alpha, beta))


figure, (without_beta, with_beta) = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
for alpha in (0.5, 0.9, 0.99, 1.0, 1.1):
    curve = [loss_of_length(length, alpha, 0.0) for length in lengths]
    (line,) = without_beta.plot(lengths, curve, label=rf"$\alpha$ = {alpha}")
    if alpha < 1:
        best = alpha / (1 - alpha**2) ** 0.5
        without_beta.plot(best, loss_of_length(best, alpha, 0.0), "o", color=line.get_color())
for beta in (0.005, 0.05, 0.5):
    curve = [loss_of_length(length, 0.99, beta) for length in lengths]
    (line,) = with_beta.plot(lengths, curve, label=rf"$\beta$ = {beta}")
    best = float(optimal_singular_values(one_label, 0.99, beta))
    with_beta.plot(best, loss_of_length(best, 0.99, beta), "o", color=line.get_color())
without_beta.set(xlabel="length $s$ of the embedding", ylabel="loss", ylim=(-0.4, 3))
without_beta.set_title(r"$\beta = 0$: a minimum needs $\alpha < 1$")
with_beta.set(xlabel="length $s$ of the embedding")
with_beta.set_title(r"$\alpha = 0.99$: $\beta$ caps the length")
without_beta.legend(loc="upper right")
with_beta.legend()
plt.show()

# %% [markdown]
# ### Two images
#
# Now two images in the plane, of the lengths that are optimal for them, at an angle. **Look at**
# where each curve is lowest.
#
# - Equal labels: embeddings agree, 0°.
# - Nothing in common: they are orthogonal, 90°.
# - One label in common, another not: it depends. With $\alpha$ small, embeddings **copy the
#   labels**, whose angle is 45° (left). With $\alpha$ close to 1 and some $\beta$ they become
#   **orthogonal** (right): what counts is no longer how similar two sets of labels are, but whether
#   they are the same. This is the setting that we want, and section 3 says why.
#
# There is a price, in blue on the right: between 0° and 90° two images of *equal* labels hardly
# notice each other. What pulls a minterm together is that several of its images are in the batch;
# with one or two, the loss is nearly as low when each goes its own way.

# %%
PAIRS = {
    "a & b, a & b": [[1, 1], [1, 1]],
    "a & b, only a": [[1, 1], [1, 0]],
    "only a, only b": [[1, 0], [0, 1]],
}
angles = np.linspace(0, 180, 121)
figure, panels = plt.subplots(1, 2, figsize=(10, 3.6))
for axes, (alpha, beta) in zip(panels, ((0.5, 0.001), (0.99, 0.05)), strict=True):
    for name, pair in PAIRS.items():
        pair_labels = torch.tensor(pair).double()
        best = optimal_embeddings(pair_labels, alpha, beta, embedding_dim=2)
        first, second = best.norm(dim=1).tolist()
        curve = []
        for angle in np.radians(angles):
            turned = second * torch.tensor([np.cos(angle), np.sin(angle)])
            moved = torch.stack([torch.tensor([first, 0.0]), turned])
            curve.append(float(nuclear_norm_loss(moved, pair_labels, alpha, beta)))
        (line,) = axes.plot(angles, curve, label=name)
        cosine = torch.cosine_similarity(best[0], best[1], dim=0).clamp(-1, 1)
        least = optimal_loss(pair_labels, alpha, beta)
        axes.plot(np.degrees(np.arccos(float(cosine))), least, "o", color=line.get_color())
    axes.set(xlabel="angle between the two embeddings, degrees", xticks=range(0, 181, 45))
    axes.set_title(rf"$\alpha$ = {alpha}, $\beta$ = {beta}")
panels[0].set_ylabel("loss; dots: closed form")
panels[0].legend(title="labels of the two", loc="upper left")
plt.show()

# %% [markdown]
# ### Many images
#
# Gradient descent on 24 free vectors, half with the labels *a*, half with *a* and *b*. **Look at**
# how each half contracts to one point (black), and the two points to a right angle, although one of
# the two labels is shared by all.

# %%
two_minterms = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).repeat_interleave(12, dim=0)
loss = NuclearNormLoss(alpha=0.99, beta=0.05)
steps = gradient_steps(
    lambda free: loss(free, two_minterms), random_start(24, 2, 3, 1.2), SGD, 0.03, 0.9995, 6000
)
paths = torch.stack([step.clone() for step in steps])  # (steps, 24, 2)

figure, axes = plt.subplots(figsize=(6, 4.8))
for color, name, chosen in (("tab:blue", "a", range(12)), ("tab:orange", "a & b", range(12, 24))):
    for image in chosen:
        axes.plot(*paths[:, image].T, color=color, linewidth=0.8)
    axes.plot(*paths[0, list(chosen)].T, "o", color=color, markersize=4, label=name)
    axes.annotate("", paths[-1, chosen[0]], (0, 0), arrowprops={"arrowstyle": "->", "lw": 1.5})
axes.plot(*paths[-1].T, "ko", markersize=5)
ends = normalize(paths[-1, [0, 12]], dim=1)
axes.set(aspect="equal", title=f"cosine at the end: {abs(float(ends[0] @ ends[1])):.3f}")
axes.axhline(0, color="0.9", zorder=0)
axes.axvline(0, color="0.9", zorder=0)
axes.legend(title="labels", loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## 2. The minimum in closed form
#
# Let $\mu_1 \ge \dots \ge \mu_r > 0$ be the singular values of the labels and $V$ their right
# singular vectors. Every minimiser is $X = Q \operatorname{diag}(s) V^\top$, with $Q$ any
# orthonormal columns, a spectral embedding of $Y^\top Y$, and
#
# $$ s_i = \min(t,\, k\mu_i), \qquad k = \frac{\alpha}{\sqrt{1-\alpha^2}} . $$
#
# Each direction of the labels would like to be stretched to $k\mu_i$. But $\beta\|X\|_2^2$ charges
# for the largest one only, so the tall ones are cut at a common level $t$, like water in a tank,
# turned upside down; $t$ is the root of one increasing function.
#
# The labels here are `Y0` of the paper: six labels that overlap on 15 images. **Look at** light
# bars, what each direction would like, and dark ones, what it gets. On the left embeddings copy the
# labels (all but the first reach $k\mu_i$); on the right the spectrum is **flat**, $s_i = t$.

# %%
study = load_experiment("synthetic", "cpu", {}).study
y0 = label_matrix(study.labels.Y0)
label_values = torch.linalg.svdvals(y0)
SETTINGS = ((0.5, 0.001), (0.9, 0.05), (0.99, 0.7))

figure, panels = plt.subplots(1, 3, figsize=(11, 3.3))
for axes, (alpha, beta) in zip(panels, SETTINGS, strict=True):
    wanted = alpha / (1 - alpha**2) ** 0.5 * label_values
    values = optimal_singular_values(y0, alpha, beta)
    axes.bar(range(1, 7), wanted, color="lightsteelblue", label=r"$k\mu_i$, wanted")
    axes.bar(range(1, 7), values, color="tab:blue", label=r"$s_i$, optimal")
    axes.axhline(values[0], color="black", linestyle="--", linewidth=1, label="level $t$")
    axes.set(xlabel="direction $i$", ylim=(0, 1.45 * values[0]), xticks=range(1, 7))
    axes.set_title(rf"$\alpha$ = {alpha}, $\beta$ = {beta}")
panels[0].set_ylabel("singular value")
panels[0].legend(loc="upper right")
plt.show()

# %% [markdown]
# ### Descent ends there
#
# Free embeddings with 10 dimensions start near zero and descend the loss. **Look at** their ten
# singular values: six rise to the closed form (dashed), the other four stay at zero. Nothing is
# fitted here; the dashed lines come from the labels alone.

# %%
descents = {
    (alpha, beta): descend(
        y0, 10, 0, loss=NuclearNormLoss(alpha, beta), lr=0.12, decay=0.998, iterations=4000
    )
    for alpha, beta in SETTINGS
}
figure, panels = plt.subplots(1, 3, figsize=(11, 3.3))
for axes, ((alpha, beta), found) in zip(panels, descents.items(), strict=True):
    values = optimal_singular_values(y0, alpha, beta)
    axes.plot(found.singular_values[:, len(values) :], color="0.7", linewidth=1)
    axes.plot(found.singular_values[:, : len(values)], color="tab:blue")
    for value in values:
        axes.axhline(value, color="black", linestyle="--", linewidth=0.8)
    gap = found.loss - optimal_loss(y0, alpha, beta)
    axes.set(xscale="log", xlabel="iteration")
    axes.set_title(rf"$\alpha$ = {alpha}, $\beta$ = {beta}: loss $-$ optimum = {gap:.0e}", size=10)
panels[0].set_ylabel("singular values of the embeddings")
plt.show()

# %% [markdown]
# And their cosines, squared. **Look at** the blocks: with a small $\alpha$ embeddings look like the
# labels, shared ones included. With a flat spectrum every *set* of labels has a direction of its
# own, orthogonal to all others.

# %%
shown = {"labels": squared_cosines(y0)}
shown |= {
    rf"embeddings, $\alpha$ = {alpha}, $\beta$ = {beta}": squared_cosines(found.embeddings)
    for (alpha, beta), found in descents.items()
}
figure, panels = plt.subplots(1, 4, figsize=(12.5, 3.4))
for axes, (name, matrix) in zip(panels, shown.items(), strict=True):
    picture = axes.imshow(matrix, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[], xlabel="15 images")
    axes.set_title(name, size=10)
figure.colorbar(picture, ax=panels, shrink=0.7, label=r"$\cos^2$")
plt.show()

# %% [markdown]
# ### Which $\alpha$ and $\beta$ give a flat spectrum?
#
# All that the smallest direction of the labels would like, $k\mu_r$, where the level $t$ is below
# it: then every direction is capped. The closed form says where, without a single training. **Look
# at** the white line. Above it the spectrum is flat (left), and there minterms are orthogonal
# (middle). The cross is $\alpha = 0.99$, $\beta = 0.7$ of the paper's experiment with `Y0`.
#
# Labels matter as much: `Y0` has 15 images, and directions that differ by a factor of ten. On the
# right are minterm indicators of 120 digits, for which $\mu_i$ is the root of the number of images
# of a minterm; nearly anything does, also the $\alpha = 0.99$, $\beta = 0.05$ of `src.train`
# (cross).


# %%
alphas = 1 - np.logspace(-0.3, -3, 32)
betas = np.logspace(-3, 0.5, 32)


def minterm_directions(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Unit directions of the minterms of labels (N, C), in their order: (M, D)."""
    subspaces = MintermSubspaces(distinct_minterms(labels), embeddings.shape[1])
    subspaces.update(embeddings, labels)
    subspaces.fit()
    return subspaces.directions


def over_settings(function: Callable[[float, float], float]) -> np.ndarray:
    """A function of alpha and beta on the grid: (32, 32)."""
    return np.array([[function(alpha, beta) for alpha in alphas] for beta in betas])


def flatness(labels: torch.Tensor, alpha: float, beta: float) -> float:
    """Smallest over largest singular value at the optimum: 1 where the spectrum is flat."""
    values = optimal_singular_values(labels, alpha, beta)
    return float(values[-1] / values[0])


def margin(labels: torch.Tensor, alpha: float, beta: float) -> float:
    """log (k mu_r / t), above 0 where all directions are capped."""
    smallest = torch.linalg.svdvals(labels)[-1] * alpha / (1 - alpha**2) ** 0.5
    return float((smallest / optimal_singular_values(labels, alpha, beta)[0]).log())


def overlap(labels: torch.Tensor, alpha: float, beta: float) -> float:
    """Largest squared cosine between minterms at the optimum."""
    return max_coherence(minterm_directions(optimal_embeddings(labels, alpha, beta, 8), labels))


digit_classes = torch.tensor([[d in digits for digits in DIGITS_WITH.values()] for d in range(10)])
digit_minterms = find_minterms(digit_classes, distinct_minterms(digit_classes))
batch = one_hot(digit_minterms).double().repeat(12, 1)  # 12 images of each digit
panels_of = {
    "Y0: smallest / largest singular value": (flatness, y0, 0.7),
    "Y0: largest squared cosine of minterms": (overlap, y0, 0.7),
    "120 digits: smallest / largest": (flatness, batch, 0.05),
}
figure, panels = plt.subplots(1, 3, figsize=(13, 3.7), sharey=True)
for axes, (name, (function, labels, beta)) in zip(panels, panels_of.items(), strict=True):
    values = over_settings(partial(function, labels))
    picture = axes.pcolormesh(1 - alphas, betas, values, shading="nearest", vmin=0)
    limit = over_settings(partial(margin, labels))
    axes.contour(1 - alphas, betas, limit, levels=[0], colors="white")
    axes.plot(0.01, beta, "x", color="red", markersize=9, markeredgewidth=2)
    axes.set(xscale="log", yscale="log", xlabel=r"$1 - \alpha$")
    axes.set_title(name, size=11)
    axes.invert_xaxis()
    figure.colorbar(picture, ax=axes)
panels[0].set_ylabel(r"$\beta$")
plt.show()

# %% [markdown]
# ## 3. Minterms, and why it is they who become orthogonal
#
# A **literal** is a label or its negation. A **minterm** is a full conjunction, one value for every
# label, such as `even & ~prime & ~at_least_five & ...`. Each image satisfies exactly one minterm,
# so minterms, unlike labels, exclude each other.
#
# Let $T$ hold the distinct minterms as columns ($C \times M$) and $E$ say which image has which
# ($M \times N$, one 1 in each column), so that $Y = TE$. If $T$ has rank $M$, the rows of $Y$ span
# the same space as those of $E$. With a flat spectrum, then,
#
# $$ X^\top X = t^2\, V V^\top = t^2\, E^\top (E E^\top)^{-1} E , $$
#
# since both are *the* projector onto that space: $x_i \cdot x_j = t^2 / n_m$ for two of the $n_m$
# images of minterm $m$, and **0 for different minterms**. How much the labels of two minterms share
# has dropped out. Literals cannot be orthogonal: some images are even *and* prime. They become
# subspaces of several dimensions that share the directions of common minterms.
#
# The condition matters. Digits with five labels have eight minterms, and rank 5:

# %%
rows = {str(digit): [digit in digits for digits in DIGITS_WITH.values()] for digit in range(10)}
frame = pd.DataFrame(rows, index=list(DIGITS_WITH)).T.rename_axis("digit")
frame.map(lambda value: "yes" if value else "")

# %% [markdown]
# Five and seven agree in all labels, and so do six and eight: ten digits, eight minterms. **Look
# at** the squared cosines of the eight directions at the optimum, off the diagonal.
#
# - *Literals as labels*: five dimensions for eight minterms; they overlap. No training can help.
# - *Indicators of minterms as labels* ($Y = E$): the rank is that of the minterms, by construction,
#   and the directions are orthogonal. This is what `module.label_coding=minterms` does.
# - *Indicators, but an embedding of five dimensions*: there is no room for eight orthogonal
#   directions. The closed form needs $D \ge r$, so this one was descended.
#
# The authors keep literals and draw only as many minterms in a batch as there are labels
# (`loader.minterms_per_batch=5`), which has full rank within most batches, though not over all of
# them.

# %%
literals = list(DIGITS_WITH)
digit_labels = torch.tensor(list(rows.values())).repeat_interleave(4, dim=0)  # (40, 5)
minterms = distinct_minterms(digit_labels)  # (8, 5)
index = find_minterms(digit_labels, minterms)
names = ["/".join(d for d in rows if index[4 * int(d)] == m) for m in range(len(minterms))]
indicators = one_hot(index).double()

cramped = descend(
    indicators, 5, 0, loss=NuclearNormLoss(0.99, 0.05), lr=0.5, decay=0.999, iterations=2500
)
spread = minterm_directions(optimal_embeddings(indicators, 0.99, 0.05, 8), digit_labels)
shown = {
    "labels of minterms": normalize(minterms.double(), dim=1),
    "literals as labels, D = 8": minterm_directions(
        optimal_embeddings(digit_labels, 0.99, 0.05, 8), digit_labels
    ),
    "indicators, D = 8": spread,
    "indicators, D = 5": minterm_directions(cramped.embeddings, digit_labels),
}
figure, panels = plt.subplots(1, 4, figsize=(13, 3.7), sharey=True)
for axes, (name, directions) in zip(panels, shown.items(), strict=True):
    picture = axes.imshow(coherence(directions), vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(f"{name}\nlargest off the diagonal {max_coherence(directions):.2f}", size=10)
panels[0].set_ylabel("digits of a minterm")
figure.colorbar(picture, ax=panels, shrink=0.7, label=r"$(u_i \cdot u_j)^2$")
plt.show()

# %% [markdown]
# ## 4. Propositions are subspaces
#
# Give every minterm its unit direction $u_m$. A proposition $q$ is true of some minterms, $M(q)$,
# and its subspace is spanned by their directions. An image $x$, scaled to length 1, answers with
# the squared length of its projection:
#
# $$ \|P_q x\|^2 = \sum_{m \in M(q)} (u_m \cdot x)^2, \qquad
#    P_q = \sum_{m \in M(q)} u_m u_m^\top \quad\text{if the } u_m \text{ are orthogonal.} $$
#
# By Pythagoras these add up to 1 over all minterms: they are probabilities. **Look at** three
# minterms in space. `a | b` is the plane, which is also `~c`; the shadow of $x$ on it and its part
# along $c$ have squared lengths that add up to 1. Negation is the orthogonal complement: it needs
# no training of its own.

# %%
axes_directions = torch.eye(3)
image = normalize(torch.tensor([0.75, 0.6, 0.62]), dim=0)
masks = torch.tensor([[1, 1, 0], [0, 0, 1]])
plane, line = span_projectors(axes_directions, masks)
shadow, height = plane @ image, line @ image

figure = plt.figure(figsize=(6.4, 4.4))
axes = figure.add_subplot(projection="3d", computed_zorder=False)
corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 1.05
triangles = [[0, 1, 2], [0, 2, 3]]
axes.plot_trisurf(*corners.T, np.zeros(4), triangles=triangles, color="tab:blue", alpha=0.2)
for direction, name in zip(axes_directions, ("a", "b", "c"), strict=True):
    axes.quiver(0, 0, 0, *direction, color="black", arrow_length_ratio=0.06, linewidth=1)
    axes.text(*(1.1 * direction), f"$u_{name}$", size=13)
for end in (shadow, height):
    axes.plot(*torch.stack([image, end]).T, ":", color="0.4")
for vector, color, name in (
    (image, "tab:red", "$x$"),
    (shadow, "tab:blue", rf"$\|P_{{a|b}}\,x\|^2$ = {float(shadow @ shadow):.2f}"),
    (height, "tab:green", rf"$\|P_c\,x\|^2$ = {float(height @ height):.2f}"),
):
    axes.quiver(0, 0, 0, *vector, color=color, arrow_length_ratio=0.08, linewidth=2.2)
    axes.plot([], [], color=color, linewidth=2.2, label=name)
figure.legend(loc="outside right upper", fontsize=12)
axes.set(xlim=(0, 1), ylim=(0, 1), zlim=(0, 1), box_aspect=(1, 1, 0.9))
axes.view_init(20, -32)
axes.set_axis_off()
plt.show()

# %% [markdown]
# For the eight minterms of the digits: a proposition, the digits that it is true of, and the
# dimension of its subspace. **Look at** the last three rows. A contradiction is the zero subspace
# and a tautology the whole span, as they should be; but so are propositions that are false, or
# true, *of all digits*. The space knows the minterms that training has shown, and nothing else.

# %%
QUERIES = (
    "even",
    "~even",
    "even & ~prime",
    "prime & ~even",
    "has_loop | square",
    "(even & ~prime) | (~even & prime)",
    "even & ~even",
    "prime & has_loop",
    "~prime | ~has_loop",
)
queries = [Proposition(text, literals) for text in QUERIES]
masks = torch.stack([query.holds(minterms) for query in queries])
projectors = span_projectors(spread, masks)
pd.DataFrame(
    {
        "true of the digits": [
            ", ".join(name for name, holds in zip(names, mask, strict=True) if holds)
            for mask in masks
        ],
        "dimension": projectors.diagonal(dim1=1, dim2=2).sum(dim=1).round().int().tolist(),
    },
    index=pd.Index(QUERIES, name="proposition"),
)

# %% [markdown]
# ### The lattice
#
# *And* is the intersection of subspaces (`meet`), *or* the smallest subspace that holds both, their
# sum (`join`), *not* the complement within the span of all minterms. Ordered by inclusion, which is
# entailment, subspaces form a **lattice**.
#
# Two labels $p$, $q$ make four minterms and $2^4 = 16$ propositions. **Look at** the picture from
# below: nothing, the four minterms (dimension 1), six planes (among them $p$, $q$ and "exactly one
# of them"), four disjunctions, everything. A line is an inclusion, found by `entails` from the
# projectors alone. The subsets of four things have the same picture: the lattice is **Boolean**.

# %%
NAMES = {
    "p & q": (1, 0, 0, 0), "p & ~q": (0, 1, 0, 0), "~p & q": (0, 0, 1, 0), "~p & ~q": (0, 0, 0, 1),
    "p": (1, 1, 0, 0), "q": (1, 0, 1, 0), "(p & q) | (~p & ~q)": (1, 0, 0, 1),
    "(p & ~q) | (~p & q)": (0, 1, 1, 0), "~q": (0, 1, 0, 1), "~p": (0, 0, 1, 1),
    "p | q": (1, 1, 1, 0), "p | ~q": (1, 1, 0, 1), "~p | q": (1, 0, 1, 1), "~p | ~q": (0, 1, 1, 1),
    "FALSE": (0, 0, 0, 0), "TRUE": (1, 1, 1, 1),
}  # fmt: skip
truth_table = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]).bool()
sixteen = [Proposition(text, ["p", "q"]) for text in NAMES]
masks = torch.stack([query.holds(truth_table) for query in sixteen])
spaces = span_projectors(torch.eye(4), masks)
dimensions = spaces.diagonal(dim1=1, dim2=2).sum(dim=1).round().int()
included = entails(spaces.unsqueeze(1), spaces)

places = {}
for dimension in range(5):
    members = (dimensions == dimension).nonzero().flatten().tolist()
    for place, member in enumerate(members):
        places[member] = (2.1 * (place - (len(members) - 1) / 2), dimension)
figure, axes = plt.subplots(figsize=(11, 5.4))
for lower, upper in included.nonzero().tolist():
    if dimensions[upper] == dimensions[lower] + 1:
        axes.plot(*np.transpose([places[lower], places[upper]]), color="0.75", zorder=0)
for member, text in enumerate(NAMES):
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "tab:blue"}
    axes.text(*places[member], text, ha="center", va="center", bbox=box, size=10)
axes.set(yticks=range(5), xticks=[], ylabel="dimension of the subspace", ylim=(-0.3, 4.3))
axes.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# ## 5. What if directions overlap?
#
# After a finite training, or with labels of too low a rank, the $u_m$ are not quite orthogonal.
# Three things happen.
#
# **The order begins to matter** (left): projecting $x$ onto the line $A$ and then onto $B$ is not
# the same as first $B$, then $A$. The difference $P_A P_B - P_B P_A$ is the *commutator*; it
# vanishes exactly where two subspaces agree or are orthogonal, part by part.
#
# **The sum of $u_m u_m^\top$ is no projector any more** (middle): of two directions at an angle
# $\theta$ it has the eigenvalues $1 \pm \cos\theta$. What they share is counted twice.
#
# **So scores differ** (right). `sum`, as published, exceeds 1 for an image between two directions;
# `projector` projects onto their span and cannot. At 90° both are the same.


# %%
angles = np.linspace(1, 90, 90)


def line_at(degrees: float) -> torch.Tensor:
    """The unit vector of the plane at an angle."""
    radians = np.radians(degrees)
    return torch.tensor([[np.cos(radians), np.sin(radians)]])


first, second, image = line_at(0), line_at(50), 1.25 * line_at(78)[0]
both = torch.cat([first, second])
on_first, on_second = span_projectors(both, torch.eye(2))

figure, (order, spectrum, scores) = plt.subplots(1, 3, figsize=(13, 3.9))
for direction, name in ((first, "A"), (second, "B")):
    order.plot(*torch.cat([-0.1 * direction, 1.25 * direction]).T, color="0.6", linewidth=1)
    order.text(*(1.3 * direction[0]), f"${name}$", size=13, va="center")
for one, other, color, name, place in (
    (on_first, on_second, "tab:blue", r"$P_B P_A\,x$", (-0.33, 0.12)),
    (on_second, on_first, "tab:orange", r"$P_A P_B\,x$", (0.6, -0.14)),
):
    path = torch.stack([image, one @ image, other @ one @ image])
    order.plot(*path.T, ":", color=color)
    order.annotate("", path[2], (0, 0), arrowprops={"arrowstyle": "->", "lw": 2, "color": color})
    order.text(*place, name, color=color, size=12)
order.annotate("", image, (0, 0), arrowprops={"arrowstyle": "->", "lw": 2, "color": "tab:red"})
order.text(*(image + torch.tensor([0.02, 0.02])), "$x$", color="tab:red", size=13)
order.set(aspect="equal", title="the order matters", xlim=(-0.4, 1.45), ylim=(-0.25, 1.35))
order.set_axis_off()

pairs = [torch.cat([line_at(-angle / 2), line_at(angle / 2)]) for angle in angles]
eigenvalues = [torch.linalg.eigvalsh(pair.T @ pair).tolist() for pair in pairs]
spectrum.plot(angles, eigenvalues, color="tab:purple")
spectrum.axhline(1, color="black", linestyle="--", linewidth=1, label="of a projector: 0 or 1")
spectrum.set(xlabel=r"angle $\theta$ between $u_1$ and $u_2$, degrees", ylim=(0, 2.05))
spectrum.set_title(r"eigenvalues of $u_1 u_1^\top + u_2 u_2^\top$")
spectrum.legend()

for kind, color in (("sum", "tab:red"), ("projector", "tab:green")):
    curve = []
    for pair in pairs:
        subspaces = MintermSubspaces(torch.eye(2).bool(), 2)
        subspaces.update(pair, torch.eye(2))
        subspaces.fit()
        curve.append(float(subspaces.scores(line_at(0), torch.ones(1, 2), kind)))
    scores.plot(angles, curve, color=color, label=kind)
scores.set(xlabel=r"angle $\theta$ between $u_1$ and $u_2$, degrees", ylim=(0, 2.05))
scores.set_title("score of the image halfway between")
scores.legend()
plt.show()

# %% [markdown]
# ### Which laws survive?
#
# Now the four minterms of $p$ and $q$ with directions that are all at the same angle to each other.
# $p$ is the plane of its two minterms, and so is $q$; their negations are orthogonal complements.
# Every law is checked for all choices of $A$, $B$, $C$ among $p$, $q$ and their negations, with
# `meet`, `join` and `complement`; a cell is the largest $\|\text{left} - \text{right}\|_F$.
#
# **Look at** the last row. Subspaces always obey the laws of negation, De Morgan's laws and
# absorption; even the modular law survives in finite dimensions. What breaks is **distributivity**,
# and with it the habit of rewriting a proposition without changing its meaning. A logic that lacks
# it is the *quantum logic* of Birkhoff and von Neumann.


# %%
meaning = ["double negation", "contradiction", "excluded middle", "De Morgan", "absorption"]


def tilted(cosine: float, num: int = 4) -> torch.Tensor:
    """Unit directions (num, num) with the same cosine between any two."""
    gram = (1 - cosine) * torch.eye(num) + cosine
    return torch.linalg.cholesky(gram)


def literal_spaces(directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Projectors of p, q (2, 4, 4) and of the span of all minterms (4, 4)."""
    found = span_projectors(directions, torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]))
    return found[:2], found[2]


def violations(directions: torch.Tensor) -> dict[str, float]:
    """How far each law is from holding, at worst."""
    spaces, unit = literal_spaces(directions)
    every = torch.cat([spaces, complement(spaces, unit)])  # p, q, ~p, ~q
    a, b, c = every[:, None, None], every[None, :, None], every[None, None, :]
    zero = torch.zeros_like(unit)
    sides = {
        "~~A = A": (complement(complement(a, unit), unit), a),
        "A & ~A = false": (meet(a, complement(a, unit)), zero),
        "A | ~A = true": (join(a, complement(a, unit)), unit),
        "~(A & B) = ~A | ~B": (
            complement(meet(a, b), unit),
            join(complement(a, unit), complement(b, unit)),
        ),
        "A | (A & B) = A": (join(a, meet(a, b)), a),
        "A | (B & (A | C)) = (A | B) & (A | C)": (
            join(a, meet(b, join(a, c))),
            meet(join(a, b), join(a, c)),
        ),
        "A & (B | C) = (A & B) | (A & C)": (
            meet(a, join(b, c)),
            join(meet(a, b), meet(a, c)),
        ),
    }
    return {
        law: float(torch.linalg.matrix_norm(left - right).max())
        for law, (left, right) in sides.items()
    }


laws = pd.DataFrame(
    {
        f"{np.degrees(np.arccos(cosine)):.0f}° apart": violations(tilted(cosine))
        for cosine in (0.0, 0.2, 0.5)
    }
)
laws.insert(0, "name", [*meaning, "modular law", "distributivity"])
laws.map(lambda cell: cell if isinstance(cell, str) else "0" if cell < 1e-9 else f"{cell:.2f}")

# %% [markdown]
# ### How much survives?
#
# A table of laws says yes or no; in practice overlap is small, and one wants degrees. **Look at**
# the three curves over the largest squared cosine between minterms, which every run logs.
#
# - The **commutator** (`max_commutator`) grows with the *cosine*, so that over its square it is
#   steep at 0: a coherence of 0.01 is a cosine of 0.1.
# - The **Boolean share** (`boolean_share`), of dimensions that split exactly into minterms, jumps
#   from 1 to one half: of the four minterms `p & q` and `~p & ~q` are still lines, the other two
#   meets are nothing. Whether subspaces meet has no degrees.
# - **Entailment** (`entailment_agreement`): how often subspaces entail as truth does, over all
#   pairs of conjunctions of $p$ and $q$. It jumps for the same reason.
#
# The exact lattice is for exact optima. Scores, and with them rankings, are kinder: they change
# continuously with the directions. The tour of [retrieval](retrieval.ipynb) looks at trained ones.

# %%
squares = np.concatenate([[0, 1e-12, 1e-6], np.linspace(1e-3, 0.7, 60)])
measured = {"largest commutator": [], "Boolean share": [], "entailments as in logic": []}
for square in squares:
    spaces, unit = literal_spaces(tilted(square**0.5))
    signed = torch.cat([spaces, complement(spaces, unit)])
    asked = conjunctions(["p", "q"], 2)
    measured["largest commutator"].append(max_commutator(signed))
    measured["Boolean share"].append(boolean_share(spaces, unit))
    measured["entailments as in logic"].append(
        entailment_agreement(asked, spaces, unit, truth_table)
    )
figure, axes = plt.subplots(figsize=(8.5, 3.6))
for name, values in measured.items():
    axes.plot(squares, values, label=name)
    axes.plot(squares[0], values[0], "o", color=axes.lines[-1].get_color())
axes.set(xlabel="squared cosine between minterms", ylim=(-0.03, 1.05))
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## What to take along
#
# - The loss wants embeddings of many dimensions, but of no others than labels have. Its minimum is
#   known for any labels, $\alpha$ and $\beta$, so a run can log its distance to it.
# - $\alpha$ close to 1 and enough $\beta$ make the spectrum flat; then **minterms** are orthogonal,
#   if the labels have their rank. Indicators of minterms always do.
# - A proposition is the subspace of its minterms. *And*, *or*, *not* are intersection, sum and
#   complement, and obey Boolean logic exactly where directions are orthogonal.
# - With too few dimensions, or labels of too low a rank, directions overlap, `sum` and `projector`
#   part, and distributivity is the first law to go.
#
# `python -m src.reproduce table=claims scale=cpu` holds these statements, and those of
# self-supervised losses, against numbers: see the [tables](tables.ipynb).
