import torch

from src.data.texts import LabelledTexts, encode_texts

TEXTS = ["a tool", "", "Ünïcode", "longer than eight bytes"]
LABELS = torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]])


def test_texts_are_their_bytes() -> None:
    encoded = encode_texts(TEXTS, 8)
    assert encoded.shape == (4, 1, 1, 8)
    assert encoded.dtype == torch.uint8
    for text, row in zip(TEXTS, encoded, strict=True):
        assert bytes(row.flatten().tolist()) == text.encode()[:8].ljust(8, b"\0")


def test_a_split_shows_the_texts_of_its_positions() -> None:
    shown = [f"{number}: {text}" for number, text in enumerate(TEXTS)]
    split = LabelledTexts(TEXTS, shown, LABELS, 8).select(torch.tensor([3, 0, 2]))
    assert split.names == [shown[3], shown[0], shown[2]]
    assert split.show(torch.tensor([2, 0])) == [shown[2], shown[3]]
    assert torch.equal(split.images, encode_texts(TEXTS, 8)[[3, 0, 2]])
    assert split.labels.tolist() == LABELS[[3, 0, 2]].bool().tolist()
    moved = split.to(torch.device("cpu"))
    assert moved.show(torch.tensor([1])) == [shown[0]]
    _, held = split.split(1, seed=0)
    (name,) = held.names or []
    assert name == split.show((split.images == held.images).flatten(1).all(1).nonzero()[:, 0])[0]
