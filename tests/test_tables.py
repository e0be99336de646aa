"""Tables of costly numbers: resumed, stored, checked, and refused where they are stale."""

from dataclasses import replace

import pytest

from vae_helpers import runs, tables
from vae_helpers.data import garments
from vae_helpers.files import TEXT, read_rows, write_rows
from vae_helpers.results import ResultError
from vae_helpers.runs import Run
from vae_helpers.settings import Settings
from vae_helpers.storage import hardware
from vae_helpers.tables import Table

CLOTHES = garments(10)


@pytest.fixture
def squares(smoke, monkeypatch):
    """A cheap table whose rows are counted, in the full profile's strictness."""
    counted = []

    def row(x):
        counted.append(x)
        return {"square": x * x * 1.00000012}

    monkeypatch.setattr(Settings, "smoke", False)
    monkeypatch.setattr(tables, "run_digest", lambda run: f"digest of {run}")
    monkeypatch.setattr(tables.data, "load", lambda split, name="": CLOTHES)
    return Table(
        "squares",
        "make",
        row,
        lambda: [{"x": x} for x in (1, 2, 3)],
        runs=lambda one: (f"model {one['x']}",),
    ), counted


def without_digests(rows):
    return [{key: value for key, value in row.items() if key not in TEXT} for row in rows]


def test_a_table_is_measured_once_and_read_as_stored(squares):
    table, counted = squares
    path = tables.measure(table)
    assert tables.measure(table) == path
    assert counted == [1, 2, 3]
    assert without_digests(tables.measured(table)) == [
        {"x": 1, "square": 1.0},
        {"x": 2, "square": 4.0},
        {"x": 3, "square": 9.0},
    ]
    assert path.read_text().splitlines()[0] == "x,square,of,command,hardware,python,torch"
    assert path.read_text().count("\n") == 4  # a row, a line
    rows = read_rows(path)
    assert {row["command"] for row in rows} == {"make squares"}
    assert tables.head(table) == {"command": "make squares", "hardware": rows[0]["hardware"]}


def test_an_interrupted_table_goes_on_where_it_stopped(squares, smoke):
    table, counted = squares

    def interrupted(x):
        if x == 3:
            raise KeyboardInterrupt
        return table.row(x)

    with pytest.raises(KeyboardInterrupt):
        tables.measure(replace(table, row=interrupted))
    with pytest.raises(ResultError, match="0 of the 3 rows .* `make squares`"):
        tables.measured(table)
    tables.measure(table)
    assert counted == [1, 2, 3]
    assert not list((smoke / "work").rglob("*.csv"))


def test_only_the_rows_of_another_model_are_measured_anew(squares, monkeypatch):
    table, counted = squares
    tables.measure(table)
    old = {"model 2": "another digest"}
    monkeypatch.setattr(tables, "run_digest", lambda run: old.get(run, f"digest of {run}"))
    with pytest.raises(ResultError, match="has 2 of the 3 rows that belong to these models"):
        tables.measured(table)
    tables.measure(table)
    assert counted == [1, 2, 3, 2]
    assert [row["x"] for row in tables.measured(table)] == [1, 2, 3]


def test_rows_of_a_model_that_a_sparse_clone_left_out_are_taken_as_pushed(squares, monkeypatch):
    table, _ = squares
    tables.measure(table)
    old = {"model 1": "another digest", "model 2": "another digest"}
    monkeypatch.setattr(tables, "run_digest", lambda run: old.get(run, f"digest of {run}"))
    monkeypatch.setattr(tables, "left_out", lambda path: path.stem == "model 2")
    with pytest.raises(ResultError, match="has 2 of the 3 rows"):  # not the row of model 1
        tables.measured(table)


def test_a_new_configuration_adds_its_row_and_an_old_one_goes(squares):
    table, counted = squares
    tables.measure(table)
    other = replace(table, configurations=lambda: [{"x": x} for x in (0, 2, 3)])
    tables.measure(other)
    assert counted == [1, 2, 3, 0]
    assert [row["x"] for row in tables.measured(other)] == [0, 2, 3]


def test_rows_of_other_images_are_refused(squares, monkeypatch):
    table, _ = squares
    tables.measure(table)
    monkeypatch.setattr(tables.data, "load", lambda split, name="": CLOTHES.subset(slice(4)))
    with pytest.raises(ResultError, match="0 of the 3 rows"):
        tables.measured(table)


def test_a_table_that_was_finished_but_not_yet_moved_is_moved(squares, smoke):
    table, counted = squares
    path = tables.measure(table)
    unfinished = smoke / "work" / "measurements" / path.name
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    path.rename(unfinished)
    write_rows(path, [row | {"of": "another digest"} for row in read_rows(unfinished)])
    tables.measure(table)
    assert counted == [1, 2, 3]
    assert len(tables.measured(table)) == 3
    assert not unfinished.exists()


def test_a_row_is_checked_by_measuring_it_again(squares):
    table, counted = squares
    tables.measure(table)
    assert tables.check(table, x=3)["square"] == 9.0
    assert counted == [1, 2, 3, 3]
    wrong = replace(table, row=lambda x: {"square": 1.02 * x * x})
    with pytest.raises(ResultError, match=r"stored square 9.0 but 9.18 here"):
        tables.check(wrong, x=3)


def test_a_check_names_one_row(squares):
    table, _ = squares
    tables.measure(table)
    with pytest.raises(KeyError, match="0 rows of 'squares' have"):
        tables.check(table, x=7)


@pytest.fixture
def trainings(smoke, monkeypatch):
    """A table whose rows are trainings, in the full profile's strictness but on garments."""
    drawn = {"train": garments(300), "test": garments(100, seed=1)}
    for module in (tables, runs):
        monkeypatch.setattr(module.data, "load", lambda split, name="": drawn[split])
    monkeypatch.setattr(Settings, "smoke", False)
    monkeypatch.setattr(tables, "EARLY", 4)

    def run(latent):
        return Run("row", body="dense", latent=latent, epochs=3)

    counted = []

    def row(latent):
        counted.append(latent)
        return {"latents": latent}

    return Table(
        "trainings",
        "make",
        row,
        lambda: [{"latent": d} for d in (2, 3)],
        trains=lambda configuration: run(**configuration),
    ), counted


def test_of_a_row_that_trains_a_check_repeats_the_first_steps_alone(trainings):
    table, counted = trainings
    tables.measure(table)
    assert counted == [2, 3]
    one = tables.check(table, latent=3)
    assert counted == [2, 3]
    assert one["early"] == pytest.approx(tables.early(table.trains({"latent": 3})), abs=0.01)
    assert one["early"] != tables.measured(table)[0]["early"]


def test_a_row_whose_training_leads_elsewhere_is_refused(trainings, monkeypatch):
    table, _ = trainings
    tables.measure(table)
    monkeypatch.setattr(tables, "EARLY", 2)  # as if these steps taught less
    with pytest.raises(ResultError, match="stored early .* delete that row and run `make train"):
        tables.check(table, latent=2)


def test_a_row_of_another_recipe_is_stale(trainings):
    table, _ = trainings
    tables.measure(table)
    slower = replace(table, trains=lambda one: replace(table.trains(one), lr=1e-4))
    with pytest.raises(ResultError, match="has 0 of the 2 rows"):
        tables.measured(slower)


def test_a_training_shorter_than_the_steps_of_a_check_is_repeated_whole(trainings, monkeypatch):
    table, _ = trainings
    monkeypatch.setattr(tables, "EARLY", 1_000)
    assert 0 < tables.early(table.trains({"latent": 2})) < 1_000


def test_over_seeds_is_mean_and_deviation_of_the_matching_rows():
    rows = [{"a": 1, "seed": s, "v": v} for s, v in enumerate((1.0, 2.0, 3.0))]
    rows += [{"a": 2, "seed": 0, "v": 9.0}]
    found = tables.over_seeds(rows, "v", a=1)
    assert (found.value, found.error, found.n) == (2, 1, 3)
    assert tables.over_seeds(rows, "v", a=2).error is None
    with pytest.raises(KeyError, match="no row has w"):
        tables.over_seeds(rows, "w", a=1)


def test_how_tables_were_made_is_read_from_their_files(squares, smoke, monkeypatch):
    table, _ = squares
    monkeypatch.setattr(tables, "ROOT", smoke)
    assert tables.made() == []
    tables.measure(table)
    (one,) = tables.made()
    assert (one["name"], one["rows"], one["command"]) == ("squares", 3, "make squares")
    assert one["hardware"].startswith(hardware().split(",")[0])


def test_a_table_in_a_file_of_its_own_keeps_the_rows_of_others(squares, tmp_path):
    table, counted = squares
    mine = replace(table, file=tmp_path / "mine.csv")
    assert tables.measure(mine) == tmp_path / "mine.csv"
    other = replace(mine, configurations=lambda: [{"x": x} for x in (3, 4)])
    tables.measure(other)
    assert counted == [1, 2, 3, 4]
    assert [row["x"] for row in read_rows(tmp_path / "mine.csv")] == [1, 2, 3, 4]


def test_rows_may_be_measured_elsewhere_and_end_in_any_order(squares):
    table, counted = squares

    def elsewhere(asked, configurations):
        assert asked is table
        yield from (tables.measured_row(table, one) for one in reversed(configurations))

    path = tables.measure(table, elsewhere)
    assert counted == [3, 2, 1]
    assert [row["x"] for row in read_rows(path)] == [1, 2, 3]
    tables.measured(table)
