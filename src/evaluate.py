"""Test a checkpoint: `python -m src.evaluate ckpt_path=RUN/checkpoints/last.ckpt`."""

from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import RichProgressBar

from src.callbacks.report import Report
from src.config.command import command
from src.config.instantiate import instantiate
from src.reports.results import print_results, write_metrics
from src.reports.run_page import write_run_page
from src.runs.checkpoints import load_checkpoint
from src.runs.compose import describe_run


def evaluate(config: DictConfig) -> None:
    """Repeat the test that ends a training run, with the same numbers."""
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    run_config, data, module = load_checkpoint(config.ckpt_path, config.data_dir)
    callbacks = [RichProgressBar(), Report(str(output_dir / "report"))]
    trainer: pl.Trainer = instantiate(config.trainer, callbacks=callbacks, logger=False)
    trainer.test(module, data, verbose=False)
    if trainer.is_global_zero:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        run = describe_run(run_config, data, module) | {"run/checkpoint": str(config.ckpt_path)}
        write_metrics(output_dir, metrics, run)
        write_run_page(output_dir, OmegaConf.to_container(run_config))  # type: ignore[arg-type]
        print_results(metrics, "test", output_dir)


main = command("evaluate", text_keys=["ckpt_path"])(evaluate)

if __name__ == "__main__":
    main()
