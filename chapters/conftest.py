"""Chapters under pytest: compared strictly where the data is, run on drawn garments else."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

CHAPTERS = Path(__file__).resolve().parent
ENVIRONMENT = pytest.StashKey[dict[str, str]]()  # of kernels


def pytest_configure(config):
    option = config.option
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return
    from press.images import missing as absent
    from press.settings import read

    missing = absent(read())
    option.current_kernel = True  # this Python, whatever kernels there are
    settings = read(profile="smoke" if missing else "full")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    config.stash[ENVIRONMENT] = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        **replace(settings, record=False, retrain=False, repository=None).environment(),
        "PYTHONPATH": str(CHAPTERS.parent),
    }
    if missing:
        # Lax without a marked cell: every cell has to run, none is compared.
        option.nbval, option.nbval_lax = False, True
        reporter = DrawnGarments(missing)
    elif option.nbval_lax or option.nbval_sanitize_with:
        raise pytest.UsageError(
            "The data is here, so chapters are compared strictly; --nbval-lax and "
            "--nbval-sanitize-with loosen the comparison. Use --nbval alone."
        )
    else:
        reporter = StrictComparison(config)
    if not hasattr(config, "workerinput"):  # of several processes, one reports
        config.pluginmanager.register(reporter)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Give a notebook's kernel, which its first cell's setup starts, the book's environment."""
    environment = item.config.stash.get(ENVIRONMENT, None)
    if environment is None or item.path.suffix != ".ipynb":
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return (yield)


class DrawnGarments:
    """Says at the end that no number was compared, and why."""

    def __init__(self, missing):
        self.missing = missing

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("chapters ran on drawn garments", yellow=True)
        terminalreporter.write_line(
            f"{self.missing}. So the chapters ran in the smoke profile, on drawn garments, and "
            "their stored outputs were not compared. Run `python -m press data` to download "
            "them, or name their folder in VAE_DATA_DIR."
        )


class StrictComparison:
    """Fails a session that was asked for the chapters and ends with a cell not compared."""

    def __init__(self, config):
        self.asked = [] if config.option.collectonly else list(_asked(config))
        self.compared = set()
        self.missing = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.outcome != "skipped":
            self.compared.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return
        self.missing = [cell for cell in self.asked if cell not in self.compared]
        if self.missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.missing:
            terminalreporter.section("notebook comparison skipped or loosened", red=True)
            terminalreporter.write_line(
                f"The data is here, but {len(self.missing)} notebook cells were not compared "
                f"with their stored outputs: {', '.join(self.missing[:5])}"
                f"{', …' if len(self.missing) > 5 else ''}. Run without filters, and store outputs "
                "with `make chapters`; leave --nbval away to run unit tests alone.",
                red=True,
            )


def _asked(config):
    """The node ids of all chapter cells under the paths that pytest was given."""
    paths = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    if any(path in (CHAPTERS, *CHAPTERS.parents) for path in paths):
        notebooks = sorted(CHAPTERS.glob("*.ipynb")) or [CHAPTERS / "no_chapter.ipynb"]
    else:
        notebooks = [path for path in paths if path.parent == CHAPTERS]
    for path in notebooks:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        # nbval compares nothing in a cell that was never executed.
        yield from (
            f"chapters/{path.name}::Cell {number}" + ("" if cell["execution_count"] else " (empty)")
            for number, cell in enumerate(code)
        )
        if not code:
            yield f"chapters/{path.name} (no cells)"
