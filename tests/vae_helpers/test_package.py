"""The package as others meet it: what it exports, what it costs to import, and where it runs."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vae_helpers
from vae_helpers import errors

PACKAGE = Path(vae_helpers.__file__).parent
MODULES = sorted(
    ".".join(["vae_helpers", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
)


def run(code, *options):
    """What a Python of its own prints that finds this package, but no file of the book's."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", dir(vae_helpers))
def test_every_export_can_be_had(name):
    exported = getattr(vae_helpers, name)
    if name not in vars(vae_helpers):  # no module
        assert exported.__name__ == name
        assert exported.__module__.startswith("vae_helpers.")
    assert exported.__doc__


def test_other_names_are_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="module 'vae_helpers' has no attribute 'fitt'"):
        vae_helpers.fitt  # noqa: B018


def test_the_package_itself_imports_nothing_heavy():
    heavy = "'torch', 'numpy', 'matplotlib', 'pandas', 'scipy'"
    assert run(f"import sys, vae_helpers; print({{{heavy}}} & set(sys.modules))") == "set()\n"


def test_figures_are_imported_when_they_are_asked_for():
    code = "import sys, vae_helpers; vae_helpers.fit; print('matplotlib.pyplot' in sys.modules)"
    assert run(code) == "False\n"


IMPORT_ALL = f"import importlib\nfor name in {MODULES}: importlib.import_module(name)\n"


def test_modules_can_be_imported_where_warnings_are_errors():
    run(IMPORT_ALL, "-W", "error")


@pytest.mark.fault(
    "the system is Windows, which has no fcntl and no resource",
    "the library can be imported all the same; it trains, saves and loads, draws and films",
)
def test_modules_can_be_imported_without_what_posix_alone_has():
    hidden = "import sys\nfor name in ('fcntl', 'grp', 'pwd', 'resource', 'termios'):\n"
    # Imported before they are hidden: what of others would not be there on Windows, either.
    others = "import sys, subprocess, tempfile, torch, matplotlib.figure, safetensors.torch\n"
    run(f"{others}{hidden}    sys.modules[name] = None\n{IMPORT_ALL}{WORK}")


WORK = """
import tempfile
from pathlib import Path
from vae_helpers import films, latent, training
from vae_helpers.data import garments
from vae_helpers.figures import picture_grid
from vae_helpers.files import load_tensors, locked, save_tensors
from vae_helpers.models import build_vae

with tempfile.TemporaryDirectory() as folder:
    folder, data = Path(folder), garments(20)
    options = {"epochs": 1, "state": folder / "state.safetensors", "progress": False}
    history, _ = training.fit(build_vae("dense", 2), data, **options)
    model = build_vae("dense", 2)
    again, _ = training.fit(model, data, **options)  # nothing is left to do
    assert again.rows == history.rows
    with locked(folder / "run.lock"):
        save_tensors(folder / "run.safetensors", model.state_dict(), {"rows": history.rows})
    tensors, header = load_tensors(folder / "run.safetensors")
    assert header["rows"] == history.rows
    model.load_state_dict(tensors)
    picture_grid(latent.decode(model, latent.quantile_grid(2)), 2).savefig(folder / "a.png")
    films.write_gif(folder / "a.gif", films.walk_film(model, data)[:3])
    assert (folder / "a.gif").stat().st_size > 1000
"""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_knows_the_book(path):
    """No import of the press, no environment variable, no folder but what it is given."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "press"
        elif isinstance(node, ast.Import):
            assert all(one.name.split(".")[0] != "press" for one in node.names)
        elif isinstance(node, ast.Attribute):
            assert node.attr not in ("environ", "getenv")
        elif isinstance(node, ast.Name):
            assert node.id != "__file__"


def test_every_error_of_the_library_is_a_vae_error_with_a_plain_python_one_beside_it():
    kinds = {name: one for name, one in vars(errors).items() if isinstance(one, type)}
    assert set(kinds) == {
        "CheckpointError", "DataError", "TrainingError", "VaeError", "WriteError"
    }  # fmt: skip
    for name, kind in kinds.items():
        assert issubclass(kind, errors.VaeError)
        assert name == "VaeError" or len(kind.__bases__) == 2
    for name in MODULES:
        module = importlib.import_module(name)
        own = [one for one in vars(module).values() if getattr(one, "__module__", "") == name]
        raised = [one for one in own if isinstance(one, type) and issubclass(one, Exception)]
        assert all(issubclass(one, errors.VaeError) for one in raised)
