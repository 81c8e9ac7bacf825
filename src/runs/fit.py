"""From a config to a trained and tested model."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities.exceptions import SIGTERMException
from wandb.sdk.lib.runid import generate_id

from src.config.instantiate import instantiate
from src.data.atomic import write_whole
from src.data.images import ImageSet
from src.metrics.evaluation import QueryResult
from src.modules.subspace import SubspaceModule
from src.reports.console import make_console
from src.reports.results import METRICS, print_results, write_results
from src.runs.checkpoints import SaveConfig, read_checkpoint, remove_partial
from src.runs.compose import build_data, build_module, build_trainer, check_labels, describe_run
from src.runs.resume import check_resumable, find_newest, find_resumed
from src.runs.trust import wandb_id

LOST = "(?i)connection (closed|reset|refused)|broken pipe|timed out|nccl"  # said by gloo and NCCL


def fit_and_test(config: DictConfig, image_set: ImageSet) -> dict[str, float]:
    """Fit, then test the last checkpoint; write down what came out, and return it."""
    output_dir = Path(config.output_dir)
    resumed = find_resumed(config.ckpt_path, output_dir)
    before = {} if resumed is None else read_checkpoint(resumed)
    _name_wandb_run(config, before)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if resumed is not None:
        check_resumable(resumed, before, plain)

    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config, image_set)
    data.train_dataloader()  # say now, not after the model is built, if batches do not fit
    module = build_module(
        config,
        image_set,
        data.minterms,
        data.minterm_counts,
        from_checkpoint=resumed is not None,
    )
    check_labels(module, data)
    callbacks = [instantiate(callback) for callback in config.callbacks.values()]
    logger = instantiate(config.logger) if config.logger else False
    trainer = build_trainer(
        config.trainer, data, callbacks=[*callbacks, SaveConfig(plain)], logger=logger
    )
    if trainer.world_size > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ValueError(
            "a sweep over several processes would mix its jobs: start one job a command"
        )

    if trainer.is_global_zero:
        for note in image_set.notes:
            make_console().print(note, soft_wrap=True)
    last = output_dir / "checkpoints" / "last.ckpt"
    try:
        if trainer.is_global_zero:
            output_dir.mkdir(parents=True, exist_ok=True)
            remove_partial(output_dir)
            (output_dir / METRICS).unlink(missing_ok=True)  # the run is not finished any more
            write_whole(output_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
        for run_logger in trainer.loggers:
            run_logger.log_hyperparams(plain)
        if trainer.max_epochs == 0:  # the encoder stays as it is; subspaces are fitted all the same
            trainer.validate(module, data, ckpt_path=resumed, weights_only=True, verbose=False)
            trainer.save_checkpoint(last)
        else:
            trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
        metrics = before.get("metrics", {}) | trainer.callback_metrics
        if not last.exists():
            raise ValueError(f"training ended before its first validation: there is no {last}")
        if config.test:
            trainer.test(module, data, ckpt_path=last, weights_only=True, verbose=False)
            metrics |= trainer.callback_metrics
    except (SIGTERMException, SystemExit):  # the latter is Lightning's answer to a second Ctrl-C
        wandb.finish(exit_code=1)
        sys.exit(f"stopped{_how_to_go_on(output_dir)}")
    except BaseException as error:
        wandb.finish(exit_code=1)
        if trainer.world_size > 1 and re.search(LOST, str(error)):
            raise ConnectionError(
                f"another process of this run was lost{_how_to_go_on(output_dir)}"
            ) from error
        raise
    wandb.finish()  # else the next job of a sweep would write into this run

    results = {name: float(value) for name, value in metrics.items()}
    if trainer.is_global_zero:
        run = describe_run(config, data, module) | {"run/epochs": trainer.current_epoch}
        if config.test and trainer.max_epochs != 0:
            run["run/epochs"] = read_checkpoint(str(last))["epoch"] + 1
        write_results(output_dir, plain, results, run, _test_rows(module))
        stage = "test" if config.test else "val"
        print_results(results, stage, output_dir, _commands(last, image_set.example_queries))
    return results


def _test_rows(module: SubspaceModule) -> Sequence[QueryResult]:
    """The results of every query of the test, if there was one."""
    return () if module.test_results is None else module.test_results[1].rows


def _name_wandb_run(config: DictConfig, before: Mapping[str, Any]) -> None:
    """Decide on the id of a W&B run before it starts, so that all its checkpoints hold it."""
    if "id" in config.logger and config.logger.id is None:
        config.logger.id = wandb_id(before.get("config", {})) or generate_id()


def _commands(checkpoint: Path, queries: Sequence[str]) -> list[str]:
    """Two things to do with a model, from the current folder; none with each model of a sweep."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return []
    here = Path.cwd()
    path = checkpoint.relative_to(here) if checkpoint.is_relative_to(here) else checkpoint
    asked = (("retrieve", f"query={queries[0]}"), ("explore",))
    return [
        f"python -m src.{shlex.join([name, *arguments, f'ckpt_path={path}'])}"
        for name, *arguments in asked
    ]


def _how_to_go_on(output_dir: Path) -> str:
    newest = find_newest(output_dir)
    if newest is None:
        return ""
    overrides = HydraConfig.get().overrides.task
    kept = [override for override in overrides if not override.startswith("ckpt_path=")]
    arguments = [*kept, f"ckpt_path={newest}", f"hydra.run.dir={output_dir}"]
    return f": go on with python -m src.train {shlex.join(arguments)}"
