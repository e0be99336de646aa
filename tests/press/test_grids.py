"""Grids of one's own: a run for each combination, and clear words for those that no run has."""

import re

import pytest

from press import experiments
from press.__main__ import main
from press.experiments.grids import grid
from press.stored.tables import rests_on


def test_a_grid_has_a_run_for_each_combination(book):
    table = grid(latent=(2, 10), beta=[0.5, 1], seed=range(3), body=("dense", "conv"))
    configurations = table.configurations(book)
    assert len(configurations) == 2 * 2 * 3 * 2
    made = {table.trained(one, book) for one in configurations}
    assert len(made) == len(configurations)
    assert {run.latent for run in made} == {2, 10}
    assert {run.beta for run in made} == {0.5, 1.0}
    assert {one["schedule"] for one in configurations} == {"one-cycle"}


def test_a_worker_finds_a_grid_by_its_name(book, tmp_path):
    table = grid(tmp_path / "rows.csv", latent=(2, 3), beta=(1, 0.1), dataset=["garments"])
    again = experiments.find_table(table.name)
    assert again.configurations(book) == table.configurations(book)
    for one in table.configurations(book):
        assert rests_on(again, book, one) == rests_on(table, book, one)


def test_a_grids_row_tells_what_was_learned(book):
    table = grid(latent=(2,), dataset=["garments"])
    (one,) = table.configurations(book)
    assert table.row(book, **one)["active"] <= 2
    assert table.needed(one) == ()
    assert table.needed(one | {"dataset": "fashion-mnist"}) == ("classifier",)


def test_a_value_given_twice_is_trained_once(book):
    assert len(grid(latent=(2, "2")).configurations(book)) == 1


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("depth=3", "no axis depth; choose from body, latent"),
        ("latent=two", "invalid literal for int() with base 10: 'two'"),
        ("latent=2.7", "invalid literal for int() with base 10: '2.7'"),
        ("latent=0", "latent=0; give more than 0"),
        ("body=mlp", "no body 'mlp'; choose one of"),
        ("beta=", "could not convert string to float"),
        ("schedule=cosine", "no schedule 'cosine'; choose one of constant, one-cycle"),
        ("annealing=slow", "no annealing 'slow'; choose one of constant, linear, cyclical"),
        ("likelihood=poisson", "no likelihood 'poisson'"),
        ("dataset=cifar", "no dataset 'cifar'; choose one of fashion-mnist"),
        ("epochs=0", "epochs=0; give more than 0"),
        ("batch_size=-1", "batch_size=-1; give more than 0"),
        ("lr=nan", "lr=nan; give more than 0"),
    ],
)
def test_an_axis_or_value_that_no_run_has_is_named_before_anything_is_trained(
    capsys, axes, message
):
    with pytest.raises(ValueError, match=re.escape(message)):
        experiments.find_table(axes)
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "latent=2", axes])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"latent": (2.7,)}, "invalid literal for int.* '2.7'"),
        ({"seed": (float("inf"),)}, "invalid literal for int.* 'inf'"),
        ({}, "a grid without values"),
        ({"latent": ()}, "a grid without values"),
    ],
)
def test_a_grid_in_python_names_what_it_cannot_train(axes, message):
    with pytest.raises(ValueError, match=message):
        grid(**axes)


def test_names_and_axes_are_not_mixed(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "betas", "latent=2"])
    assert "no axis betas" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "beta"])
    assert "no table beta; choose from latent-sizes, betas" in capsys.readouterr().err
