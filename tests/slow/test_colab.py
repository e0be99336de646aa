"""A chapter on its own runs top to bottom: alone in a folder as in Colab, or in a full clone.

Its environment has the packages that Colab preinstalls, as far as chapters need them, and nothing
of the book; it has no pip, either, so nothing can be installed. The repository is this working tree
as it would be pushed, on this machine.
"""

import base64
import json
import shutil
import subprocess
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from packaging.requirements import Requirement

from chapters.conftest import output_differs
from press.images import obtain
from press.report import MIME
from press.settings import ROOT
from press.site.chapters import notebook

CHAPTER = "12_conditional"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Path:
    """A bare repository with every file of the working tree that git does not ignore."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout: what a push would hold is asked of git")
    tree, bare = (tmp_path_factory.mktemp("remote") / name for name in ("tree", "book.git"))
    tree.mkdir()
    for name in git(ROOT, "ls-files", "-z", "-co", "--exclude-standard").split("\0"):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    git(tree, *who, "commit", "-q", "-m", "As it would be pushed")
    git(tree, "clone", "-q", "--bare", ".", str(bare))
    return bare


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of an environment without book and pip."""
    folder = tmp_path_factory.mktemp("environment")
    packages = folder / "packages"
    packages.mkdir()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    for name in _needed([*listed, "ipykernel"]):
        one = distribution(name)
        for top in {file.parts[0] for file in one.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(one.locate_file(top))
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "preinstalled.pth").write_text(f"{packages}\n")
    return folder / "venv" / "bin" / "python"


def _needed(requirements: list[str]) -> set[str]:
    """The names of those packages and of all that they need here in turn."""
    found, todo = set(), list(requirements)
    while todo:
        one = Requirement(todo.pop())
        if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(one.name)
            todo.extend(distribution(one.name).requires or [])
    return found


@pytest.fixture
def run(python, tmp_path, monkeypatch, real):
    """A function that runs a chapter's source as ``notebook`` in a kernel of that environment."""
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
    kernel |= {"display_name": "bare", "language": "python"}
    spec = tmp_path / "jupyter" / "kernels" / "bare" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("VAE_DATA_DIR", str(obtain("fashion-mnist", real).parents[1]))

    def execute(made: nbformat.NotebookNode, folder: Path) -> list[nbformat.NotebookNode]:
        """The notebook's code cells once it has run, and one more, which says what was imported."""
        said = "import torch, vae_helpers; print(vae_helpers.__file__, torch.__file__, sep='\\n')"
        made.cells.append(nbformat.v4.new_code_cell(said))
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(made, kernel_name="bare", timeout=600, resources=where).execute()
        return [cell for cell in made.cells if cell.cell_type == "code"]

    return execute


def agree(cells: list, chapter: str) -> bool:
    """Whether the cells show what is stored of that chapter: the same texts, and in pictures the
    same things, which another number of threads may draw a little otherwise.
    """
    shown, kept = (
        [one for cell in some for one in cell.outputs] for some in (cells, stored(chapter))
    )
    for one, before in zip(shown, kept, strict=True):
        one, before = (dict(part.get("data", part)) for part in (one, before))
        picture, _ = before.pop("image/png", ""), one.pop("image/png", "")
        parts = before.pop(MIME, {}), one.pop(MIME, {})
        if one != before or output_differs(*parts, base64.b64decode(picture)):
            return False
    return True


def stored(chapter: str) -> list:
    made = nbformat.read(ROOT / "chapters" / f"{chapter}.ipynb", 4)
    return [cell for cell in made.cells if cell.cell_type == "code"]


def test_the_environment_has_nothing_of_the_book(python, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name, code in (("vae_helpers", 1), ("press", 1), ("pip", 1), ("torch", 0)):
        done = subprocess.run([python, "-c", f"import {name}"], cwd=tmp_path, capture_output=True)
        assert done.returncode == code, name


def test_a_chapter_alone_in_a_folder_fetches_the_book(run, remote, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    made = notebook(ROOT / "chapters" / f"{CHAPTER}.md")
    (setup,) = (cell for cell in made.cells if '"clone"' in cell.source)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    setup.source = setup.source.replace(config["repository"]["url"], remote.as_uri())
    assert remote.as_uri() in setup.source

    *cells, last = run(made, alone)

    assert agree(cells, CHAPTER)
    helpers, torch = last.outputs[0].text.splitlines()
    assert Path(helpers).is_relative_to(alone / "vae-book")
    assert "environment" in torch  # the one that was there before
    assert {path.name for path in alone.iterdir()} == {"vae-book"}
    assert git(alone / "vae-book", "rev-list", "--count", "HEAD").strip() == "1"  # without history
    assert git(alone / "vae-book", "status", "--porcelain") == ""


def test_a_chapter_in_a_full_clone_takes_the_code_beside_it(run, remote, tmp_path):
    git(tmp_path, "clone", "-q", str(remote), "clone")
    chapters = tmp_path / "clone" / "chapters"
    *cells, last = run(notebook(chapters / "02_model.md"), chapters)
    assert agree(cells, "02_model")
    assert Path(last.outputs[0].text.splitlines()[0]).is_relative_to(tmp_path / "clone")
    assert git(tmp_path / "clone", "status", "--porcelain") == ""
