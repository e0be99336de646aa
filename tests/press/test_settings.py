"""What is told from outside is read once, from a mapping that is given, and resolved."""

from pathlib import Path

import pytest

from press.__main__ import main
from press.errors import BookError
from press.settings import ROOT, read, resolved

CONFIG = """
author: Ada Lovelace
repository:
  url: https://github.com/ada/engine
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_a_plain_run_is_the_full_book_and_changes_nothing():
    now = read({})
    assert now.profile == "full"
    assert (now.smoke, now.retrain, now.record) == (False, False, False)
    assert (now.device, now.repository) == (None, None)
    assert now.places == (ROOT / "data", ROOT.parent / "shared" / "data")


@pytest.mark.parametrize("profile", ["Full", "quick", " smoke"])
def test_unknown_profile_is_refused_naming_it_and_the_choices(profile):
    with pytest.raises(BookError, match=f"VAE_PROFILE is '{profile}'.*full, smoke"):
        read({"VAE_PROFILE": profile})


def test_author_may_have_any_letters(root):
    (root / "_config.yml").write_text(CONFIG.replace("Ada", "Žofie Ødegård"), encoding="utf-8")
    assert read({}, root).author == "Žofie Ødegård Lovelace"


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("VAE_PROFILE", "smoke", "smoke", True),
        ("VAE_AUTHOR", "Grace Hopper", "author", "Grace Hopper"),
        ("VAE_AUTHOR", "", "author", "Ada Lovelace"),
        ("VAE_DATA_DIR", "/some/data", "places", (Path("/some/data"),)),
        ("VAE_DEVICE", "cuda", "device", "cuda"),
        ("VAE_DEVICE", "", "device", None),
        ("VAE_RETRAIN", "1", "retrain", True),
        ("VAE_RETRAIN", "0", "retrain", False),
        ("VAE_PROFILE", "", "profile", "full"),
        ("VAE_RECORD", "1", "record", True),
        ("VAE_RECORD", "", "record", False),
        ("GITHUB_REPOSITORY", "ada/engine", "repository", "ada/engine"),
    ],
)
def test_environment_precedes_the_config_unless_empty(root, variable, value, field, expected):
    assert getattr(read({variable: value}, root), field) == expected


@pytest.mark.parametrize("given", ["~/data", "data", "./data/../data"])
def test_the_data_folder_is_resolved_once_whatever_the_working_folder_is_later(
    monkeypatch, tmp_path, given
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (place,) = read({"VAE_DATA_DIR": given}).places
    assert place.is_absolute()
    assert place.resolve() == tmp_path.resolve() / "data"


def test_what_a_child_process_is_given_reads_as_the_same_settings(root):
    mine = read(
        {"VAE_PROFILE": "smoke", "VAE_DATA_DIR": "/some/data", "VAE_RETRAIN": "1"},
        root,
        record=True,
    )
    assert read(mine.environment(), root) == mine
    plain = read({}, root)
    assert read(plain.environment(), root) == plain


def test_a_change_of_a_field_precedes_everything(root):
    assert read({"VAE_RETRAIN": "0"}, root, retrain=True).retrain
    with pytest.raises(BookError, match="VAE_PROFILE is 'quick'"):
        read({}, root, profile="quick")


@pytest.mark.parametrize(
    ("profile", "retrain", "assets", "work"),
    [
        ("full", "0", "assets", "_build/work"),
        ("full", "1", "_build/retrained", "_build/work"),
        ("smoke", "0", "_build/smoke/assets", "_build/smoke"),
        ("smoke", "1", "_build/smoke/assets", "_build/smoke"),
    ],
)
def test_only_the_books_own_run_reads_the_books_assets(profile, retrain, assets, work):
    now = read({"VAE_PROFILE": profile, "VAE_RETRAIN": retrain})
    assert now.assets == ROOT / assets
    assert now.work == ROOT / work


@pytest.mark.fault(
    "a variable of the environment says what the book does not know: a device, a switch, a name",
    "one line names it, its value and the choices; nothing is begun",
)
@pytest.mark.parametrize(
    ("variable", "value", "choices"),
    [
        ("VAE_PROFILE", "quick", "full, smoke"),
        ("VAE_DEVICE", "gpu", "cpu, cuda"),
        ("VAE_DEVICE", "cuda:9", "unset it"),  # none has so many
        ("VAE_RETRAIN", "true", "give 0, 1, or unset it"),
        ("VAE_RECORD", "maybe", "give 0, 1, or unset it"),
        ("GITHUB_REPOSITORY", "nonsense", "owner/name"),
        ("VAE_DATA_DIR", "$DATA/here", "write the folder out"),
        ("VAE_DATA_DIR", "~nobody-of-that-name/data", "write the folder out"),
    ],
)
@pytest.mark.parametrize("command", [["data"], ["train", "dense2"], ["measure", "models"]])
def test_a_variable_that_says_nothing_is_refused(
    monkeypatch, capsys, command, variable, value, choices
):
    monkeypatch.setenv(variable, value)
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"{variable} is '{value}'")
    assert choices in said.err


@pytest.mark.fault(
    "a path is given with ~, with .., relative to a folder that is left, or with a $ of no shell",
    "it is resolved once, for the command and all that it starts; or refused",
)
@pytest.mark.parametrize("given", ["~/a/b", "a/b/", "./x/../a/b", "~/x/../a/b/", "{}/a/b"])
def test_paths_are_resolved(monkeypatch, tmp_path, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = resolved(given.format(tmp_path), "--out")
    assert str(path) == str(tmp_path.resolve() / "a" / "b")
    settings = read({"VAE_DATA_DIR": given.format(tmp_path)})
    monkeypatch.chdir("/")
    assert read(settings.environment()).places == (path,)


def test_a_folder_may_be_named_like_a_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "$HOME").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolved("$HOME", "--out") == tmp_path.resolve() / "$HOME"
    with pytest.raises(BookError, match=r"--out is '\$HOME/rows.csv'"):
        resolved("$HOME/rows.csv", "--out")
    assert main(["sweep", "latent=2", "--out", "$HOME/rows.csv"]) == 1


def test_the_command_line_s_profile_precedes_the_variable(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "press.site.render.make_site", lambda settings: asked.append(settings) or ROOT
    )
    monkeypatch.setenv("VAE_PROFILE", "smoke")
    for options in ([], ["--profile", "full"]):
        assert main(["book", *options]) == 0
    assert [one.profile for one in asked] == ["smoke", "full"]
