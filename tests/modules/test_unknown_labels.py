"""What the loss and the readouts see of labels that are unknown."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from src.data.digits import Digits
from src.data.images import ImageBatch
from src.data.normalize import Normalize
from src.encoders.convnet import ConvNet
from src.losses.nuclear import NuclearNormLoss, nuclear_norm_loss
from src.modules.subspace import SubspaceModule
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.readout import Readout
from src.readouts.sigmoid import SigmoidReadout

LITERALS = ["a", "b", "c"]
MINTERMS = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()
KINDS = ("absent", "known", "posterior")
Labels = tuple[Tensor, Tensor]


def build(completion: Any, loss: nn.Module, readout: Readout, coding: str) -> SubspaceModule:
    torch.manual_seed(0)
    module = SubspaceModule(
        encoder=ConvNet(Digits.image_shape, 3, radius=None, batch_norm=False),
        loss=loss,
        readout=readout,
        beside=[],
        subspaces=None,
        minterms=MINTERMS,
        optimizer=None,
        normalize=Normalize(Digits.mean, Digits.std),
        augmentation=nn.Identity(),
        literals=LITERALS,
        examples=[],
        label_coding=coding,
        completion=completion,
        score=None,
        max_query_literals=1,
        max_query_depth=1,
        queries_per_depth=0,
    )
    return module.double().eval()


def with_bce(completion: str) -> SubspaceModule:
    return build(completion, nn.BCEWithLogitsLoss(), SigmoidReadout(LITERALS), "literals")


def with_norm(completion: str, coding: str = "literals") -> SubspaceModule:
    readout = DiscriminantReadout(MINTERMS, 3, "additive", None)
    return build(completion, NuclearNormLoss(0.9, 0.05), readout, coding)


def batch(share: float = 0.4, number: int = 60) -> tuple[ImageBatch, Tensor]:
    """A batch, and its labels as they are."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (number, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = MINTERMS[torch.randint(4, (number,), generator=generator)]
    unknown = torch.rand(number, 3, generator=generator) < share
    return ImageBatch(images, labels & ~unknown, torch.arange(number), unknown), labels


def test_binary_cross_entropy_is_a_mean_over_the_labels_that_are_known() -> None:
    module, (part, _) = with_bce("known"), batch()
    assert part.unknown is not None
    logits = module(part.images)
    elements = [
        binary_cross_entropy_with_logits(logits[row, column], part.labels[row, column].double())
        for row, column in (~part.unknown).nonzero().tolist()
    ]
    torch.testing.assert_close(module.batch_loss(part), torch.stack(elements).mean())


def test_what_is_absent_reads_as_false() -> None:
    part, _ = batch()
    plain = part._replace(unknown=None)
    for module in (with_bce("absent"), with_norm("absent"), with_norm("absent", "minterms")):
        assert module.batch_loss(part) == module.batch_loss(plain)
        embeddings = module(part.images)
        assert torch.equal(module.fit_labels(embeddings, part), part.labels)


def test_the_norm_sees_what_known_labels_make_likely() -> None:
    module, (part, _) = with_norm("known"), batch()
    assert part.unknown is not None
    expected = []
    for row, unknown in zip(part.labels.tolist(), part.unknown.tolist(), strict=True):
        agreeing = [
            minterm
            for minterm in MINTERMS.tolist()
            if all(u or a == b for a, b, u in zip(minterm, row, unknown, strict=True))
        ]  # all are as likely before the first step
        expected.append([sum(column) / len(agreeing) for column in zip(*agreeing, strict=True)])
    embeddings = module(part.images)
    value = nuclear_norm_loss(embeddings, torch.tensor(expected).double(), 0.9, 0.05)
    torch.testing.assert_close(module.batch_loss(part), value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coding", ["literals", "complements", "minterms"])
def test_labels_that_are_all_known_are_coded_as_ever(kind: str, coding: str) -> None:
    module = with_norm(kind, coding)
    part, labels = batch(share=0.0)
    embeddings = module(part.images)
    codes = module.label_codes(embeddings, part).double()
    torch.testing.assert_close(codes, module.encode_labels(labels).double())
    assert torch.equal(module.fit_labels(embeddings, part), labels)
    part = part._replace(unknown=None)
    assert torch.equal(module.label_codes(embeddings, part), module.encode_labels(labels))


def test_training_teaches_the_completion_what_embeddings_say() -> None:
    module, (part, labels) = with_norm("posterior", "minterms"), batch(share=0.5, number=400)
    assert part.unknown is not None
    means = torch.tensor([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]).double()
    noise = torch.randn(400, 3, generator=torch.Generator().manual_seed(2)).double()
    embeddings = labels.double() @ means + noise
    module.train()
    for _ in range(40):
        codes = module.label_codes(embeddings, part)
    truth = one_hot((labels[:, None] == MINTERMS).all(dim=2).int().argmax(dim=1), 4)
    assert (codes.argmax(dim=1) == truth.argmax(dim=1)).double().mean() > 0.95
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(400).double())
    module.eval()
    before = module.completion.sums.clone()
    module.label_codes(embeddings, part)
    drawn = module.fit_labels(embeddings, part)
    assert torch.equal(drawn & ~part.unknown, part.labels)
    assert (drawn == labels)[part.unknown].double().mean() > 0.9
    assert torch.equal(module.completion.sums, before)  # evaluation teaches nothing
