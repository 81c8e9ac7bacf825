from itertools import product

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor

from src.losses.contrastive import ContrastiveLoss
from src.losses.nuclear import NuclearNormLoss
from src.losses.nuclear_discriminant import NuclearDiscriminantLoss
from src.readouts.captions import CaptionReadout
from src.readouts.prompts import FRAMES, captions
from src.readouts.readout import check_pairing
from src.subspaces.propositions import Proposition

LITERALS = ("wearing_hat", "wearing_tie", "odd")
MINTERMS = torch.tensor(list(product((0, 1), repeat=3))).bool()
DIM = 12
COMPONENTS = 8
generator = torch.Generator().manual_seed(0)
LABELS = MINTERMS[torch.randint(len(MINTERMS), (200,), generator=generator)]
# Embeddings that say what labels are, and more
EMBEDDINGS = torch.cat(
    [
        LABELS.double() @ torch.randn(3, 4, generator=generator).double(),
        torch.randn(200, DIM - 4, generator=generator),
    ],
    dim=1,
)


def build(absent_mentioned: float = 0.1, components: int = COMPONENTS) -> CaptionReadout:
    return CaptionReadout(MINTERMS, LITERALS, DIM, components, absent_mentioned, cap_cosine=0.3)


def fitted(readout: CaptionReadout, batch_size: int = 67) -> CaptionReadout:
    for rows in torch.arange(200).split(batch_size):
        readout.update_at(rows, EMBEDDINGS[rows], LABELS[rows])
    readout.fit()
    return readout


def test_images_are_mapped_by_least_squares_to_captions() -> None:
    readout = fitted(build())
    said = captions(LABELS, LITERALS, 0.1, torch.arange(200))
    regression = LinearRegression().fit(EMBEDDINGS.numpy(), readout.embed_texts(said).numpy())
    expected = torch.from_numpy(regression.predict(EMBEDDINGS.numpy()))
    torch.testing.assert_close(readout.embed_images(EMBEDDINGS), expected)


def test_the_map_depends_on_images_alone() -> None:
    first = build()
    first.update_at(torch.arange(128), EMBEDDINGS[:128], LABELS[:128])
    first.fit()
    second = build()
    for rows in (torch.arange(64, 128), torch.arange(64)):  # as two processes may have them
        torch.rand(3)  # as of another callback
        second.update_at(rows, EMBEDDINGS[rows], LABELS[rows])
    second.fit()
    torch.testing.assert_close(second.map, first.map)
    torch.manual_seed(1)
    drawn = torch.rand(())
    torch.manual_seed(1)
    fitted(second)
    assert torch.rand(()) == drawn
    other = build()
    other.update_at(torch.arange(128) + 1, EMBEDDINGS[:128], LABELS[:128])
    other.fit()
    assert not torch.allclose(other.map, first.map)


def test_scores_are_cosines_with_prompts() -> None:
    readout = fitted(build())
    vectors = readout.embed_images(EMBEDDINGS)

    def cosine(said: str) -> Tensor:
        text = readout.embed_texts([FRAMES[0].format(said)])
        return torch.nn.functional.cosine_similarity(vectors, text)

    def score(query: str, kind: str) -> Tensor:
        return readout.score(EMBEDDINGS, [Proposition(query, LITERALS)], kind)[:, 0]

    query = "odd & ~wearing_hat"
    torch.testing.assert_close(score(query, "prompt"), cosine("odd and not wearing hat"))
    without = score(query, "prompt_without_negation")
    torch.testing.assert_close(without, cosine("odd and wearing hat"))
    probabilities = readout.minterm_probabilities(EMBEDDINGS)
    odd, tie = cosine("odd"), cosine("wearing tie")  # rows 1 and 2 of the minterms
    ratio = ((odd - tie) / 0.07).exp()
    torch.testing.assert_close(probabilities[:, 1] / probabilities[:, 2], ratio)


def test_a_negation_is_told_from_what_it_denies() -> None:
    text = build(absent_mentioned=1.0).embed_texts
    first, second = text(["not wearing hat and wearing tie", "wearing hat and not wearing tie"])
    assert not torch.allclose(first, second, atol=0.1)


def test_labels_of_the_loss_are_drawn_captions() -> None:
    readout = build()
    torch.manual_seed(1)
    codes = readout.encode_labels(LABELS, MINTERMS, "captions")
    torch.manual_seed(1)
    said = captions(LABELS, LITERALS, 0.1)
    assert torch.equal(codes, readout.embed_texts(said))
    assert codes.shape == (200, COMPONENTS)
    np.testing.assert_array_less(codes.norm(dim=1).numpy(), 1 + 1e-12)


def test_no_run_has_another_text_space_and_none_disturbs_other_randomness() -> None:
    torch.manual_seed(1)
    first = build()
    drawn = torch.rand(())
    torch.manual_seed(1)
    assert torch.rand(()) == drawn
    torch.manual_seed(2)
    assert torch.equal(build().embed_texts(["odd"]), first.embed_texts(["odd"]))


def test_only_the_nuclear_norm_takes_labels_of_real_value() -> None:
    check_pairing(NuclearNormLoss(0.99, 0.05), CaptionReadout)
    discriminant = NuclearDiscriminantLoss(3, DIM, 0.99, 0.02, 0.01, 0.95, 0.01)
    for loss in (discriminant, ContrastiveLoss()):
        with pytest.raises(ValueError, match="goes with"):
            check_pairing(loss, CaptionReadout)


def test_embeddings_hold_all_directions_of_captions() -> None:
    readout = build(components=8)
    readout.check_width(8, MINTERMS, "captions")
    with pytest.raises(ValueError, match=r"encoder.embedding_dim=8 or more"):
        readout.check_width(7, MINTERMS, "captions")
