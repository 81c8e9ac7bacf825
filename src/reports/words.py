"""Keys of the config in words, for pages and pictures."""

WORDS = {
    "loader.flipped": "share of training images with wrong labels",
    "loader.masked": "share of unknown labels",
    "loader.unseen": "share of minterms that training leaves out",
    "encoder.embedding_dim": "dimensions of embeddings",
    "optimizer.lr": "learning rate",
    "trainer.max_epochs": "epochs",
}


def in_words(key: str) -> str:
    """What a key says: one of `WORDS`, or its own parts, as `loss alpha` for `loss.alpha`."""
    return WORDS.get(key, key.replace(".", " ").replace("_", " "))
