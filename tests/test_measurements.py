"""Tables of costly numbers: resumed, stored, checked, and refused where they are stale."""

import json

import pytest
import torch

from vae_helpers import latent, measurements, runs
from vae_helpers.data import garments
from vae_helpers.measurements import Table
from vae_helpers.results import ResultError
from vae_helpers.settings import Settings

CLOTHES = garments(10)


@pytest.fixture(autouse=True)
def fresh():
    """No features or samplers of another profile's models."""
    for cached in ("make_sampler", "_sample_features", "_reference", "_classifier"):
        getattr(measurements, cached).cache_clear()
    yield
    for cached in ("make_sampler", "_sample_features", "_reference", "_classifier"):
        getattr(measurements, cached).cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("measurements")


@pytest.fixture
def models(smoke_in, folder):
    """The smoke profile in a folder whose models are trained once for all tests here."""
    return smoke_in(folder)


@pytest.fixture
def squares(smoke, monkeypatch):
    """A cheap table whose rows are counted, in the full profile's strictness."""
    counted = []

    def row(x):
        counted.append(x)
        return {"square": x * x * 1.00000012}

    table = Table(row, lambda: [{"x": x} for x in (1, 2, 3)], lambda one: (f"model {one['x']}",))
    monkeypatch.setitem(measurements.TABLES, "squares", table)
    monkeypatch.setattr(Settings, "smoke", False)
    monkeypatch.setattr(measurements, "_run_digest", lambda run: f"digest of {run}")
    monkeypatch.setattr(measurements.data, "load", lambda split: CLOTHES)
    return counted


def without_digests(rows):
    return [{key: value for key, value in row.items() if key != "of"} for row in rows]


def test_a_table_is_measured_once_and_read_as_stored(squares, smoke):
    path = measurements.measure("squares")
    assert measurements.measure("squares") == path
    assert squares == [1, 2, 3]
    assert without_digests(measurements.measured("squares")) == [
        {"x": 1, "square": 1.0},
        {"x": 2, "square": 4.0},
        {"x": 3, "square": 9.0},
    ]
    stored = json.loads(path.read_text())
    assert stored["command"] == "python -m vae_helpers measure squares"
    assert {"hardware", "versions", "rows"} <= set(stored)
    assert path.read_text().count("\n  {") == 3  # a row, a line


def test_an_interrupted_table_goes_on_where_it_stopped(squares, monkeypatch, smoke):
    table = measurements.TABLES["squares"]

    def interrupted(x):
        if x == 3:
            raise KeyboardInterrupt
        return table.row(x)

    broken = Table(interrupted, table.configurations, table.runs)
    with monkeypatch.context() as patch:
        patch.setitem(measurements.TABLES, "squares", broken)
        with pytest.raises(KeyboardInterrupt):
            measurements.measure("squares")
    with pytest.raises(ResultError, match="0 of the 3 rows .* `python -m vae_helpers measure sq"):
        measurements.measured("squares")
    measurements.measure("squares")
    assert squares == [1, 2, 3]
    assert not list((smoke / "work").rglob("*.json"))


def test_only_the_rows_of_another_model_are_measured_anew(squares, monkeypatch):
    measurements.measure("squares")
    old = {"model 2": "another digest"}
    monkeypatch.setattr(measurements, "_run_digest", lambda run: old.get(run, f"digest of {run}"))
    with pytest.raises(ResultError, match="has 2 of the 3 rows that belong to these models"):
        measurements.measured("squares")
    measurements.measure("squares")
    assert squares == [1, 2, 3, 2]
    assert [row["x"] for row in measurements.measured("squares")] == [1, 2, 3]


def test_a_new_configuration_adds_its_row_and_an_old_one_goes(squares, monkeypatch):
    measurements.measure("squares")
    table = measurements.TABLES["squares"]
    other = Table(table.row, lambda: [{"x": x} for x in (0, 2, 3)], table.runs)
    monkeypatch.setitem(measurements.TABLES, "squares", other)
    measurements.measure("squares")
    assert squares == [1, 2, 3, 0]
    assert [row["x"] for row in measurements.measured("squares")] == [0, 2, 3]


def test_rows_of_other_images_are_refused(squares, monkeypatch):
    measurements.measure("squares")
    monkeypatch.setattr(measurements.data, "load", lambda split: CLOTHES.subset(slice(4)))
    with pytest.raises(ResultError, match="0 of the 3 rows"):
        measurements.measured("squares")


def test_a_row_is_checked_by_measuring_it_again(squares, monkeypatch):
    measurements.measure("squares")
    assert measurements.check("squares", x=3)["square"] == 9.0
    assert squares == [1, 2, 3, 3]
    table = measurements.TABLES["squares"]
    wrong = Table(lambda x: {"square": 1.02 * x * x}, table.configurations, table.runs)
    monkeypatch.setitem(measurements.TABLES, "squares", wrong)
    with pytest.raises(ResultError, match=r"stored square 9.0 but 9.18 here"):
        measurements.check("squares", x=3)


def test_a_check_names_one_row(squares):
    measurements.measure("squares")
    with pytest.raises(KeyError, match="0 rows of 'squares' have"):
        measurements.check("squares", x=7)


def test_unknown_tables_and_samplers_are_named_with_those_there_are(models):
    with pytest.raises(KeyError, match="no table 'beauty'; choose one of samples"):
        measurements.measure("beauty")
    with pytest.raises(ValueError, match="choose prior, gaussian or mixture"):
        measurements.make_sampler("dense2", "copula")


def test_over_seeds_is_mean_and_deviation_of_the_matching_rows():
    rows = [{"a": 1, "seed": s, "v": v} for s, v in enumerate((1.0, 2.0, 3.0))]
    rows += [{"a": 2, "seed": 0, "v": 9.0}]
    found = measurements.over_seeds(rows, "v", a=1)
    assert (found.value, found.error, found.n) == (2, 1, 3)
    assert measurements.over_seeds(rows, "v", a=2).error is None
    with pytest.raises(KeyError, match="no row has w"):
        measurements.over_seeds(rows, "w", a=1)


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("samples", {"run": "autoencoder16", "sampler": "gaussian", "seed": 0}),
        ("samples", {"run": "training images", "sampler": "real", "seed": 1}),
        ("corruptions", {"features": "untrained", "kind": "blur", "strength": 1.0}),
        ("corruptions", {"features": "trained", "kind": "samples", "strength": 0.0}),
        ("sizes", {"made": "conv16", "size": 500, "seed": 1}),
        ("frozen", {"sigma": 0.5, "seed": 0}),
        ("likelihood", {"part": 1}),
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
