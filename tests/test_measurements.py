"""What is measured of the book's models: rows that repeat and mean what they say."""

import pytest
import torch

from vae_helpers import judge, latent, measurements, runs

CACHED = (
    measurements._coder,
    measurements.make_sampler,
    measurements._sample_features,
    judge.reference,
    judge.network,
)


@pytest.fixture(autouse=True)
def fresh():
    """No features or samplers of another profile's models."""
    for cached in CACHED:
        cached.cache_clear()
    yield
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("measurements")


@pytest.fixture
def models(smoke_in, folder):
    """The smoke profile in a folder whose models are trained once for all tests here."""
    return smoke_in(folder)


def test_unknown_tables_and_samplers_are_named_with_those_there_are(models):
    with pytest.raises(KeyError, match="no table 'beauty'; choose one of models"):
        measurements.measure("beauty")
    with pytest.raises(ValueError, match="choose prior, gaussian or mixture"):
        measurements.make_sampler("dense2", "copula")


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("models", {"run": "deep-conv-mse"}),
        ("samples", {"run": "conditional2", "sampler": "prior", "seed": 0}),
        ("classes", {"label": 3, "seed": 1}),
        ("samples", {"run": "autoencoder16", "sampler": "gaussian", "seed": 0}),
        ("samples", {"run": "training images", "sampler": "real", "seed": 1}),
        ("corruptions", {"features": "untrained", "kind": "blur", "strength": 1.0}),
        ("corruptions", {"features": "trained", "kind": "samples", "strength": 0.0}),
        ("sizes", {"made": "conv16", "size": 500, "seed": 1}),
        ("frozen", {"sigma": 0.5, "seed": 0}),
        ("likelihood", {"part": 1}),
        ("compression", {"coder": "64 components", "setting": 0.5}),
        ("compression", {"coder": "dense2", "setting": 1.0}),
        ("compression", {"coder": "JPEG", "setting": 20}),
        ("compression", {"coder": "PNG", "setting": 0}),
        ("probes", {"features": "PCA", "labels": 100, "seed": 0}),
        ("probes", {"features": "untrained", "labels": 100, "seed": 1}),
    ],
)
def test_each_table_has_rows_that_repeat(models, name, configuration):
    table = measurements.TABLES[name]
    assert configuration in list(table.configurations())
    row = table.row(**configuration)
    assert row == table.row(**configuration)
    assert all(abs(value) < 1e6 for value in row.values())
    assert set(table.runs(configuration)) <= set(runs.RUNS)


def test_real_images_are_closer_than_samples_and_spoiled_ones_further(models):
    score = measurements.sample_quality
    real = score("training images", "real", 0)
    assert real["frechet"] < score("conv16", "prior", 0)["frechet"]
    assert real["coverage"] > 0.5
    spoiled = [measurements.corruption_score("trained", "blur", s)["frechet"] for s in (0.0, 3.0)]
    assert spoiled[0] < spoiled[1]


def test_bounds_tighten_with_k(models):
    row = measurements.likelihood(0)
    assert row["K1"] <= row["K10"] <= row["K100"]  # the last two are one number in smoke


def test_densities_are_fitted_to_images_the_run_was_trained_on(models, monkeypatch):
    seen = []

    def aggregate(model, images):
        seen.append(images)
        return torch.randn(len(images), 16)

    monkeypatch.setattr(measurements.latent, "aggregate", aggregate)
    measurements.make_sampler("autoencoder16", "gaussian")
    assert len(seen[0]) == 900
    assert seen[0].name.startswith("garments (1000, seed 0)")  # the training images


def test_embeddings_are_stored_with_the_codes_they_belong_to(models, monkeypatch):
    def quick(codes):
        return {name: codes[:, i : i + 2] for i, name in enumerate(latent.EMBEDDINGS)}

    monkeypatch.setattr(latent, "embeddings", quick)  # the real ones take half a minute
    codes, maps = measurements.embedded()
    assert set(maps) == {"t-SNE", "UMAP"}
    for name, points in quick(codes).items():
        assert torch.allclose(maps[name], points, atol=2e-3)
    monkeypatch.setattr(latent, "embeddings", None)  # not called again
    _, again = measurements.embedded()
    assert all(torch.equal(maps[name], again[name]) for name in maps)


def test_a_model_is_scored_in_nats_whatever_it_was_trained_on(models):
    row = measurements.model_scores("deep-conv-mse")
    assert row["elbo"] == pytest.approx(row["reconstruction"] + row["kl"], abs=1e-3)
    assert row["elbo"] > 100  # nats; its own objective is a mean over pixels
    assert row["objective"] < 1
    assert 0 < row["error"] < 50
    assert row["active"] <= 2


def test_samples_of_a_class_are_counted_whole(models):
    row = measurements.class_samples(4, 0)
    assert sum(row[f"called {i}"] for i in range(10)) == pytest.approx(1)
    assert row["accuracy"] == row["called 4"]
    assert 0 <= row["real"] <= 1
    assert row["floor"] < row["frechet"]


def test_a_timed_training_is_counted_for_all_its_steps(models, monkeypatch):
    clock = iter(range(1_000))
    monkeypatch.setattr(measurements.time, "perf_counter", lambda: float(next(clock)))
    row = measurements.training_time("dense2")
    a_step = row["seconds"] / 8  # 1,000 images of one epoch in batches of 128
    assert a_step == round(a_step) >= 1


def test_tables_of_trainings_are_found_by_name_too():
    assert measurements.find_table("betas").command == "python -m vae_helpers sweep"
    assert measurements.find_table("samples").command == "python -m vae_helpers measure"
