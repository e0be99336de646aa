"""A requirement that is not met fails the build, whoever builds: no callout can say otherwise."""

import os
import shutil
import subprocess
import sys

import pytest

from press.images import obtain
from press.settings import ROOT

CHAPTER = "02_model"
CHECK = "min(norms.values()) > 0"  # its last line, one that this test makes unreachable
GOOD = b"the last good site"


@pytest.fixture
def failing(tmp_path, real):
    """A copy of the book with one chapter, whose check cannot pass, and a site built before."""
    for folder in ("vae_helpers", "press", "assets"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("_config.yml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("chapters", "pages"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "pages" / "references.bib", tmp_path / "pages")
    for path in (ROOT / "chapters").glob("*.yml"):
        shutil.copy(path, tmp_path / "chapters")
    source = (ROOT / "chapters" / f"{CHAPTER}.md").read_text(encoding="utf-8")
    assert source.count(CHECK) == 1
    source = source.replace(CHECK, CHECK.replace("> 0", "> 1e9"))
    (tmp_path / "chapters" / f"{CHAPTER}.md").write_text(source, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(
        f"format: jb-book\nroot: pages/index\nchapters:\n  - file: chapters/{CHAPTER}\n"
    )
    (tmp_path / "pages" / "index.md").write_text("# A book of one chapter\n")
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").write_bytes(GOOD)
    return tmp_path


def test_a_requirement_that_is_not_met_fails_the_build_and_the_last_good_site_stays(
    failing, settings
):
    folder = str(obtain("fashion-mnist", settings).parents[1])
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VAE_")}
    done = subprocess.run(
        [sys.executable, "-m", "press", "book"],
        cwd=failing,
        env=clean | {"PYTHONPATH": str(failing), "VAE_DATA_DIR": folder},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"{CHAPTER}.md, cell " in done.stderr
    assert "RequirementError: requirement 4.3 is not satisfied (" in done.stderr
    assert "The book is ready" not in done.stdout
    site = failing / "_build" / "html"
    assert [path.name for path in site.iterdir()] == ["index.html"]
    assert (site / "index.html").read_bytes() == GOOD
    assert not list((failing / "_build" / "executed").rglob("*.ipynb"))
