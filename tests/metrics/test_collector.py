import torch

from src.metrics.collector import EmbeddingCollector


def test_orders_by_position_whatever_the_batches() -> None:
    embeddings, labels = torch.randn(7, 3), torch.rand(7, 2) < 0.5
    collector = EmbeddingCollector()
    for positions in ([5, 1], [0, 6, 2], [4], [3]):
        chosen = torch.tensor(positions)
        collector.update(embeddings[chosen], labels[chosen], chosen)
    collected = collector.collect()
    assert torch.equal(collected.embeddings, embeddings)
    assert torch.equal(collected.labels, labels)
    assert collected.indices.tolist() == list(range(7))
    collector.reset()
    assert not collector.embeddings


def test_a_single_image_of_one_dimension_and_one_literal_keeps_its_shape() -> None:
    collector = EmbeddingCollector()
    collector.update(torch.ones(1, 1), torch.ones(1, 1) > 0, torch.zeros(1, dtype=torch.int64))
    assert [tuple(part.shape) for part in collector.collect()] == [(1, 1), (1, 1), (1,)]
