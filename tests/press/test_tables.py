"""Tables of costly numbers: resumed, stored, checked, and refused where they are stale."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from press import code
from press.book import Book
from press.errors import ResultError
from press.files import TEXT, hardware, read_rows, write_rows
from press.runs import Run
from press.stored import Table, over_seeds, tables

COUNTED = []
MEASURE = "python -m press measure squares"


def squared(book, x):
    COUNTED.append(x)
    return {"square": x * x * 1.00000012}


def interrupted(book, x):
    if x == 3:
        raise KeyboardInterrupt
    return squared(book, x)


def wrongly_squared(book, x):
    return {"square": 1.02 * x * x}


def three(book):
    return [{"x": x} for x in (1, 2, 3)]


@pytest.fixture
def book(settings, tmp_path):
    """A full book of three models, with tables in a folder of this test's own."""
    COUNTED.clear()
    kept = {f"model {x}": SimpleNamespace(digest=f"digest of model {x}") for x in range(5)}
    return Book(replace(settings, root=tmp_path), _kept=kept)


@pytest.fixture
def squares(monkeypatch):
    """A cheap table whose rows are counted."""
    monkeypatch.setattr(code, "PROJECT", (*code.PROJECT, __name__))
    return Table("squares", squared, three, runs=lambda x: (f"model {x}",))


def measured_by(table, row):
    """The same table, its rows measured by another function that passes for the same code."""
    return replace(table, row=row)


@pytest.fixture
def any_code(monkeypatch):
    """Digests that do not look at the code."""
    monkeypatch.setattr(tables, "code_digest", lambda function: "0123456789abcdef")


def without_digests(rows):
    return [{key: value for key, value in row.items() if key not in TEXT} for row in rows]


def test_a_table_is_measured_once_and_read_as_stored(squares, book, any_code):
    path = tables.measure(squares, book)
    assert tables.measure(squares, book) == path
    assert COUNTED == [1, 2, 3]
    assert without_digests(tables.rows(squares, book)) == [
        {"x": 1, "square": 1.0},
        {"x": 2, "square": 4.0},
        {"x": 3, "square": 9.0},
    ]
    assert path.read_text().splitlines()[0] == "x,square,of,code,command,hardware,python,torch"
    assert path.read_text().count("\n") == 4  # a row, a line
    rows = read_rows(path)
    assert {row["command"] for row in rows} == {MEASURE}
    assert all(row["hardware"].startswith(hardware().split(",")[0]) for row in rows)


def test_an_interrupted_table_goes_on_where_it_stopped(squares, book, any_code):
    with pytest.raises(KeyboardInterrupt):
        tables.measure(measured_by(squares, interrupted), book)
    with pytest.raises(ResultError, match=f"2 of the 3 rows .* `{MEASURE}`"):
        tables.rows(squares, book)
    tables.measure(squares, book)
    assert COUNTED == [1, 2, 3]


def test_stale_rows_stay_until_all_are_made(squares, book, any_code):
    path = tables.measure(squares, book)
    before = [row | {"of": "fedcba9876543210"} for row in read_rows(path)]
    write_rows(path, before)
    with pytest.raises(KeyboardInterrupt):
        tables.measure(measured_by(squares, interrupted), book)
    assert read_rows(path)[:3] == before
    tables.measure(squares, book)
    assert tables.rows(squares, book) == read_rows(path)


def test_only_the_rows_of_another_model_are_measured_anew(squares, book, any_code):
    tables.measure(squares, book)
    book._kept["model 2"] = SimpleNamespace(digest="another digest")
    with pytest.raises(ResultError, match="has 2 of the 3 rows that belong to these models"):
        tables.rows(squares, book)
    tables.measure(squares, book)
    assert COUNTED == [1, 2, 3, 2]
    assert [row["x"] for row in tables.rows(squares, book)] == [1, 2, 3]


def test_a_new_configuration_adds_its_row_and_an_old_one_goes(squares, book, any_code):
    tables.measure(squares, book)
    other = replace(squares, configurations=lambda book: [{"x": x} for x in (0, 2, 3)])
    tables.measure(other, book)
    assert COUNTED == [1, 2, 3, 0]
    assert [row["x"] for row in tables.rows(other, book)] == [0, 2, 3]


def test_a_row_that_stands_twice_does_not_pass_for_one_that_is_missing(squares, book, any_code):
    path = tables.measure(squares, book)
    one, two, _ = read_rows(path)
    write_rows(path, [one, one, two])
    with pytest.raises(ResultError, match="has 2 of the 3 rows"):
        tables.rows(squares, book)


def test_rows_of_other_images_are_refused(squares, book, any_code):
    tables.measure(squares, book)
    with pytest.raises(ResultError, match="0 of the 3 rows"):
        tables.rows(replace(squares, dataset="mnist"), book)


def test_rows_of_other_code_are_refused(book):
    """The row is a function of the project whose loss is then computed otherwise."""
    from press.experiments import find_table

    table, changed = find_table("models"), []
    before = tables.code_digest(table.row)
    tree = code._tree("vae_helpers.losses")
    kl = next(one for one in tree.body if getattr(one, "name", "") == "kl_per_dimension")
    assert before == code.code_digest(table.row)
    body, kl.body = kl.body, [*kl.body, *kl.body]
    try:
        code.code_digest.cache_clear()
        changed.append(code.code_digest(table.row))
    finally:
        kl.body = body
        code.code_digest.cache_clear()
    assert changed != [before]


def test_a_row_is_checked_by_measuring_it_again(squares, book, any_code):
    tables.measure(squares, book)
    assert tables.row(squares, book, x=3)["square"] == 9.0
    assert COUNTED == [1, 2, 3, 3]
    with pytest.raises(ResultError, match=r"stored square 9.0 but 9.18 here"):
        tables.row(measured_by(squares, wrongly_squared), book, x=3)


def summed(book, x, y):
    return {"sum": x + y}


def test_a_row_may_be_named_by_a_part_of_its_configuration(book, any_code):
    table = Table("sums", summed, lambda book: [{"x": x, "y": 2 * x} for x in (1, 2)])
    tables.measure(table, book)
    assert tables.row(table, book, x=2)["sum"] == 6
    with pytest.raises(KeyError, match="2 rows of 'sums' have"):
        tables.row(table, book)
    with pytest.raises(KeyError, match="0 rows of 'sums' have"):
        tables.row(table, book, x=7)


# --- rows whose code was rewritten --------------------------------------------------------------


@pytest.fixture
def rewritten(squares, book, monkeypatch):
    """The table, stored; then its code is another one."""
    monkeypatch.setattr(tables, "code_digest", lambda function: "0123456789abcdef")
    path = tables.measure(squares, book)
    monkeypatch.setattr(tables, "code_digest", lambda function: "fedcba9876543210")
    COUNTED.clear()
    return path


def test_rows_of_code_that_computes_the_same_are_accepted(squares, book, rewritten):
    with pytest.raises(ResultError, match="0 of the 3 rows"):
        tables.rows(squares, book)
    assert tables.accept(squares, book) == 3
    assert sorted(COUNTED) == [1, 2, 3]
    assert len(tables.rows(squares, book)) == 3
    assert tables.accept(squares, book) == 0


def test_rows_of_code_that_computes_otherwise_are_not(squares, book, rewritten):
    before = rewritten.read_bytes()
    with pytest.raises(ResultError, match=f"stored square .* and run `{MEASURE}`"):
        tables.accept(measured_by(squares, wrongly_squared), book)
    assert rewritten.read_bytes() == before


def test_rows_of_other_models_are_never_accepted(squares, book, rewritten):
    book._kept["model 2"] = SimpleNamespace(digest="another digest")
    assert tables.accept(squares, book) == 2
    with pytest.raises(ResultError, match="has 2 of the 3 rows"):
        tables.rows(squares, book)


# --- rows that train ----------------------------------------------------------------------------


def latents(book, latent):
    COUNTED.append(latent)
    return {"latents": latent}


def of_latent(latent):
    return Run("row", body="dense", epochs=3, dataset="garments", labelled=300, latent=latent)


@pytest.fixture
def trainings(monkeypatch, any_code):
    """A table whose rows are trainings."""
    monkeypatch.setattr(tables, "EARLY", 4)
    monkeypatch.setattr(tables, "EARLY_IMAGES", 100)
    grid = [{"latent": d} for d in (2, 3)]
    return Table("trainings", latents, lambda book: grid, trains=of_latent, dataset="garments")


def test_of_a_row_that_trains_a_check_repeats_the_first_steps_alone(trainings, book):
    tables.measure(trainings, book)
    assert COUNTED == [2, 3]
    one = tables.row(trainings, book, latent=3)
    assert COUNTED == [2, 3]
    assert one["early"] == pytest.approx(tables.early(of_latent(3), book), abs=0.01)
    assert one["early"] != tables.rows(trainings, book)[0]["early"]


def test_a_row_whose_training_leads_elsewhere_is_refused(trainings, book, monkeypatch):
    tables.measure(trainings, book)
    monkeypatch.setattr(tables, "EARLY", 2)  # as if these steps taught less
    with pytest.raises(ResultError, match=r"stored early .* and run `python -m press sweep train"):
        tables.row(trainings, book, latent=2)


def test_a_row_of_another_recipe_is_stale(trainings, book):
    tables.measure(trainings, book)
    slower = replace(trainings, trains=lambda latent: replace(of_latent(latent), lr=1e-4))
    with pytest.raises(ResultError, match="has 0 of the 2 rows"):
        tables.rows(slower, book)


def test_a_training_shorter_than_the_steps_of_a_check_is_repeated_whole(
    trainings, book, monkeypatch
):
    monkeypatch.setattr(tables, "EARLY", 1_000)
    assert 0 < tables.early(of_latent(2), book) < 1_000


# --- what is read off rows ----------------------------------------------------------------------


def test_over_seeds_is_mean_and_deviation_of_the_matching_rows():
    rows = [{"a": 1, "seed": s, "v": v} for s, v in enumerate((1.0, 2.0, 3.0))]
    rows += [{"a": 2, "seed": 0, "v": 9.0}]
    found = over_seeds(rows, "v", a=1)
    assert (found.value, found.error, found.n) == (2, 1, 3)
    assert over_seeds(rows, "v", a=2).error is None
    with pytest.raises(KeyError, match="no row has w"):
        over_seeds(rows, "w", a=1)


def test_a_table_in_a_file_of_its_own_keeps_the_rows_of_others(squares, book, any_code, tmp_path):
    mine = replace(squares, file=tmp_path / "mine.csv")
    assert tables.measure(mine, book) == tmp_path / "mine.csv"
    other = replace(mine, configurations=lambda book: [{"x": x} for x in (3, 4)])
    tables.measure(other, book)
    assert COUNTED == [1, 2, 3, 4]
    assert [row["x"] for row in read_rows(tmp_path / "mine.csv")] == [1, 2, 3, 4]


def test_rows_may_be_measured_elsewhere_and_end_in_any_order(squares, book, any_code):
    def elsewhere(configurations):
        yield from (tables.measure_row(squares, book, one) for one in reversed(configurations))

    path = tables.measure(squares, book, elsewhere)
    assert COUNTED == [3, 2, 1]
    assert [row["x"] for row in read_rows(path)] == [1, 2, 3]
    tables.rows(squares, book)


# --- tables that went through a spreadsheet ------------------------------------------------------


def cells(text):
    return [line.split(",") for line in text.splitlines()]


def joined(lines, between=",", end="\n"):
    return "".join(between.join(line) + end for line in lines)


def german(text):
    return joined([[cell.replace(".", ",") for cell in line] for line in cells(text)], ";")


READ_RIGHT = {
    "a byte order mark": lambda text: "\ufeff" + text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "quotes": lambda text: joined([[f'"{cell}"' for cell in line] for line in cells(text)]),
    "other columns first": lambda text: joined([line[::-1] for line in cells(text)]),
    "empty lines": lambda text: text + "\n" + "," * text.split("\n")[0].count(",") + "\n\n",
}
REFUSED = {
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "decimal commas": german,
    "quoted decimal commas": lambda text: text.replace("0.5,", '"0,5",'),
    "commas in results": lambda text: text.replace("6.25", '"6,25"'),
    "a digest as a number": lambda text: text.replace("0123456789abcdef", "1.23E+15"),
    "a digest without its zero": lambda text: text.replace("0123456789abcdef", "123456789abcdef"),
    "a column less": lambda text: joined([line[:3] for line in cells(text)]),
}


@pytest.fixture
def kept(monkeypatch, book, any_code, tmp_path):
    """A table in a file of the user's own, of a number and a switch, and that file's text."""
    monkeypatch.setattr(tables, "hardware", lambda: "some processor")  # without commas

    def row(book, x, on):
        COUNTED.append(x)
        return {"square": x * x}

    asked = [{"x": x, "on": on} for x in (0.5, 2.5) for on in ("left", "right")]
    table = Table("squares", row, lambda book: asked, file=tmp_path / "mine.csv")
    text = tables.measure(table, book).read_text()
    COUNTED.clear()
    return table, text


@pytest.mark.fault(
    "a table went through a spreadsheet: BOM, CRLF, quotes, other columns first, empty lines",
    "it is read as it was; no row is made again, and none stands twice",
)
@pytest.mark.parametrize("change", READ_RIGHT.values(), ids=READ_RIGHT)
def test_a_table_from_a_spreadsheet_is_read(kept, book, change):
    table, text = kept
    table.file.write_bytes(change(text).encode())
    assert change(text) != text
    tables.measure(table, book)
    assert COUNTED == []
    after = read_rows(table.file)
    table.file.write_text(text)
    assert after == read_rows(table.file)


@pytest.mark.fault(
    "a spreadsheet put semicolons or decimal commas into a table, or numbers in place of digests",
    "refused, saying how to save it; nothing is trained or written",
)
@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_table_that_a_spreadsheet_changed_is_refused(kept, book, change):
    table, text = kept
    changed = change(text)
    assert changed != text
    table.file.write_text(changed)
    with pytest.raises(ResultError, match=r"mine\.csv.*") as error:
        tables.measure(table, book)
    assert "delete" not in str(error.value)
    assert "save it as CSV" in str(error.value)
    assert COUNTED == []
    assert table.file.read_text() == changed


def test_a_table_in_another_encoding_is_refused(kept, book):
    table, text = kept
    table.file.write_bytes(text.encode("utf-16"))
    with pytest.raises(ResultError, match="is not UTF-8"):
        tables.measure(table, book)
