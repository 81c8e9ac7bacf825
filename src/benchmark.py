"""Time and accuracy of the loss against its `svdvals` form: `python -m src.benchmark`."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.benchmark import Timer

from src.cli import command
from src.losses.nuclear import nuclear_norm_loss
from src.provenance import provenance

ALPHA, BETA = 0.99, 0.05
COLUMNS = {
    "size": "N, C, D",
    "authors_ms": "svdvals as the authors, ms",
    "svdvals_ms": "svdvals samples as rows, ms",
    "gram_ms": "ours, ms",
    "speedup_authors": "ours over the authors'",
    "speedup_svdvals": "ours over rows",
    "svdvals_error": "gradient error svdvals",
    "gram_error": "gradient error ours",
}

Loss = Callable[[Tensor, Tensor], Tensor]


def authors_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss with Z as in the paper, (C + D) x N, and float32 singular values."""
    joint = torch.linalg.svdvals(torch.cat([labels.T.to(embeddings), embeddings.T]))
    return _combine(joint, torch.linalg.svdvals(embeddings))


def svdvals_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The same with samples as rows throughout, which `svdvals` is faster on."""
    joint = torch.linalg.svdvals(torch.cat([labels.to(embeddings), embeddings], dim=1))
    return _combine(joint, torch.linalg.svdvals(embeddings))


def _combine(joint: Tensor, values: Tensor) -> Tensor:
    return joint.sum() - ALPHA * values.sum() + BETA * values[0] ** 2


def gram_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss of this project."""
    return nuclear_norm_loss(embeddings, labels, ALPHA, BETA)


LOSSES = {"authors": authors_loss, "svdvals": svdvals_loss, "gram": gram_loss}


def gradient(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Gradient of a loss in the embeddings, (N, D)."""
    leaf = embeddings.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, labels), leaf)[0]


def measure(size: tuple[int, int, int], device: str, seconds: float) -> dict[str, str | float]:
    """Median time of forward and backward, and relative gradient error, of every form."""
    num_images, num_labels, dim = size
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(num_images, dim, generator=generator).to(device)
    labels = (torch.rand(num_images, num_labels, generator=generator) < 0.3).to(device)
    exact = gradient(svdvals_loss, embeddings.double(), labels)

    row: dict[str, str | float] = {"size": ", ".join(map(str, size))}
    for name, loss in LOSSES.items():
        error = gradient(loss, embeddings, labels).double() - exact
        row[f"{name}_error"] = float(error.norm() / exact.norm())
        timer = Timer(
            "gradient(loss, embeddings, labels)",
            globals={
                "gradient": gradient,
                "loss": loss,
                "embeddings": embeddings,
                "labels": labels,
            },
            num_threads=torch.get_num_threads(),
        )
        row[f"{name}_ms"] = timer.blocked_autorange(min_run_time=seconds).median * 1e3
    for name in ("authors", "svdvals"):
        row[f"speedup_{name}"] = float(row[f"{name}_ms"]) / float(row["gram_ms"])
    return row


def benchmark(config: DictConfig) -> None:
    """Measure all sizes; print and write the table with its conditions."""
    if config.device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, not {config.device!r}")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no GPU")
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    rows = [
        measure(tuple(size), config.device, config.seconds)
        for size in track(config.sizes, "measuring", console=console, transient=True)
    ]
    record = provenance() | {"device": config.device}
    (output_dir / "loss.json").write_text(json.dumps({"rows": rows} | record, indent=2) + "\n")
    table = _markdown(rows, record)
    (output_dir / "loss.md").write_text(table)
    console.print(table, soft_wrap=True)
    console.print(f"written to {output_dir}", soft_wrap=True)


def _markdown(rows: list[dict[str, str | float]], record: dict[str, str]) -> str:
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        cells = [value if isinstance(value := row[key], str) else f"{value:.2g}" for key in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    conditions = (
        "Random embeddings, median of forward and backward, error relative to float64 "
        f"differentiation. {record['device']}: {record['run/hardware']}, "
        f"PyTorch {record['run/version/torch']}."
    )
    return "\n".join([*lines, "", conditions]) + "\n"


main = command("benchmark")(benchmark)

if __name__ == "__main__":
    main()
