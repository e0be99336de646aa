"""Chapters run top to bottom, side by side, and again only when what they depend on changed."""

import asyncio
import hashlib
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from press.errors import BookError
from press.settings import ROOT, Settings
from press.site.sources import METADATA, notebook, text_of, write

CELL_TIMEOUT = 7200  # seconds; a cell may train a model, but a hang must end
DEPENDED_ON = (
    *("vae_helpers/**/*.py", "press/**/*.py", "chapters/*.yml", "constraints.txt"),
    *("assets/checkpoints/*", "assets/gifs/*.gif", "assets/results/**/*.*"),
)


def execute(
    sources: Sequence[Path],
    out: Path,
    settings: Settings,
    digests: Mapping[str, str] | None = None,
) -> None:
    """Run every chapter top to bottom, one on each core, into ``out/NN_name.ipynb``.

    Kernels start in the chapters' folder, with these settings and this checkout's packages. A
    notebook is written whole once its chapter has ended well, and after it ``NN_name.digest``
    where ``digests`` has its name.
    Raises BookError, after the other chapters have finished, naming chapter, cell and error.
    """
    out.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    jobs = min(len(sources), cores)
    env = {
        "OMP_NUM_THREADS": str(max(1, cores // jobs)),
        **os.environ,
        # Outputs must not depend on where they were made: staging puts the repository's name in.
        **replace(settings, repository=None).environment(),
        "PYTHONPATH": str(ROOT),
    }
    notebooks = {source: notebook(source) for source in sources}
    total = sum(one.cell_type == "code" for made in notebooks.values() for one in made.cells)
    # Where no one watches (CI), a bar is a log: a line now and then.
    pace = 0.5 if sys.stderr.isatty() else 30
    with tqdm(total=total, unit="cell", mininterval=pace, dynamic_ncols=True) as bar:
        failures = asyncio.run(_run_all(notebooks, out, env, jobs, digests or {}, bar))
    if failures:
        raise BookError("\n\n".join(failures))


async def _run_all(notebooks, out, env, jobs, digests, bar) -> list[str]:
    """Execute the notebooks in place and write those that ended well; what befell the others."""
    seats = asyncio.Semaphore(jobs)

    async def run(source: Path, made) -> str | None:
        async with seats:
            start = time.monotonic()
            failure = await _run(made, source, env, bar)
        if failure is None:
            write(out / f"{source.stem}.ipynb", text_of(made))
            if source.stem in digests:
                write(out / f"{source.stem}.digest", digests[source.stem].encode())
        end = "done" if failure is None else "FAILED"
        bar.write(f"{source.stem} {end} after {time.monotonic() - start:.1f} s")
        return failure

    ends = await asyncio.gather(*(run(source, made) for source, made in notebooks.items()))
    return [failure for failure in ends if failure is not None]


async def _run(made, source: Path, env: Mapping[str, str], bar) -> str | None:
    """Execute one notebook in place; None when it ended well, else what happened, readably."""
    # Without folders to look in, python3 is this interpreter, whatever kernels a user has.
    here = KernelSpecManager(kernel_dirs=[])
    client = NotebookClient(
        made,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=here),
        timeout=CELL_TIMEOUT,
        record_timing=False,
        resources={"metadata": {"path": str(source.parent)}},
        on_notebook_start=_default_signals,
        on_cell_executed=lambda **_: bar.update(),
    )
    try:
        # A cell's stderr is an output; what is dropped here is the kernel's talk about itself.
        quiet = {"stderr": subprocess.DEVNULL, "cleanup_kc": True}
        await client.async_execute(env=dict(env), **quiet)
        return None
    except CellExecutionError as error:
        what = f"{error.ename}: {error.evalue}\n{plain(error.traceback)}"
    except DeadKernelError:
        what = "its kernel died (out of memory?)"
    except CellTimeoutError:
        what = f"no end after {CELL_TIMEOUT} s"
    finally:
        made.metadata = METADATA  # nbclient writes this machine's Python into it
    return f"{source.name}, cell {client.code_cells_executed}: {what}"


def _default_signals(**_) -> None:
    # nbclient catches Ctrl-C for each notebook on its own and then goes on waiting; with several
    # at once, let Ctrl-C end the event loop, which shuts every kernel down.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


def plain(text: str) -> str:
    """What a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).strip()


# --- what an execution depends on ---------------------------------------------------------------


def digests(sources: Sequence[Path], settings: Settings) -> dict[str, str]:
    """Chapter → a digest of everything its outputs depend on."""
    sha, root = hashlib.sha256(), settings.root
    files = [path for pattern in DEPENDED_ON for path in root.glob(pattern) if path.is_file()]
    for path in sorted(files):
        sha.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    # Of the data names and sizes only: whoever then reads a file checks it.
    data = [path for folder in settings.places for path in sorted(folder.glob("*/raw/*.gz"))]
    sizes = [(path.as_posix(), path.stat().st_size) for path in data]
    facts = replace(settings, record=False, repository=None), sizes, platform.python_version()
    sha.update(repr((*facts, version("torch"))).encode())
    made = {}
    for source in sources:
        one = sha.copy()
        one.update(source.read_bytes())
        made[source.stem] = one.hexdigest()
    return made


def fresh(executed: Path, source: Path, digests: Mapping[str, str]) -> bool:
    """Whether a chapter lies there as it would be executed now."""
    stored = executed / f"{source.stem}.digest"
    done = stored.is_file() and (executed / f"{source.stem}.ipynb").is_file()
    return done and stored.read_text() == digests[source.stem]
