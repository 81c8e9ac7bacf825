from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger

from src.callbacks.progress import Progress


def test_bar_shows_metrics_and_no_id_of_the_run(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, version="a59c")
    trainer = pl.Trainer(logger=logger, enable_progress_bar=False, accelerator="cpu")
    module = pl.LightningModule()
    assert RichProgressBar().get_metrics(trainer, module) == {"v_num": "a59c"}
    assert Progress().get_metrics(trainer, module) == {}
