"""Training on random views of images and the relation between them."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torchvision.ops import MLP

from src.data.images import ImageBatch
from src.encoders.encoder import Encoder
from src.losses.batch import whole_batch
from src.losses.pca import PCALoss
from src.losses.relation import same_group
from src.modules.subspace import SubspaceModule
from src.optimizers import OptimizerFactory
from src.readouts.readout import Readout
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.minterms import find_minterms

Relation = Literal["augmentation", "labels", "both", "itself"]


class TwoViewModule(SubspaceModule):
    """An encoder trained by a self-supervised loss, which sees random views and their relation.

    What is evaluated, subspaces included, are embeddings of whole images, which the projection head
    does not see. Losses see the views of all processes together.

    Principal components leave the encoder as it is, so that with `PCALoss` embeddings are projected
    onto the span of the learned components.

    Args:
        encoder, readout, beside, subspaces, minterms, optimizer, normalize: As in `SubspaceModule`,
            and so are literals, examples, score, max_query_literals, max_query_depth and
            queries_per_depth.
        loss: Called as loss(embeddings, relation).
        augmentation: Draws a random view of each image, pixels as stored.
        relation: Which views of a batch are related: two of each image, if they are of one image
            (`augmentation`) or of images with the same labels (`both`); one of each image, if the
            labels are the same (`labels`); or one of each image, to nothing but `itself`. None for
            what the loss is meant for: `itself` for `PCALoss`, `augmentation` for others.
        projection: Widths of the layers between embeddings and the loss, ReLU between them; empty
            for none.

    Raises:
        ValueError: If arguments do not fit each other.
    """

    over_relation: ClassVar[bool] = True

    def __init__(
        self,
        encoder: Encoder,
        loss: nn.Module,
        readout: Readout,
        beside: Sequence[Readout],
        subspaces: MintermSubspaces | None,
        minterms: Tensor,
        optimizer: OptimizerFactory | None,
        normalize: nn.Module,
        augmentation: nn.Module,
        literals: Sequence[str],
        examples: Sequence[str],
        relation: Relation | None,
        projection: list[int],
        score: str | None,
        max_query_literals: int,
        max_query_depth: int,
        queries_per_depth: int,
    ) -> None:
        super().__init__(
            encoder,
            loss,
            readout,
            beside,
            subspaces,
            minterms,
            optimizer,
            normalize,
            augmentation,
            literals,
            examples,
            label_coding=None,
            completion="absent",
            score=score,
            max_query_literals=max_query_literals,
            max_query_depth=max_query_depth,
            queries_per_depth=queries_per_depth,
        )
        if any(width < 1 for width in projection):
            raise ValueError(f"widths of the projection must be at least 1, not {projection}")
        if isinstance(loss, PCALoss):
            if projection:
                raise ValueError(
                    "principal components train no projection: set module.projection=[]"
                )
            encoder.requires_grad_(False)  # processes wait for the gradients of all that is trained
        self.relation = relation or ("itself" if isinstance(loss, PCALoss) else "augmentation")
        self.projection: nn.Module = nn.Identity()
        if projection:
            self.projection = MLP(encoder.embedding_dim, list(projection))

    def forward(self, images: Tensor) -> Tensor:
        embeddings = super().forward(images)
        if isinstance(self.loss, PCALoss):
            basis = torch.linalg.qr(self.loss.components).Q
            return embeddings @ basis @ basis.T
        return embeddings

    def batch_loss(self, batch: ImageBatch) -> Tensor:
        views = 2 if self.relation in ("augmentation", "both") else 1
        images = self.augmentation(batch.images.float().repeat(views, 1, 1, 1))
        embeddings = self.projection(self.encoder(self.normalize(images)))
        groups = batch.indices
        if self.relation in ("labels", "both"):
            groups = find_minterms(batch.labels, self.minterms)
        embeddings, groups = whole_batch(embeddings, groups.repeat(views))
        if self.relation == "itself":
            return self.loss(embeddings, torch.eye(len(groups), device=groups.device))
        return self.loss(embeddings, same_group(groups))
