"""Sweeps: each configuration is a run of its own, and its row says what was learned."""

import pytest

from vae_helpers import data, judge, measurements, runs, sweeps
from vae_helpers.settings import Settings


def test_every_configuration_is_another_training():
    for name, table in sweeps.TABLES.items():
        made = [table.trains(one) for one in table.configurations()]
        made = [run for run in made if run is not None]
        assert len(set(made)) == len(made), name
        assert all(run.epochs > 1 for run in made)
        assert all(run.annealing in runs.ANNEALING for run in made)


@pytest.mark.parametrize("name", sweeps.TABLES)
def test_every_number_that_is_compared_has_three_seeds(name):
    configurations = list(sweeps.TABLES[name].configurations())
    if name == "budgets":  # a report's budget, not a comparison of ours
        assert len(configurations) == 1
        return
    settings = {}
    for one in configurations:
        rest = tuple((key, value) for key, value in one.items() if key != "seed")
        settings.setdefault(rest, set()).add(one["seed"])
    deterministic = (("codes", "PCA"),)
    assert all(len(seeds) == 3 for rest, seeds in settings.items() if rest != deterministic)


@pytest.fixture
def quick(smoke):
    judge.reference.cache_clear()
    judge.network.cache_clear()
    yield smoke
    judge.reference.cache_clear()
    judge.network.cache_clear()


def test_a_row_tells_what_was_learned(quick):
    table = sweeps.TABLES["latent-sizes"]
    row = table.row(latent=4, seed=0)
    assert row == table.row(latent=4, seed=0)
    assert row != table.row(latent=4, seed=1)
    assert row["elbo"] == pytest.approx(row["reconstruction"] + row["kl"], abs=1e-3)
    assert row["objective"] == pytest.approx(row["elbo"], abs=1e-3)  # at β = 1
    assert 0 <= row["active"] <= 4
    assert row["frechet"] > 0
    assert table.runs({"latent": 4, "seed": 0}) == ("classifier",)


def test_digits_are_not_shown_to_the_judge_of_garments(quick):
    run = runs.find_run("mnist-dense2")
    assert "frechet" not in sweeps.learned(run)
    assert "frechet" in sweeps.learned(runs.find_run("dense2"))


def test_free_bits_keep_dimensions_that_a_large_beta_would_drop(smoke, monkeypatch):
    drawn = {"train": data.garments(600), "test": data.garments(200, seed=1)}
    for module in (runs, sweeps):
        monkeypatch.setattr(module.data, "load", lambda split, name="": drawn[split])
    monkeypatch.setattr(Settings, "smoke", False)
    run = sweeps.TABLES["annealing"].trains({"beta": 10.0, "method": "free bits", "seed": 0})
    free = sweeps.scores(sweeps.train(run)[0], run)
    run = sweeps.TABLES["annealing"].trains({"beta": 10.0, "method": "constant", "seed": 0})
    plain = sweeps.scores(sweeps.train(run)[0], run)
    assert free["kl"] > plain["kl"] + 1


def test_codes_of_garments_are_scored_with_their_baselines(quick):
    rows = measurements.measured("disentanglement")
    codes = {row["codes"] for row in rows}
    assert codes == {"β = 0.5", "β = 1", "β = 4", "random", "PCA"}
    assert all(0 <= row[what] <= 1 for row in rows for what in ("mig", "disentanglement"))
    assert all(("early" in row) == row["codes"].startswith("β") for row in rows)
