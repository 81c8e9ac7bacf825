"""Batch normalisation that is the same on one device as on many."""

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather


class GlobalBatchNorm(nn.BatchNorm1d):
    """Batch normalisation [0] over the batch that all processes hold together, in equal shares.

    Each process normalises the whole batch and keeps its own rows; gradients go back to all
    processes. `torch.nn.SyncBatchNorm` does this on GPUs alone.

    References:
        [0] Ioffe and Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing
        Internal Covariate Shift*, ICML 2015, https://arxiv.org/abs/1502.03167
    """

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (N, D) to normalised ones (N, D)."""
        if not (self.training and dist.is_initialized()):
            return super().forward(vectors)
        normalized = super().forward(torch.cat(all_gather(vectors)))
        return normalized.chunk(dist.get_world_size())[dist.get_rank()]
