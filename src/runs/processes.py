"""The processes of a run: whether something starts them, and whether they arrive."""

import os
import sys
from threading import Timer

import pytorch_lightning as pl
import torch.distributed as dist
from lightning_fabric.plugins.environments import LightningEnvironment
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import DDPStrategy, ParallelStrategy, StrategyRegistry
from pytorch_lightning.utilities import rank_zero_only

PATIENCE = 60  # seconds until the wait for other processes is said
BY_HAND = {"NODE_RANK", "GROUP_RANK"}  # variables that say which node this is


class ArrivingDDP(DDPStrategy):
    """Lightning's `ddp`, which says for whom it waits, and that they did not arrive within its
    `timeout`.
    """

    def setup_distributed(self) -> None:
        """Meet the other processes.

        Raises:
            TimeoutError: If some of them do not come.
        """
        waiting = Timer(PATIENCE, self._say)
        waiting.daemon = True
        waiting.start()
        try:
            super().setup_distributed()
        except dist.DistError as error:
            raise TimeoutError(f"{self._describe()}, and gave up") from error
        finally:
            waiting.cancel()

    def _describe(self) -> str:
        here = self.cluster_environment
        assert here is not None
        return (
            f"process {here.global_rank()} of a run of {here.world_size()} waited for the others "
            f"at {here.main_address}:{here.main_port}: is every one started, under SLURM by srun, "
            "elsewhere by torchrun, and can it reach this address?"
        )

    def _say(self) -> None:
        sys.stderr.write(f"{self._describe()} waiting on\n")


# The one that `strategy: ddp` names, and `auto` takes for several devices.
StrategyRegistry.register("ddp", ArrivingDDP, override=True)


def check_processes(trainer: pl.Trainer) -> None:
    """Check that something starts the processes that a trainer will wait for, and say if they are
    more than the cores.

    Raises:
        ValueError: If there are to be several nodes, and nothing started this process as that of
            one of them.
    """
    environment = (
        trainer.strategy.cluster_environment
        if isinstance(trainer.strategy, ParallelStrategy)
        else None
    )
    alone = isinstance(environment, LightningEnvironment) and not BY_HAND.intersection(os.environ)
    if trainer.num_nodes > 1 and alone:
        raise ValueError(
            f"trainer.num_nodes={trainer.num_nodes}, but neither SLURM nor torchrun started this "
            "process, and no other node would come: start it on every node by srun or torchrun, "
            "or leave trainer.num_nodes out"
        )
    if isinstance(trainer.accelerator, CPUAccelerator):
        _compare_with_cores(trainer.num_devices)


@rank_zero_only
def _compare_with_cores(processes: int) -> None:
    cores = len(os.sched_getaffinity(0))
    if processes > cores:
        sys.stderr.write(f"warning: {processes} processes share {cores} cores (trainer.devices)\n")
