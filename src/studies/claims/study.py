"""Claims of theory about optima over free embeddings, each held against a measured number."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure, SubFigure
from rich.progress import track

from src.reports.figures.colors import MEASURED, THEORY
from src.reports.tables import ResultTable, Row
from src.studies.claims.self_supervised import SelfSupervisedClaims
from src.studies.claims.supervised import SupervisedClaims
from src.studies.claims.verdicts import COLUMNS, NEAR, Found
from src.studies.geometry import cosines

Key = tuple[str, str]  # a setting and a loss


class Claims(Protocol):
    """Optima, and claims about them."""

    def descents(self) -> Mapping[Key, Callable[[], Found]]:
        """Jobs that find optima."""

    def rows(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> list[Row]:
        """Claims about what all jobs have found."""


DRAWN_RELATIONS = ("uneven", "random_graph")


def run(
    folder: Path,
    seeds: Sequence[int],
    bounds: Mapping[str, float],
    remarks: str,
    self_supervised: SelfSupervisedClaims,
    supervised: SupervisedClaims,
    others: Mapping[str, Claims],
) -> ResultTable:
    """Find all optima, judge the claims about them and draw `figure.png`.

    Args:
        folder: The folder that the figure is written into.
        seeds: Seeds of the initial embeddings.
        bounds: Bounds that measured numbers are held against, by name.
        remarks: Text below the table.
        self_supervised, supervised: The claims, whose optima are drawn.
        others: More claims, by name.
    """
    claims: list[Claims] = [self_supervised, supervised, *others.values()]
    jobs = [(part, key, job) for part in claims for key, job in part.descents().items()]
    found: dict[Claims, dict[Key, Found]] = {part: {} for part in claims}
    for part, key, descend in track(jobs, "descending", transient=True):
        found[part][key] = descend()
    rows = [row for part in claims for row in part.rows(found[part], bounds)]
    rows.sort(key=lambda row: row["claim"][:3])
    drawn = found[self_supervised] | found[supervised]
    figure(self_supervised, supervised, drawn).savefig(folder / "figure.png", dpi=110)
    conditions = (
        f"Free embeddings in float64; the worst of the starts, of {len(seeds)}, that end within "
        f"{NEAR:g} of the least loss. Singular values above {bounds['rank']:g} of the largest "
        f"count. {' '.join(remarks.split())}"
    )
    return ResultTable(COLUMNS, rows, conditions)


def figure(
    self_supervised: SelfSupervisedClaims,
    supervised: SupervisedClaims,
    found: Mapping[Key, Found],
) -> Figure:
    """Spectra of embeddings and of their relation, and cosines of embeddings under labels."""
    drawing = Figure(figsize=(15, 13.5), layout="constrained")
    parts = drawing.subfigures(2, 1, squeeze=False, height_ratios=(2, 3.2))
    _draw_spectra(parts[0, 0], self_supervised, found)
    _draw_cosines(parts[1, 0], supervised, found)
    return drawing


def _draw_spectra(
    drawing: SubFigure, claims: SelfSupervisedClaims, found: Mapping[Key, Found]
) -> None:
    losses = claims.embedding_losses
    grid = drawing.subplots(len(DRAWN_RELATIONS), len(losses), sharey=True, squeeze=False)
    for axes, name in zip(grid, DRAWN_RELATIONS, strict=True):
        for panel, loss in zip(axes, losses, strict=True):
            measured, eigenvalues = claims.spectra(name, loss, found[name, loss])
            index = range(1, len(measured) + 1)
            panel.plot(index, eigenvalues, "--_", color=THEORY, markersize=12, linewidth=1)
            panel.plot(index, measured, "o", color=MEASURED, markersize=5)
            panel.set_title(f"{name}: {loss}", fontsize=9)
            panel.set_ylim(-0.05, 1.1)
    drawing.suptitle(
        "Squared singular values of embeddings (dots) and eigenvalues of the relation (dashes), "
        "0 if negative, relative to the largest"
    )


def _draw_cosines(drawing: SubFigure, claims: SupervisedClaims, found: Mapping[Key, Found]) -> None:
    grid = drawing.subplots(len(claims.labels), 1 + len(claims.losses), squeeze=False)
    for axes, (name, labels) in zip(grid, claims.labels.items(), strict=True):
        order = labels.minterms.argmax(dim=1).argsort(stable=True)
        pictures = {"literals": labels.literals} | {
            loss: found[name, loss].optima[0].embeddings for loss in claims.losses
        }
        for panel, (title, vectors) in zip(axes, pictures.items(), strict=True):
            picture = panel.imshow(cosines(vectors[order]).numpy(), vmin=-1, vmax=1, cmap="RdBu_r")
            panel.set_title(title, fontsize=9)
            panel.set_xticks([])
            panel.set_yticks([])
        axes[0].set_ylabel(name.replace(": ", "\n").replace("rank", "\nrank"), fontsize=9)
    drawing.colorbar(picture, ax=grid, location="bottom", shrink=0.3, aspect=40)
    drawing.suptitle("Cosines between embeddings under labels, samples sorted by minterm")
