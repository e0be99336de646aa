"""What is measured of the book's models: rows that repeat and mean what they say."""

from dataclasses import replace

import pytest
import torch

from press import experiments, fid
from press.book import Book
from press.errors import ResultError
from press.experiments import codes, embeddings, model_scores, samples
from press.experiments.common import principal
from press.experiments.corruptions import corruption_score
from press.runs import RUNS
from press.settings import read
from press.stored.tables import rests_on
from vae_helpers import latent
from vae_helpers.data import garments
from vae_helpers.files import load_tensors, save_tensors


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A smoke book whose models are trained once for all tests here."""
    return Book(read({}, profile="smoke", build=tmp_path_factory.mktemp("smoke")))


# --- which tables there are ---------------------------------------------------------------------


def test_principal_directions_are_the_best_linear_code():
    from sklearn.decomposition import PCA

    images = garments(300)
    mean, directions = principal(images, 5)
    pixels = images[:][0].flatten(1)
    assert torch.allclose(directions.T @ directions, torch.eye(5), atol=1e-5)
    back = (pixels - mean) @ directions @ directions.T + mean
    known = PCA(5).fit(pixels.numpy())
    expected = known.inverse_transform(known.transform(pixels.numpy()))
    assert torch.allclose(back, torch.from_numpy(expected), atol=1e-3)
    spread = ((pixels - mean) @ directions).var(0)
    assert (spread.diff() <= 0).all()  # widest first


def test_tables_are_found_by_their_names_and_have_a_command_each():
    known = experiments.tables()
    assert all(table.name == name for name, table in known.items())
    assert experiments.find_table("betas").remedy == "python -m press sweep betas"
    assert experiments.find_table("samples").remedy == "python -m press measure samples"
    assert experiments.tables(trained=True).keys() | experiments.of_models().keys() == {
        *known,
        "embeddings",
        "codes",
    }
    assert not experiments.tables(trained=True).keys() & experiments.of_models().keys()
    with pytest.raises(KeyError, match="beauty"):
        experiments.find_table("beauty")


def test_configurations_are_all_different_and_rest_on_different_things(book):
    for table in experiments.tables().values():
        configurations = list(table.configurations(book))
        assert configurations
        assert all(set(table.needed(one)) <= RUNS.keys() for one in configurations)
        if table.name in ("likelihood", "sizes"):
            digests = [rests_on(table, book, one)["of"] for one in configurations]
            assert len(set(digests)) == len(configurations)


# --- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("models", {"run": "deep-conv-mse"}),
        ("samples", {"run": "conditional2", "sampler": "prior", "seed": 0}),
        ("samples", {"run": "autoencoder16", "sampler": "gaussian", "seed": 0}),
        ("samples", {"run": "training images", "sampler": "real", "seed": 1}),
        ("classes", {"label": 3, "seed": 1}),
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
def test_rows_repeat(book, name, configuration):
    table = experiments.find_table(name)
    assert configuration in list(table.configurations(book))
    row = table.row(book, **configuration)
    assert row == table.row(book, **configuration)
    assert all(abs(value) < 1e6 for value in row.values())


def test_real_images_are_closer_than_samples_and_spoiled_ones_further(book):
    real, made = (
        samples.sample_quality(book, *which, seed=0)
        for which in (("training images", "real"), ("conv16", "prior"))
    )
    assert real["frechet"] < made["frechet"]
    assert real["coverage"] > 0.5
    spoiled = [corruption_score(book, "trained", "blur", s)["frechet"] for s in (0.0, 3.0)]
    assert spoiled[0] < spoiled[1]


def test_bounds_tighten_with_k(book):
    row = experiments.find_table("likelihood").row(book, part=0)
    assert row["K1"] <= row["K10"] <= row["K100"]  # the last two are one number in smoke


def test_densities_are_fitted_to_images_the_model_was_trained_on(book):
    one = book.experiment("autoencoder16")
    assert len(one.images) == 900
    drawn = samples.make_sampler(one, "gaussian")(50_000, torch.Generator().manual_seed(0))
    seen, held_out = (
        latent.aggregate(one.model, images).mean(0) for images in (one.images, one.held_out)
    )
    assert (drawn.mean(0) - seen).norm() < (seen - held_out).norm() / 3
    with pytest.raises(ValueError, match="choose prior, gaussian or mixture"):
        samples.make_sampler(one, "copula")


def test_a_model_is_scored_in_nats_whatever_it_was_trained_on(book):
    row = model_scores.model_scores(book, "deep-conv-mse")
    assert row["elbo"] == pytest.approx(row["reconstruction"] + row["kl"], abs=1e-3)
    assert row["elbo"] > 100  # nats; its own objective is a mean over pixels
    assert row["objective"] < 1
    assert 0 < row["error"] < 50
    assert row["active"] <= 2


def test_samples_of_a_class_are_counted_whole(book):
    row = experiments.find_table("classes").row(book, label=4, seed=0)
    assert sum(row[f"called {i}"] for i in range(10)) == pytest.approx(1)
    assert row["accuracy"] == row["called 4"]
    assert 0 <= row["real"] <= 1
    assert row["floor"] < row["frechet"]


def test_finer_steps_take_more_bits_and_keep_more(book):
    coding = experiments.find_table("compression").row
    coarse, fine = (coding(book, coder="64 components", setting=s) for s in (2.0, 0.1))
    assert coarse["bits"] < fine["bits"]
    assert coarse["decibels"] < fine["decibels"]
    jpeg = coding(book, coder="JPEG", setting=20)
    assert jpeg["files"] > jpeg["bits"]  # headers


def test_a_timed_training_is_counted_for_all_its_steps(book, monkeypatch):
    clock = iter(range(1_000))
    monkeypatch.setattr(model_scores.time, "perf_counter", lambda: float(next(clock)))
    row = model_scores.training_time(book, "dense2")
    a_step = row["seconds"] / 8  # 1,000 images of one epoch in batches of 128
    assert a_step == round(a_step) >= 1


# --- the classifier's view ----------------------------------------------------------------------


def test_the_classifiers_view_of_test_images_is_kept_and_belongs_to_it(book):
    seen = fid.reference(book)
    assert seen.shape == (fid.count(book), book.experiment("classifier").run.latent)
    (path,) = (book.settings.work / "fid").iterdir()
    tensors, head = load_tensors(path)
    save_tensors(path, {"features": 2 * tensors["features"]}, head)
    assert (fid.reference(book) == 2 * seen).all()  # read, not computed again
    path.unlink()
    assert (fid.reference(book) == seen).all()
    assert fid.distance(book, book.images("test")[:][0]) == pytest.approx(0, abs=1e-6)


# --- files --------------------------------------------------------------------------------------


def two_columns(codes, seed=0):
    """Quick: the real maps take half a minute."""
    return {"t-SNE": codes[:, :2].half(), "UMAP": codes[:, 1:3].half()}


def test_embeddings_are_stored_with_the_codes_they_belong_to(book, monkeypatch):
    monkeypatch.setattr(embeddings, "embeddings", two_columns)
    codes, maps = embeddings.embedded(book)
    assert set(maps) == {"t-SNE", "UMAP"}
    for name, points in two_columns(codes).items():
        assert torch.equal(maps[name], points.float())
    monkeypatch.setattr(embeddings, "embeddings", None)  # not called again
    _, again = embeddings.embedded(book)
    assert all(torch.equal(maps[name], again[name]) for name in maps)


def test_embeddings_of_other_codes_are_refused(real_book, tmp_path):
    book = replace(real_book, settings=replace(real_book.settings, root=tmp_path))
    book._kept["conv16"] = real_book.experiment("conv16")
    with pytest.raises(ResultError, match="is missing; run `python -m press measure embeddings`"):
        embeddings.embedded(book)
    stored = real_book.settings.assets / "results" / "tables" / "embeddings.safetensors"
    tensors, head = load_tensors(stored)
    path = tmp_path / stored.relative_to(real_book.settings.root)
    save_tensors(path, tensors, head)
    assert len(embeddings.embedded(book)[0]) == embeddings.EMBEDDED
    save_tensors(path, tensors, head | {"of": "other codes"})
    with pytest.raises(ResultError, match="was made from other models"):
        embeddings.embedded(book)


def test_codes_are_made_once_and_for_every_model(book):
    path = codes.make(book)
    first, (tensors, head) = path.read_bytes(), load_tensors(path)
    for name in codes.TEN:
        assert tensors[f"{name}.codes"].shape == (10, 10)
        assert tensors[f"{name}.images"].shape == (10, 1, 28, 28)
        assert bool((tensors[f"{name}.kl"] >= 0).all())
        assert bool((tensors[f"{name}.deviation"] > 0).all())
    assert codes.make(book).read_bytes() == first
    save_tensors(path, tensors, head | {"of": "another"})
    assert load_tensors(codes.make(book))[1]["of"] == head["of"]


@pytest.mark.parametrize("of", ["code_digest", "data_digest"])
def test_codes_of_other_code_or_images_are_stale(real_book, monkeypatch, of):
    before = codes.codes_digest(real_book.settings)
    monkeypatch.setattr(codes, of, lambda *_: "another")
    assert codes.codes_digest(real_book.settings) != before


def test_stored_codes_belong_to_the_stored_models_and_images(real_book):
    tensors, head = load_tensors(codes.codes_path(real_book.settings))
    assert head["of"] == codes.codes_digest(real_book.settings)
    few = real_book.images("test").subset(slice(50))
    mu, _ = latent.encode(real_book.experiment(codes.MAP).model, few)
    torch.testing.assert_close(tensors["dense2.codes"][:50].float(), mu, atol=2e-3, rtol=0)
    assert torch.equal(tensors["dense2.labels"][:50].long(), few.labels)


# --- densities of codes ---------------------------------------------------------------------------


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def draw(sampler, count=40_000, seed=0):
    return sampler(count, torch.Generator().manual_seed(seed))


def test_a_single_gaussian_has_the_codes_mean_and_covariance():
    codes = normal(5_000, 3) @ normal(3, 3, seed=1) + torch.tensor([5.0, 0.0, -2.0])
    z = draw(samples.mixture(codes, components=1))
    assert torch.allclose(z.mean(0), codes.mean(0), atol=0.06)
    assert torch.allclose(z.T.cov(), codes.T.cov(), atol=0.15)


def test_a_mixture_keeps_apart_what_one_gaussian_would_join():
    sign = torch.where(torch.arange(2_000) % 4 == 0, -1.0, 1.0)[:, None]  # one to three
    codes = 10 * sign + normal(2_000, 2)
    z = draw(samples.mixture(codes, components=2))
    assert float((z.abs() < 5).any(1).double().mean()) < 1e-3  # nothing between the clusters
    assert float((z[:, 0] < 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    joined = draw(samples.mixture(codes, components=1))
    assert float((joined.abs() < 5).any(1).double().mean()) > 0.2


@pytest.mark.parametrize("components", [1, 3])
def test_the_same_seed_draws_the_same_float32_latents(components):
    sampler = samples.mixture(normal(200, 2), components)
    assert torch.equal(draw(sampler, 10), draw(sampler, 10))
    assert not torch.equal(draw(sampler, 10), draw(sampler, 10, seed=1))
    assert draw(sampler, 10).dtype == torch.float32
    assert draw(sampler, 10).shape == (10, 2)
