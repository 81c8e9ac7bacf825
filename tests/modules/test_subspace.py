import pytest
import torch
from torch import nn

from src.data.digits import Digits
from src.data.images import ImageBatch
from src.data.normalize import Normalize
from src.encoders.convnet import ConvNet
from src.losses.batch import NonFiniteEmbeddingsError
from src.losses.nuclear import NuclearNormLoss
from src.modules.subspace import SubspaceModule
from src.readouts.captions import CaptionReadout
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.subspaces import MintermSubspaces

MINTERMS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()


def build(label_coding: str, embedding_dim: int = 8) -> SubspaceModule:
    subspaces = MintermSubspaces(MINTERMS, embedding_dim)
    return SubspaceModule(
        encoder=ConvNet(Digits.image_shape, embedding_dim, radius=None, batch_norm=False),
        loss=NuclearNormLoss(0.99, 0.05),
        readout=subspaces,
        beside=[
            DiscriminantReadout(MINTERMS, embedding_dim, "additive", None),
            LiteralDiscriminants(["a", "b", "c"], embedding_dim, None),
        ],
        subspaces=subspaces,
        minterms=MINTERMS,
        optimizer=None,
        normalize=Normalize(Digits.mean, Digits.std),
        augmentation=nn.Identity(),
        literals=["a", "b", "c"],
        examples=["a & ~b"],
        label_coding=label_coding,
        completion="posterior",
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
def test_embedding_must_hold_all_directions(label_coding: str, needed: int) -> None:
    build(label_coding, embedding_dim=needed)
    with pytest.raises(ValueError, match=rf"encoder.embedding_dim={needed} or more"):
        build(label_coding, embedding_dim=needed - 1)


def test_state_dict_holds_all_that_a_query_needs() -> None:
    trained, loaded = build("minterms").eval(), build("minterms").eval()
    labels = MINTERMS[torch.arange(40) % 4]
    images = torch.randint(
        0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    readouts = [trained.readout, *trained.beside]
    with torch.no_grad():
        embeddings = trained(images)
        for readout in readouts:
            readout.update(embeddings, labels)
            readout.fit()
            readout.calibrate(embeddings, labels)
        loaded.load_state_dict(trained.state_dict())
        again = loaded(images)
        queries = trained.queries.propositions
        for readout, same in zip(readouts, [loaded.readout, *loaded.beside], strict=True):
            assert readout.temperature != 1
            assert readout.literal_biases.any()
            for kind in readout.score_kinds:
                expected = readout.score(embeddings, queries, kind)
                assert torch.equal(same.score(again, queries, kind), expected)
    assert [readout.name for readout in readouts] == [
        "subspaces",
        "discriminant",
        "literal_discriminants",
    ]
    assert loaded.subspaces is loaded.readout


def test_a_fit_on_captions_does_not_depend_on_the_batches_of_a_validation() -> None:
    images = torch.randint(256, (24, *Digits.image_shape), dtype=torch.uint8)
    whole = ImageBatch(images, MINTERMS[torch.arange(24) % 4], torch.arange(24))
    module = build("minterms").double().eval()
    maps = []
    for size in (24, 7):
        readout = CaptionReadout(MINTERMS, ["a", "b", "c"], 8, 8, 0.3, 0.3)
        module.readout = readout
        for rows in torch.arange(24).split(size):
            part = ImageBatch(images[rows], whole.labels[rows], whole.indices[rows])
            module.validation_step(part, 0, dataloader_idx=0)
        readout.fit()
        maps.append(readout.map)
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_step_refuses_a_loss_that_is_not_finite(
    loss: nn.Module, wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build("minterms", embedding_dim=4)
    module.loss = loss
    with torch.no_grad():
        next(module.encoder.parameters()).fill_(wrong)
    monkeypatch.setattr(SubspaceModule, "current_epoch", 3)
    monkeypatch.setattr(SubspaceModule, "global_step", 7)
    images = torch.zeros(4, *Digits.image_shape, dtype=torch.uint8)
    batch = ImageBatch(images, MINTERMS, torch.arange(4))
    with pytest.raises(NonFiniteEmbeddingsError, match=r"epoch 3, step 7, batch 2: the loss is"):
        module.training_step(batch, 2)
