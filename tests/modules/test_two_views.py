"""Self-supervised training on digits: its relations, its processes, its runs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import BRIEF, UNDRAWN, Run, Shared, in_processes, run_command, train
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch import distributed as dist

from src.config.groups import CONF_DIR
from src.data.digits import Digits
from src.data.images import ImageBatch
from src.data.normalize import Normalize
from src.encoders.convnet import ConvNet
from src.losses.pca import PCALoss
from src.losses.simclr import SimCLRLoss
from src.losses.vicreg import VICRegLoss
from src.modules.two_views import Relation, TwoViewModule
from src.optimizers import adamw_one_cycle
from src.readouts.subspaces import MintermSubspaces
from src.runs.compose import build_loss
from src.runs.load import load_checkpoint
from src.subspaces.minterms import distinct_minterms

LOSSES = [
    *("simclr", "ranking_nce", "binary_nce", "spectral_contrastive", "byol_spectral"),
    *("vicreg", "barlow_twins", "pca"),
]
RELATIONS: list[Relation] = ["augmentation", "labels", "both", "itself"]
TWO_VIEWS = ("module=two_views", "module.augmentation.flip=0", "callbacks=probe", "logger=none")
FOUR_EPOCHS = (*BRIEF, "trainer.check_val_every_n_epoch=2", "module.max_query_depth=1")
PROBED = ("linear_accuracy", "linear_converged", "knn_accuracy", "effective_rank")


class MirrorSecondViews(nn.Module):
    """Leaves the first half of images and mirrors the second, without chance."""

    def forward(self, images: Tensor) -> Tensor:
        first, second = images.chunk(2)
        return torch.cat([first, second.flip(-1)])


class ReturnRelation(nn.Module):
    """Gives back what a loss is asked with."""

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        assert len(embeddings) == len(relation)
        return relation


def build(loss: nn.Module, relation: Relation | None, augmentation: nn.Module) -> TwoViewModule:
    torch.manual_seed(0)
    subspaces = MintermSubspaces(distinct_minterms(Digits(0).splits["train"].labels), 16)
    module = TwoViewModule(
        encoder=ConvNet(Digits.image_shape, 16, radius=None, batch_norm=False),
        loss=loss,
        readout=subspaces,
        beside=[],
        subspaces=subspaces,
        minterms=subspaces.minterms,
        optimizer=partial(adamw_one_cycle, lr=1e-3, weight_decay=0.0),
        normalize=Normalize(Digits.mean, Digits.std),
        augmentation=augmentation,
        literals=Digits.literals,
        examples=[],
        relation=relation,
        projection=[] if isinstance(loss, PCALoss) else [8, 6],
        score=None,
        max_query_literals=1,
        max_query_depth=1,
        queries_per_depth=0,
    )
    return module.double().eval()  # without dropout


def batch_of_pairs() -> ImageBatch:
    """Twelve images, two of each of six minterms, of which a minterm's are next to each other."""
    split = Digits(0).splits["train"]
    chosen = []
    for minterm in distinct_minterms(split.labels)[:6]:
        chosen += (split.labels == minterm).all(dim=1).nonzero().flatten()[:2].tolist()
    return split[chosen]


def share(batch: ImageBatch, rank: int, processes: int) -> ImageBatch:
    return ImageBatch(*(part[rank::processes] for part in batch[:3]))


@pytest.mark.parametrize("relation", RELATIONS)
def test_relation_is_the_plain_double_loop(relation: Relation) -> None:
    batch = share(batch_of_pairs(), 0, 1)
    batch = ImageBatch(*(part[[0, 1, 2, 5, 3, 7, 0]] for part in batch[:3]))  # one image twice
    labels, images = batch.labels.tolist(), batch.indices.tolist()
    views = [
        place
        for _ in range(2 if relation in ("augmentation", "both") else 1)
        for place in range(len(images))
    ]
    expected = [[0.0] * len(views) for _ in views]
    for i, first in enumerate(views):
        for j, second in enumerate(views):
            if relation == "itself":
                expected[i][j] = float(i == j)
            elif i != j and relation == "augmentation":
                expected[i][j] = float(images[first] == images[second])
            elif i != j:
                expected[i][j] = float(labels[first] == labels[second])
    found = build(ReturnRelation(), relation, nn.Identity()).batch_loss(batch)
    assert found.double().tolist() == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(SimCLRLoss(0.5), "augmentation"), (PCALoss(16, 2, 1.0), "itself")],
)
def test_relation_is_what_the_loss_is_meant_for(loss: nn.Module, expected: str) -> None:
    assert build(loss, None, nn.Identity()).relation == expected


def test_loss_sees_the_projection_and_the_evaluation_does_not() -> None:
    module = build(SimCLRLoss(0.5), "augmentation", MirrorSecondViews())
    batch = batch_of_pairs()
    embeddings = module(batch.images)
    assert embeddings.shape == (12, 16)
    assert torch.equal(embeddings, module.encoder(module.normalize(batch.images)))
    first, last = (layer for layer in module.projection.modules() if isinstance(layer, nn.Linear))
    assert (first.weight.shape, last.weight.shape) == ((8, 16), (6, 8))

    seen = []
    for pictures in (batch.images, batch.images.flip(-1)):
        hidden = module(pictures) @ first.weight.T + first.bias
        seen.append(hidden.clamp(min=0) @ last.weight.T + last.bias)
    units = torch.cat([view / view.norm(dim=1, keepdim=True) for view in seen]).detach().numpy()
    weights = np.exp(units @ units.T / 0.5)
    np.fill_diagonal(weights, 0)
    pairs = [weights[i, (i + 12) % 24] / weights[i].sum() for i in range(24)]
    assert float(module.batch_loss(batch)) == pytest.approx(-np.log(pairs).mean())


def loss_and_gradients(
    loss: nn.Module, relation: Relation, batch: ImageBatch
) -> tuple[Tensor, list[Tensor]]:
    module = build(loss, relation, MirrorSecondViews())
    value = module.batch_loss(batch)
    trained = [*module.encoder.parameters(), *module.projection.parameters()]
    return value.detach(), list(torch.autograd.grad(value, trained))


TWO_PROCESSES: list[tuple[nn.Module, Relation]] = [
    (SimCLRLoss(0.5), "augmentation"),
    (SimCLRLoss(0.5), "both"),
    (VICRegLoss(25.0, 25.0, 1.0), "augmentation"),
]


def worker(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    init = (directory / "init").as_uri()
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    mine = share(batch_of_pairs(), rank, 2)
    results = [loss_and_gradients(loss, relation, mine) for loss, relation in TWO_PROCESSES]
    related = build(ReturnRelation(), "labels", nn.Identity()).batch_loss(mine)
    torch.save((results, related), directory / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_take_the_step_of_one_and_relate_images_across(tmp_path: Path) -> None:
    in_processes(worker, 2, tmp_path)
    (first, related), (second, also) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for one, other, setting in zip(first, second, TWO_PROCESSES, strict=True):
        value, gradients = loss_and_gradients(*setting, batch_of_pairs())
        torch.testing.assert_close((one[0], other[0]), (value, value))
        for mine, yours, expected in zip(one[1], other[1], gradients, strict=True):
            torch.testing.assert_close((mine + yours) / 2, expected)
    # Image i of the first process has the label of image i of the second and of no other.
    across = torch.eye(12).roll(6, dims=0)
    assert torch.equal(related.float(), across)
    assert torch.equal(also, related)


@pytest.fixture(scope="module")
def run_of(shared: Shared) -> Callable[[str], Run]:
    """A short run of a loss, with a checkpoint every two epochs."""
    every = (
        "{_target_:pytorch_lightning.callbacks.ModelCheckpoint,every_n_epochs:2,save_top_k:-1,"
        "dirpath:'${output_dir}/every',save_on_train_epoch_end:false}"
    )

    def short(name: str) -> Run:
        more = ["loss.num_components=5"] if name == "pca" else []
        overrides = [f"loss={name}", f"+callbacks.every={every}", *FOUR_EPOCHS, *more]
        return shared.run(f"two_views_{name}", *TWO_VIEWS, *overrides)

    return short


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_trains_and_is_probed(name: str, run_of: Callable[[str], Run]) -> None:
    run = run_of(name)
    metrics = run.metrics
    least = 0.3 if name == "pca" else 0.6  # five components of a random encoder
    for key in PROBED:
        assert isinstance(metrics[f"test/probe/{key}"], float)
    assert metrics["test/probe/linear_accuracy"] > least
    assert metrics["test/probe/knn_accuracy"] > least
    assert metrics["test/probe/effective_rank"] > 2
    assert metrics["test/retrieval/queries"] == 150
    assert "test/spectral/optimality_gap" not in metrics
    assert (run.folder / "report" / "retrieval.png").exists()


@pytest.mark.parametrize("name", ["simclr", "vicreg"])
def test_training_brings_views_together(
    name: str, run_of: Callable[[str], Run], tmp_path: Path
) -> None:
    untrained = ["trainer.max_epochs=0", "test=false", UNDRAWN]
    before = train(tmp_path / "random", *TWO_VIEWS, f"loss={name}", *untrained)
    values = []
    for checkpoint in (before.checkpoint, run_of(name).checkpoint):
        _, data, module = load_checkpoint(str(checkpoint), None)
        assert isinstance(module, TwoViewModule)
        torch.manual_seed(0)
        with torch.no_grad():
            values.append(float(module.batch_loss(data.image_set.splits["test"][range(200)])))
    assert values[1] < 0.95 * values[0]


@pytest.mark.parametrize("name", ["simclr", "byol_spectral"])
def test_resumed_run_is_the_uninterrupted_one(
    name: str, run_of: Callable[[str], Run], tmp_path: Path
) -> None:
    whole = run_of(name)
    (half,) = (whole.folder / "every").glob("epoch=1-*.ckpt")
    overrides = [f"loss={name}", *FOUR_EPOCHS, UNDRAWN]
    resumed = train(tmp_path, *TWO_VIEWS, *overrides, f"ckpt_path={half}")
    states = [torch.load(run.checkpoint, weights_only=True) for run in (whole, resumed)]
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
    for key, value in states[0]["state_dict"].items():
        assert torch.equal(states[1]["state_dict"][key], value), key
    for key in PROBED:
        assert resumed.metrics[f"test/probe/{key}"] == whole.metrics[f"test/probe/{key}"]


def test_evaluation_of_components_sees_their_span_of_a_random_encoder(
    run_of: Callable[[str], Run],
) -> None:
    _, data, module = load_checkpoint(str(run_of("pca").checkpoint), None)
    assert isinstance(module.loss, PCALoss)
    images = data.image_set.splits["test"].images
    with torch.no_grad():
        embeddings, seen = module.encoder(module.normalize(images)), module(images)
    assert torch.linalg.matrix_rank(seen) == 5
    components = module.loss.components.detach()
    torch.testing.assert_close(seen @ components, embeddings @ components, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(module.encoder.state_dict(), untrained_encoder())


def untrained_encoder() -> dict[str, Any]:
    pl.seed_everything(13, workers=True, verbose=False)
    return dict(ConvNet(Digits.image_shape, 32, radius=None, batch_norm=False).state_dict())


@pytest.mark.parametrize(
    ("overrides", "relation", "widths"),
    [
        (["loss=simclr", "module.relation=labels"], "labels", []),
        (["loss=vicreg", "module.relation=both", "module.projection=[24,16]"], "both", [24, 16]),
        (["loss=byol_spectral", "module.projection=[16]"], "augmentation", [16]),
        (["loss=spectral_contrastive", "module.relation=itself"], "itself", []),
    ],
)
def test_variants_train(
    overrides: list[str], relation: Relation, widths: list[int], tmp_path: Path
) -> None:
    plain = ["debug=fast", "module.max_query_depth=1", UNDRAWN]
    run = train(tmp_path / "run", *TWO_VIEWS, *plain, *overrides)
    assert np.isfinite(run.metrics["train/loss"])
    module = load_checkpoint(str(run.checkpoint), None)[2]
    assert isinstance(module, TwoViewModule)
    assert module.relation == relation
    layers = [layer for layer in module.projection.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == widths
    name = "layers.0.weight"
    assert not torch.equal(module.encoder.state_dict()[name], untrained_encoder()[name])


def test_sweep_has_the_probes_and_no_empty_columns(tmp_path: Path) -> None:
    overrides = ["loss=simclr,vicreg", "debug=fast", "trainer.max_epochs=1", *TWO_VIEWS, UNDRAWN]
    assert run_command("train", "-m", f"hydra.sweep.dir={tmp_path}", *overrides) == (0, "")
    heading, _, *rows = (tmp_path / "sweep.md").read_text().splitlines()[:4]
    for name in ("linear probe", "kNN", "effective rank"):
        assert name in heading
    assert "optimality gap" not in heading
    assert all("|  |" not in row for row in rows)


def test_losses_are_given_the_sizes_that_they_take() -> None:
    def composed(name: str, **values: int) -> Any:
        config = OmegaConf.merge(OmegaConf.load(CONF_DIR / "loss" / f"{name}.yaml"), values)
        assert isinstance(config, DictConfig)
        return build_loss(
            config, embedding_dim=24, num_classes=7, num_labels=5, class_counts=torch.ones(7)
        )

    assert composed("byol_spectral").target_moment.shape == (24, 24)
    assert composed("grassmann").bases.shape == (7, 24, 8)
    assert composed("harmonic").centers.shape == (7, 24)
    assert composed("nuclear_discriminant").moment.shape == (1 + 5 + 24, 1 + 5 + 24)
    assert repr(composed("simclr")) == "SimCLRLoss(temperature=0.5)"
    assert composed("byol_spectral", embedding_dim=3).target_moment.shape == (3, 3)
