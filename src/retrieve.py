"""Query images: `python -m src.retrieve ckpt_path=... query="even & ~prime"`."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from src.checkpoints import load_checkpoint
from src.cli import command
from src.figures import minterm_name, retrieval_figure
from src.instantiate import instantiate
from src.metrics.retrieval import top_k
from src.subspaces.propositions import Proposition


def retrieve(config: DictConfig) -> None:
    """Rank the images of a split by a proposition; print the best and draw them."""
    if not isinstance(config.top_k, int) or config.top_k < 1:
        raise ValueError(f"top_k must be a whole number of at least 1, not {config.top_k!r}")
    _, data, module = load_checkpoint(config.ckpt_path, config.data_dir)
    query = Proposition(str(config.query), module.literals)
    mask = query.holds(module.readout.minterms).unsqueeze(0)
    if not mask.any():
        raise ValueError(f"no minterm of the training set satisfies {query.text!r}")

    loader = data.split_dataloader(config.split)
    trainer: pl.Trainer = instantiate(config.trainer, callbacks=[RichProgressBar()], logger=False)
    batches = trainer.predict(module, loader)
    assert batches is not None
    embeddings = torch.cat([embeddings for embeddings in batches if isinstance(embeddings, Tensor)])

    scores = module.score(embeddings, [query])
    probabilities = module.readout.proposition_probabilities(embeddings, mask)[:, 0]
    best = top_k(scores, config.top_k)[:, 0]
    split = data.image_set.splits[config.split]
    relevant = query.holds(split.labels)
    hits = relevant[best].tolist()

    table = Table(title=escape(f"{query.text}, {config.split} split"), title_justify="left")
    for heading in ("rank", "image", "score", "probability", "answers", "literals of the image"):
        table.add_column(heading)
    for rank, image in enumerate(best.tolist(), start=1):
        table.add_row(
            str(rank),
            str(image),
            f"{scores[image, 0]:.4f}",
            f"{probabilities[image]:.4f}",
            "yes" if relevant[image] else "[red]no[/red]",
            escape(minterm_name(split.labels[image], module.literals)),
        )
    console = Console()
    console.print(table)
    path = Path(config.output_dir) / "retrieval.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    caption = f"{sum(hits)} of {len(hits)} right"
    ranks = range(1, len(best) + 1)
    figure = retrieval_figure([query.text], [caption], [split[best].images], [ranks], [hits])
    figure.savefig(path, dpi=130)
    console.print(f"images: {path}", soft_wrap=True)


main = command("retrieve", text_keys=["ckpt_path", "query"])(retrieve)

if __name__ == "__main__":
    main()
