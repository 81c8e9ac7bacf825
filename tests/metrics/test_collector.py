import torch

from src.metrics.collector import EmbeddingCollector


def test_orders_by_position_whatever_the_batches() -> None:
    embeddings, labels = torch.randn(7, 3), torch.rand(7, 2) < 0.5
    collector = EmbeddingCollector()
    for positions in ([5, 1], [0, 6, 2], [4], [3]):
        chosen = torch.tensor(positions)
        collector.update(embeddings[chosen], labels[chosen], chosen)
    collected = collector.compute()
    assert torch.equal(collected.embeddings, embeddings)
    assert torch.equal(collected.labels, labels)
    assert collected.indices.tolist() == list(range(7))
    collector.reset()
    assert not collector.embeddings
