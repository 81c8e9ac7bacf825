"""From a config to a trained and tested model."""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.exceptions import SIGTERMException

from src.build import build_data, build_module, describe_run
from src.checkpoints import SaveConfig, check_resumable, read_checkpoint
from src.data.images import ImageSet
from src.instantiate import instantiate
from src.results import print_results, write_metrics
from src.run_page import write_run_page


def fit_and_test(config: DictConfig, image_set: ImageSet) -> dict[str, float]:
    """Fit, then test the last checkpoint; write down what came out, and return it."""
    output_dir = Path(config.output_dir)
    if "model" in config.encoder and Path(config.encoder.model).is_dir():
        # Named in full, so that the checkpoint is read from any other folder.
        config.encoder.model = str(Path(config.encoder.model).absolute())
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if config.ckpt_path is not None:
        check_resumable(config.ckpt_path, plain)

    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config, image_set)
    data.train_dataloader()  # say now, not after the model is built, if batches do not fit
    module = build_module(
        config, image_set, data.minterms, from_checkpoint=config.ckpt_path is not None
    )
    callbacks = [instantiate(callback) for callback in config.callbacks.values()]
    logger = instantiate(config.logger) if config.logger else False
    trainer: pl.Trainer = instantiate(
        config.trainer, callbacks=[*callbacks, SaveConfig(plain)], logger=logger
    )
    if trainer.world_size > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError(
            "a sweep over several processes would mix its jobs: start one job a command"
        )

    last = output_dir / "checkpoints" / "last.ckpt"
    try:
        if trainer.is_global_zero:
            output_dir.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, output_dir / "config.yaml", resolve=True)
        for run_logger in trainer.loggers:
            run_logger.log_hyperparams(plain)
        if trainer.max_epochs == 0:  # the encoder stays as it is; subspaces are fitted all the same
            trainer.validate(module, data, verbose=False)
            trainer.save_checkpoint(last)
        else:
            trainer.fit(module, data, ckpt_path=config.ckpt_path)
        metrics = dict(trainer.callback_metrics)
        if config.test:
            if not last.exists():
                raise ValueError(f"training ended before its first validation: there is no {last}")
            trainer.test(module, data, ckpt_path=last, verbose=False)
            metrics |= trainer.callback_metrics
    except SIGTERMException:  # says nothing, and would end with status 0
        wandb.finish(exit_code=1)
        go_on = f": go on with ckpt_path={last}" if last.exists() else ""
        sys.exit(f"stopped by SIGTERM{go_on}")
    except BaseException:
        wandb.finish(exit_code=1)
        raise
    wandb.finish()  # else the next job of a sweep would write into this run

    results = {name: float(value) for name, value in metrics.items()}
    if trainer.is_global_zero:
        run = describe_run(config, data, module) | {"run/epochs": trainer.current_epoch}
        if config.test and trainer.max_epochs != 0:
            run["run/epochs"] = read_checkpoint(str(last))["epoch"] + 1
        write_metrics(output_dir, results, run)
        write_run_page(output_dir, plain)
        print_results(results, "test" if config.test else "val", output_dir)
    return results
