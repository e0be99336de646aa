"""Chapters under pytest: compared strictly where the data is, run on drawn garments else."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

CHAPTERS = Path(__file__).resolve().parent
COMPARED = ("shows", "png")  # of the JSON beside a figure: held against a new drawing
CLOSE = 3e-3  # of an array's spread, and
ROUNDED = 1e-5  # of its mean: as far may two machines be apart
ENVIRONMENT = pytest.StashKey[dict[str, str]]()  # of kernels


def pytest_configure(config):
    option = config.option
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return
    from joblib import cpu_count  # which scikit-learn brings, in Colab, too

    from press.settings import read

    missing = _absent(read())
    option.nbval_current_env = True  # this Python, whatever kernels there are
    settings = read(profile="smoke" if missing else "full")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    threads = str(max(1, cpu_count() // workers))
    config.stash[ENVIRONMENT] = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        **replace(settings, record=False, retrain=False, repository=None).environment(),
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
        _compare_pictures()
    if not hasattr(config, "workerinput"):  # of several processes, one reports
        config.pluginmanager.register(reporter)


def _absent(settings):
    """Which published files are in none of the places, in a sentence; None where all are here."""
    from press.images import FILES
    from vae_helpers.data import find

    absent = [name for name in FILES.values() if find(name, settings.places) is None]
    return absent and (
        f"{' and '.join(absent)} not found: looked for the four .gz files of each in its folder "
        f"raw under {' and '.join(map(str, settings.places))}"
    )


def _compare_pictures():
    """Let nbval, which skips pictures, hold what a figure shows against the stored one."""
    from nbval.plugin import IPyNbCell

    as_text = IPyNbCell.compare_outputs

    def compare_outputs(cell, test, ref, skip_compare=None):
        from press.report import MIME

        skipped = (*(skip_compare or cell.parent.skip_compare), MIME)
        if not as_text(cell, test, ref, skipped):
            return False
        some = [[one["data"] for one in outputs if "data" in one] for outputs in (ref, test)]
        for stored, shown in zip(*some, strict=True):
            picture = stored.get("image/png")
            picture = picture and base64.b64decode(picture)
            why = output_differs(stored.get(MIME, {}), shown.get(MIME, {}), picture)
            cell.comparison_traceback += [why] if why else []
        return not cell.comparison_traceback

    IPyNbCell.compare_outputs = compare_outputs


def output_differs(stored: Mapping, shown: Mapping, picture: bytes | None) -> str | None:
    """In what the JSON part of an output differs from the stored one, whose PNG is ``picture``."""
    said, says = ({key: one[key] for key in one if key not in COMPARED} for one in (stored, shown))
    if said != says or (stored.keys() ^ shown.keys()):
        return f"what stands beside the output is {says} here, but {said} in the file"
    if "png" in stored and hashlib.sha256(picture or b"").hexdigest()[:16] != stored["png"]:
        return "the picture in the file is not the one that was drawn there"
    why = difference(stored["shows"], shown["shows"]) if "shows" in stored else None
    return why and f"the figure {shown.get('figure')} differs from the stored one: {why}"


def difference(stored: dict, drawn: dict) -> str | None:
    """In what a description differs from the stored one; None where both are of one picture."""
    if stored["words"] != drawn["words"]:
        return "it has other marks, colours, labels or texts"
    if len(stored["numbers"]) != len(drawn["numbers"]):
        return f"it draws {len(drawn['numbers'])} arrays instead of {len(stored['numbers'])}"
    for pair in zip(stored["numbers"], drawn["numbers"], strict=True):
        before, now = ([float(one) for one in numbers.split()] for numbers in pair)
        mean, spread = before[:2]
        tolerance = CLOSE * spread + ROUNDED * abs(mean) + 1e-9
        if max(abs(a - b) for a, b in zip(before, now, strict=True)) > tolerance:
            return f"it draws an array of mean {now[0]:g} and spread {now[1]:g}, not {before[:2]}"
    return None


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
        if exitstatus not in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
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
