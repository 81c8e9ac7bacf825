"""Save the panels that show runs in W&B: `python -m src.dashboard entity=NAME`."""

from typing import Any, TypedDict

import wandb
import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces
from omegaconf import DictConfig
from wandb_workspaces import expr

from src.callbacks.spectra import LINES
from src.config.command import command
from src.metrics import names
from src.runs.loggers import EVERY_EPOCH, require_key

COLUMNS = (
    *("run:displayName", "run:group", "run:tags"),
    f"summary:test/{names.MINTERM_ACCURACY}",
    f"summary:test/{names.retrieval_name(names.MAP, names.POSITIVE)}",
    f"summary:test/{names.retrieval_name(names.MAP, names.NEGATED)}",
    f"summary:val/{names.retrieval_name(names.MAP)}.max",
    f"summary:val/{names.retrieval_name(names.MAP)}.last",
)
CONJUNCTIONS = (names.POSITIVE, names.NEGATED)
DEPTHS = tuple(f"{names.DEPTH}{depth}" for depth in (2, 3, 4))


class Keys(TypedDict):
    """The root keys of conf/dashboard.yaml that have plain values."""

    entity: str
    project: str
    name: str
    group: str | None


def dashboard(config: DictConfig) -> None:
    """Build the workspace and save it."""
    workspace = build(config.entity, config.project, config.name, config.group)
    try:
        require_key("`wandb leet RUN/wandb/latest-run` and RUN/report/index.html show the same")
        workspace.save()
    except wandb.Error as error:
        raise ValueError(f"W&B did not take the dashboard: {error}") from error


def build(entity: str, project: str, name: str, group: str | None) -> workspaces.Workspace:
    """Build the workspace, without saving it.

    Args:
        entity, project: The account and the project it belongs to.
        name: The name of the view.
        group: The group of the runs to show; None for all.
    """
    runs = workspaces.RunsetSettings(
        filters=expr.And(expr.Metric("Group") == group) if group is not None else "",
        order=[expr.Ordering(expr.Metric("Group"), ascending=True)],
        pinned_columns=list(COLUMNS),
    )
    return workspaces.Workspace(entity, project, name, sections(), runset_settings=runs)


def sections() -> list[workspaces.Section]:
    """All panels, the results first."""
    indices = range(1, LINES + 1)
    content: dict[str, list[Any]] = {
        "Results": [
            _bars("Accuracy", *_of("test", names.MINTERM_ACCURACY, names.LITERAL_AUPRC)),
            _bars("mAP by kind of query", *_retrieval("test", names.MAP, *CONJUNCTIONS, *DEPTHS)),
            _bars("P@10", *_retrieval("test", names.PRECISION, *CONJUNCTIONS)),
            _bars("By discriminants of the embeddings", *_by_discriminants("test")),
            _media("Retrieved images", "retrieval"),
            panels.WeavePanelSummaryTable(table_name=f"test/{names.RETRIEVAL_TABLE}"),
        ],
        "Training": [
            _lines("Loss", "train/loss"),
            _lines("Learning rate", "train/lr"),
            _lines("Validation accuracy", *_of("val", names.MINTERM_ACCURACY, names.LITERAL_AUPRC)),
            _lines("Gap to the optimum, last batch", *_of("train", names.BATCH_GAP)),
            _lines("Gap, share of the optimum", *_of("val", names.RELATIVE_GAP)),
            _lines(
                "Rank of the labels, minterms",
                *_of("train", names.BATCH_RANK, names.BATCH_MINTERMS),
            ),
        ],
        "Spectra": [
            _lines(
                "Largest singular values",
                *_of("train", *(names.singular_value_name(index) for index in indices)),
            ),
            _lines(
                "At the optimum",
                *_of("train", *(names.singular_value_name(index, True) for index in indices)),
            ),
            _lines("All singular values", *_of("train", names.SINGULAR_VALUES)),
            _lines("Effective rank", *_of("train", names.EFFECTIVE_RANK)),
            _lines("Coherence", *_of("val", names.MAX_COHERENCE, names.SEMANTIC_COHERENCE)),
            _lines("Largest commutator", *_of("val", names.MAX_COMMUTATOR)),
            _media("Spectrum against the optimum", "spectrum"),
            _media("Coherence of minterms", "coherence"),
        ],
        "Retrieval": [
            _lines("mAP, positive queries", *_retrieval("val", names.MAP, names.POSITIVE)),
            _lines("mAP, negated queries", *_retrieval("val", names.MAP, names.NEGATED)),
            _lines("mAP by depth", *_retrieval("val", names.MAP, *DEPTHS)),
            _lines("P@10, positive queries", *_retrieval("val", names.PRECISION, names.POSITIVE)),
            _lines("P@10, negated queries", *_retrieval("val", names.PRECISION, names.NEGATED)),
            _lines("By discriminants of the embeddings", *_by_discriminants("val")),
        ],
        "Calibration": [
            *(
                _lines(
                    f"Error, {asked}",
                    *_of(
                        "val",
                        names.calibration_name(names.PROBABILITY, asked),
                        names.calibration_name(names.CALIBRATED, asked),
                    ),
                )
                for asked in (names.LITERALS, names.PROPOSITIONS)
            ),
            _media("Reliability", "reliability"),
        ],
    }
    return [workspaces.Section(name, parts, is_open=True) for name, parts in content.items()]


def _of(stage: str, *metrics: str) -> list[str]:
    return [f"{stage}/{metric}" for metric in metrics]


def _retrieval(stage: str, measure: str, *groups: str) -> list[str]:
    return _of(stage, *(names.retrieval_name(measure, group) for group in groups))


def _by_discriminants(stage: str) -> list[str]:
    measures = (names.MINTERM_ACCURACY, names.LITERAL_AUPRC)
    return _of(
        stage,
        *(names.beside_name(measure, names.DISCRIMINANT) for measure in measures),
        *(names.retrieval_name(names.MAP, group, names.DISCRIMINANT) for group in CONJUNCTIONS),
    )


def _lines(title: str, *metrics: str) -> panels.LinePlot:
    x = "epoch" if EVERY_EPOCH.match(metrics[0]) else "trainer/global_step"
    return panels.LinePlot(title=title, x=x, y=list(metrics))


def _bars(title: str, *metrics: str) -> panels.BarPlot:
    return panels.BarPlot(title=title, metrics=list(metrics))


def _media(title: str, name: str) -> panels.MediaBrowser:
    return panels.MediaBrowser(title=title, media_keys=[f"report/{name}"], num_columns=1)


main = command("dashboard", Keys)(dashboard)

if __name__ == "__main__":
    main()
