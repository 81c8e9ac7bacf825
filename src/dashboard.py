"""Save the panels that show runs in W&B: `python -m src.dashboard entity=NAME`."""

from typing import Any

import wandb
import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces
from omegaconf import DictConfig
from wandb_workspaces import expr

from src.callbacks.spectra import LINES
from src.config.command import command
from src.runs.loggers import EVERY_EPOCH

COLUMNS = (
    *("run:displayName", "run:group", "run:tags", "summary:test/minterm_accuracy"),
    *("summary:test/retrieval/map_positive", "summary:test/retrieval/map_negated"),
    *("summary:val/retrieval/map.max", "summary:val/retrieval/map.last"),
)
GROUPS = ("positive", "negated", "depth_2", "depth_3", "depth_4")


def dashboard(config: DictConfig) -> None:
    """Build the workspace and save it."""
    workspace = build(config.entity, config.project, config.name, config.group)
    try:
        if not wandb.login(prompt=False, verify=False):
            raise ValueError(
                "there is no W&B key: run `wandb login` or set WANDB_API_KEY. Without an account, "
                "`wandb leet RUN/wandb/latest-run` and RUN/report/index.html show the same"
            )
        workspace.save()
    except wandb.Error as error:
        raise ValueError(f"W&B did not take the dashboard: {error}") from error


def build(entity: str, project: str, name: str, group: str | None) -> workspaces.Workspace:
    """The workspace, which is nowhere yet.

    Args:
        entity, project: Where it belongs.
        name: Of the view.
        group: Of the runs to show; None for all.
    """
    runs = workspaces.RunsetSettings(
        filters=expr.And(expr.Metric("Group") == group) if group is not None else "",
        order=[expr.Ordering(expr.Metric("Group"), ascending=True)],
        pinned_columns=list(COLUMNS),
    )
    return workspaces.Workspace(entity, project, name, sections(), runset_settings=runs)


def sections() -> list[workspaces.Section]:
    """All panels, the results first."""
    spectrum = [f"{index:02d}" for index in range(1, LINES + 1)]
    content: dict[str, list[Any]] = {
        "Results": [
            _bars("Accuracy", "test/minterm_accuracy", "test/literal_auprc"),
            _bars("mAP by kind of query", *(f"test/retrieval/map_{group}" for group in GROUPS)),
            _bars("P@10", *(f"test/retrieval/precision_at_10_{group}" for group in GROUPS[:2])),
            _media("Retrieved images", "retrieval"),
            panels.WeavePanelSummaryTable(table_name="test/retrieval_table"),
        ],
        "Training": [
            _lines("Loss", "train/loss"),
            _lines("Learning rate", "train/lr"),
            _lines("Validation accuracy", "val/minterm_accuracy", "val/literal_auprc"),
            _lines("Gap to the optimum, last batch", "train/batch/optimality_gap"),
            _lines("Gap, share of the optimum", "val/spectral/relative_gap"),
            _lines(
                "Rank of the labels, minterms", "train/batch/label_rank", "train/batch/minterms"
            ),
        ],
        "Spectra": [
            _lines("Largest singular values", *(f"train/spectral/s_{index}" for index in spectrum)),
            _lines("At the optimum", *(f"train/spectral/optimal_s_{index}" for index in spectrum)),
            _lines("All singular values", "train/spectral/singular_values"),
            _lines("Effective rank", "train/spectral/effective_rank"),
            _lines("Coherence", "val/spectral/max_coherence", "val/spectral/semantic_coherence"),
            _lines("Largest commutator", "val/spectral/max_commutator"),
            _media("Spectrum against the optimum", "spectrum"),
            _media("Coherence of minterms", "coherence"),
        ],
        "Retrieval": [
            _lines("mAP, positive queries", "val/retrieval/map_positive"),
            _lines("mAP, negated queries", "val/retrieval/map_negated"),
            _lines("mAP by depth", *(f"val/retrieval/map_{group}" for group in GROUPS[2:])),
            _lines("P@10, positive queries", "val/retrieval/precision_at_10_positive"),
            _lines("P@10, negated queries", "val/retrieval/precision_at_10_negated"),
        ],
        "Calibration": [
            *(
                _lines(
                    f"Error, {name}",
                    *(
                        f"val/calibration/{kind}_of_{name}"
                        for kind in ("probability", "calibrated")
                    ),
                )
                for name in ("literals", "propositions")
            ),
            _media("Reliability", "reliability"),
        ],
    }
    return [workspaces.Section(name, parts, is_open=True) for name, parts in content.items()]


def _lines(title: str, *metrics: str) -> panels.LinePlot:
    x = "epoch" if EVERY_EPOCH.match(metrics[0]) else "trainer/global_step"
    return panels.LinePlot(title=title, x=x, y=list(metrics))


def _bars(title: str, *metrics: str) -> panels.BarPlot:
    return panels.BarPlot(title=title, metrics=list(metrics))


def _media(title: str, name: str) -> panels.MediaBrowser:
    return panels.MediaBrowser(title=title, media_keys=[f"report/{name}"], num_columns=1)


main = command("dashboard")(dashboard)

if __name__ == "__main__":
    main()
