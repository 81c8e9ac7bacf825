"""Signals that end a job, answered where training can be resumed exactly."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.exceptions import SIGTERMException


class StopBetweenSteps(Callback):
    """Lets SIGTERM, and the signal by which SLURM announces the end of a job, wait for a step.

    Lightning answers them: the first ends the run, the second saves `hpc_ckpt_N.ckpt` and requeues
    the job. It would do so in the middle of an update of the weights, and on each process by
    itself. Here all processes answer together, after the step in which one of them got the signal.
    Upon SIGTERM, `interrupted.ckpt` is saved before the run ends. Ctrl-C counts as SIGTERM; a
    second one does not wait. SIGHUP, of a terminal that is closed, counts as SIGTERM in the test,
    too, unless it is ignored, as nohup has it.

    Args:
        folder: Where that file goes.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "interrupted.ckpt"
        self._handlers: dict[signal.Signals, Any] = {}
        self._received: set[int] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            handler = signal.getsignal(number)
            if callable(handler):  # Lightning's, which it takes back when training has ended
                self._handlers[number] = handler
                signal.signal(number, self._note)
        self._interrupt = signal.getsignal(signal.SIGINT)
        if self._handlers and callable(self._interrupt):
            signal.signal(signal.SIGINT, self._note)
        _heed_hangup()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _heed_hangup()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.is_last_batch:  # after which validation must not be missed
            self._answer(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._answer(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._give_back()

    def on_test_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.received_sigterm:  # which Lightning looks at in training alone
            raise SIGTERMException

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, SIGTERMException) and trainer.state.fn == TrainerFn.FITTING:
            trainer.save_checkpoint(self.path)
        self._give_back()

    def _give_back(self) -> None:
        """Ctrl-C, as it was; Lightning takes care of the other signals."""
        if signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._interrupt)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if signal.SIGTERM in self._received:
                raise KeyboardInterrupt
            rank_zero_info("\nstopping after this step; Ctrl-C again stops at once")
            number = signal.SIGTERM
        self._received.add(number)

    def _answer(self, trainer: pl.Trainer) -> None:
        for number, handler in self._handlers.items():
            if trainer.strategy.reduce_boolean_decision(number in self._received, all=False):
                self._received.discard(number)
                handler(number, None)


def _heed_hangup() -> None:
    """Let SIGHUP end a run as SIGTERM does, unless it is ignored."""
    heeds = callable(signal.getsignal(signal.SIGTERM))  # as Lightning has it, until the run ends
    if heeds and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
