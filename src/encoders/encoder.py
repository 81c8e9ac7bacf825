"""What every encoder is."""

from torch import nn


class Encoder(nn.Module):
    """Maps images (N, channels, height, width), float32, to embeddings (N, D)."""

    embedding_dim: int  # D
