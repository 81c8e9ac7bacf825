from functools import partial

import pytest
import torch
from torch import nn

from src.data.digits import Digits
from src.data.normalize import Normalize
from src.encoders.convnet import ConvNet
from src.losses.nuclear import NuclearNormLoss
from src.modules.subspace import LabelCoding, SubspaceModule
from src.optimizers import adamw_one_cycle

MINTERMS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()


def build(label_coding: LabelCoding, embedding_dim: int = 8) -> SubspaceModule:
    return SubspaceModule(
        encoder=ConvNet(Digits.image_shape, embedding_dim, radius=None, batch_norm=False),
        loss=NuclearNormLoss(0.99, 0.05),
        optimizer=partial(adamw_one_cycle, lr=1e-3, weight_decay=0.0),
        normalize=Normalize(Digits.mean, Digits.std),
        augmentation=nn.Identity(),
        literals=["a", "b", "c"],
        minterms=MINTERMS,
        batch_size=4,
        readout="subspaces",
        label_coding=label_coding,
        score="sum",
        max_query_literals=2,
        max_query_depth=1,
        queries_per_depth=0,
    )


def test_literal_coding_leaves_labels_as_they_are() -> None:
    assert torch.equal(build("literals").encode_labels(MINTERMS), MINTERMS)


def test_minterm_coding_indicates_the_minterm_and_nothing_for_an_unseen_one() -> None:
    labels = torch.cat([MINTERMS, torch.tensor([[False, False, False]])])
    codes = build("minterms").encode_labels(labels)
    assert torch.equal(codes, torch.cat([torch.eye(4), torch.zeros(1, 4)]).long())


@pytest.mark.parametrize(("label_coding", "needed"), [("minterms", 4), ("literals", 3)])
def test_embedding_must_hold_all_directions(label_coding: LabelCoding, needed: int) -> None:
    build(label_coding, embedding_dim=needed)
    with pytest.raises(ValueError, match=rf"encoder.embedding_dim={needed} or more"):
        build(label_coding, embedding_dim=needed - 1)


def test_queries_are_all_short_conjunctions() -> None:
    texts = {query.text for query in build("minterms").queries}
    assert len(texts) == 3 * 2 + 3 * 4
    assert {"a", "~c", "a & ~b"} <= texts


def test_more_queries_than_can_be_evaluated_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"queries, more than 5,000; set module.max_query_literals"
    ):
        SubspaceModule(
            encoder=ConvNet(Digits.image_shape, 8, radius=None, batch_norm=False),
            loss=NuclearNormLoss(0.99, 0.05),
            optimizer=partial(adamw_one_cycle, lr=1e-3, weight_decay=0.0),
            normalize=Normalize(Digits.mean, Digits.std),
            augmentation=nn.Identity(),
            literals=[f"literal_{number}" for number in range(100)],
            minterms=torch.eye(100)[:4].bool(),
            batch_size=4,
            readout="subspaces",
            label_coding="minterms",
            score="sum",
            max_query_literals=5,
            max_query_depth=1,
            queries_per_depth=0,
        )


def test_state_dict_holds_all_that_a_query_needs() -> None:
    trained, loaded = build("minterms").eval(), build("minterms").eval()
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        trained.subspaces.update(trained(images), MINTERMS[torch.arange(40) % 4])
        trained.subspaces.fit()
        loaded.load_state_dict(trained.state_dict())
        masks = torch.stack([query.holds(MINTERMS) for query in trained.queries])
        expected = trained.subspaces.scores(trained(images), masks, "sum")
        assert torch.equal(loaded.subspaces.scores(loaded(images), masks, "sum"), expected)
