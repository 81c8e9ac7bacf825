"""Batch normalisation that is the same on one device as on many."""

from torch import Tensor, nn
from torch import distributed as dist

from src.losses.batch import whole_rows


class GlobalBatchNorm(nn.BatchNorm1d):
    """Batch normalisation [0] over the batch that all processes hold together, in equal shares.

    Each process normalises the whole batch and keeps its own rows; gradients go back to all
    processes. `torch.nn.SyncBatchNorm` does the same on GPUs, alone, and `trainer=ddp` puts it in
    the place of this class.

    References:
        [0] Ioffe and Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing
        Internal Covariate Shift*, ICML 2015, https://arxiv.org/abs/1502.03167
    """

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (N, D) to normalised ones (N, D).

        Raises:
            ValueError: If there is only one vector in training.
        """
        if not self.training:
            return super().forward(vectors)
        whole = whole_rows(vectors)
        if len(whole) < 2:
            raise ValueError(
                "batch normalisation needs batches of two images or more: set loader.batch_size, "
                "or encoder.batch_norm=false"
            )
        normalized = super().forward(whole)
        if not dist.is_initialized():
            return normalized
        return normalized.chunk(dist.get_world_size())[dist.get_rank()]
