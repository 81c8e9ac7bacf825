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
    "svdvals_ms": "svdvals float32, ms",
    "gram_ms": "Gram float64, ms",
    "speedup": "speed-up",
    "svdvals_error": "gradient error svdvals",
    "gram_error": "gradient error Gram",
}

Loss = Callable[[Tensor, Tensor], Tensor]


def svdvals_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss as one writes it first: singular values in the type of the embeddings."""
    joint = torch.linalg.svdvals(torch.cat([labels.to(embeddings), embeddings], dim=1))
    values = torch.linalg.svdvals(embeddings)
    return joint.sum() - ALPHA * values.sum() + BETA * values[0] ** 2


def gram_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss of this project."""
    return nuclear_norm_loss(embeddings, labels, ALPHA, BETA)


def gradient(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Gradient of a loss in the embeddings, (N, D)."""
    leaf = embeddings.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, labels), leaf)[0]


def measure(size: tuple[int, int, int], device: str, seconds: float) -> dict[str, str | float]:
    """Median time of forward and backward, and relative gradient error, of both forms."""
    num_images, num_labels, dim = size
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(num_images, dim, generator=generator).to(device)
    labels = (torch.rand(num_images, num_labels, generator=generator) < 0.3).to(device)
    exact = gradient(svdvals_loss, embeddings.double(), labels)

    row: dict[str, str | float] = {"size": ", ".join(map(str, size))}
    for name, loss in {"svdvals": svdvals_loss, "gram": gram_loss}.items():
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
    return row | {"speedup": float(row["svdvals_ms"]) / float(row["gram_ms"])}


def benchmark(config: DictConfig) -> None:
    """Measure all sizes; print and write the table with its conditions."""
    if config.device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, not {config.device!r}")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no GPU")
    console = Console()
    rows = [
        measure(tuple(size), config.device, config.seconds)
        for size in track(config.sizes, "measuring", console=console, transient=True)
    ]
    record = provenance() | {"device": config.device}
    output_dir = Path(config.output_dir)
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
