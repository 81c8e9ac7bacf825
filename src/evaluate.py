"""Test a checkpoint: `python -m src.evaluate ckpt_path=RUN/checkpoints/last.ckpt`."""

from pathlib import Path
from typing import Any, TypedDict

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import RichProgressBar

from src.callbacks.report import Report
from src.callbacks.spectra import Spectra
from src.config.command import command
from src.reports.results import CHECKPOINT, print_results, write_results
from src.runs.compose import build_trainer, describe_run
from src.runs.latest import find_checkpoint
from src.runs.load import load_checkpoint


class Keys(TypedDict):
    """The root keys of conf/evaluate.yaml that have plain values."""

    ckpt_path: str
    data_dir: str | None
    output_dir: str


def evaluate(config: DictConfig) -> None:
    """Repeat the test that ends a training run, with the same numbers."""
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    path = find_checkpoint(config.ckpt_path)
    run_config, data, module = load_checkpoint(path, config.data_dir)
    report = output_dir / "report"
    callbacks = [
        RichProgressBar(),
        Spectra(str(report), run_config.loader.batch_size),
        Report(str(report)),
    ]
    trainer = build_trainer(config.trainer, data, callbacks=callbacks, logger=False)
    trainer.test(module, data, verbose=False)
    if trainer.is_global_zero:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        run = describe_run(run_config, data, module) | {CHECKPOINT: path}
        assert module.test_results is not None
        plain: Any = OmegaConf.to_container(run_config)
        write_results(output_dir, plain, metrics, run, module.test_results[1].rows)
        print_results(metrics, "test", output_dir)


main = command("evaluate", Keys)(evaluate)

if __name__ == "__main__":
    main()
