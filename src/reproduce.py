"""Make a figure or table of the papers: `python -m src.reproduce experiments=synthetic`."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.cli import command
from src.instantiate import instantiate
from src.tables import write_table


def reproduce(config: DictConfig) -> None:
    """Run a study; it draws its figure, and what it found is printed and written down."""
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    table = instantiate(config.experiments)(folder=output_dir)
    settings = OmegaConf.to_container(config.experiments, resolve=True)
    markdown = write_table(output_dir / "table", table, settings)
    console = Console()
    console.print(markdown, soft_wrap=True)
    names = ", ".join(sorted(path.name for path in output_dir.glob("*.*")))
    console.print(f"written to {output_dir}: {names}", soft_wrap=True)


main = command("reproduce")(reproduce)

if __name__ == "__main__":
    main()
