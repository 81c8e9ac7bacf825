"""Time of a training step by its phases, and the share of the loss."""

from collections.abc import Iterator, Sequence
from statistics import median

import torch
from matplotlib.figure import Figure
from torch.optim import AdamW

from src.benchmarks.images import RandomImages
from src.benchmarks.loss import ALPHA, BETA
from src.benchmarks.timing import now
from src.data.normalize import Normalize
from src.encoders.convnet import ConvNet
from src.encoders.encoder import Encoder
from src.losses.nuclear import NuclearNormLoss
from src.reports.figures.costs import phases_figure
from src.reports.tables import Row

DIM = 128
LEARNING_RATE = 2e-3
PHASES = {
    "data": "batch",
    "forward": "encoder forward",
    "loss": "loss, both ways",
    "backward": "encoder backward",
    "optimizer": "AdamW",
}
TITLE = "Share of the loss in a training step"
COLUMNS = {
    "what": "precision, batch",
    **{f"{phase}_ms": f"{name}, ms" for phase, name in PHASES.items()},
    "step_ms": "step, ms",
    "loss_share": "share of the loss",
}
CONDITIONS = (
    f"ConvNet on random 28 x 28 images in ten classes, D = {DIM}, the nuclear-norm loss on minterm "
    "indicators, AdamW. Medians over steps, of each phase, of the step, and of the share."
)


def measure(
    device: str, steps: int, batch_sizes: Sequence[int], precisions: Sequence[str]
) -> Iterator[Row]:
    """One row for every precision and batch size.

    Args:
        device: `cpu` or `cuda`.
        steps: Number of steps measured, after one that is not.
        batch_sizes: Numbers of images in a batch.
        precisions: `32-true` or `bf16-mixed`, as Lightning names them.
    """
    for precision in precisions:
        for batch_size in batch_sizes:
            yield measure_step(device, steps, batch_size, precision)


def measure_step(device: str, steps: int, batch_size: int, precision: str) -> Row:
    """Median milliseconds of every phase."""
    torch.manual_seed(0)
    split = RandomImages(4 * batch_size).splits["train"]
    normalize = Normalize(RandomImages.mean, RandomImages.std).to(device)
    encoder, loss = build_encoder(device), NuclearNormLoss(ALPHA, BETA)
    optimizer = AdamW(encoder.parameters(), lr=LEARNING_RATE)
    mixed = precision == "bf16-mixed"

    seconds: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for _ in range(1 + steps):
        marks = [now(device)]
        batch = split[torch.randperm(len(split))[:batch_size]]
        images, labels = normalize(batch.images.to(device).float()), batch.labels.to(device)
        marks.append(now(device))
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            embeddings = encoder(images)
        marks.append(now(device))
        leaf = embeddings.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf, labels), leaf)
        marks.append(now(device))
        embeddings.backward(gradient)
        marks.append(now(device))
        optimizer.step()
        optimizer.zero_grad()
        marks.append(now(device))
        for phase, start, end in zip(PHASES, marks, marks[1:], strict=False):
            seconds[phase].append(end - start)

    kept = {phase: values[1:] for phase, values in seconds.items()}
    totals = [sum(step) for step in zip(*kept.values(), strict=True)]
    shares = [part / total for part, total in zip(kept["loss"], totals, strict=True)]
    return {
        "what": f"{precision}, {batch_size}",
        **{f"{phase}_ms": 1e3 * median(values) for phase, values in kept.items()},
        "step_ms": 1e3 * median(totals),
        "loss_share": median(shares),
    }


def build_encoder(device: str) -> Encoder:
    """The encoder of all measured steps."""
    encoder = ConvNet(RandomImages.image_shape, DIM, radius=1, batch_norm=False).to(device)
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def draw_rows(rows: Sequence[Row]) -> Figure:
    """A bar for every row."""
    return phases_figure(
        [row["what"] for row in rows],
        {name: [row[f"{phase}_ms"] for row in rows] for phase, name in PHASES.items()},
    )
