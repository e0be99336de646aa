"""Chapters: their sources as notebooks, executed side by side and again only when stale.

A chapter is written as ``chapters/NN_name.md`` (MyST Markdown, so that a change reads as text);
``chapters/NN_name.ipynb`` is its executed twin, with the outputs that tests compare.
"""

import asyncio
import base64
import hashlib
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import jupytext
import nbformat
from dask.system import cpu_count
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from press.errors import BookError
from press.files import versions
from press.images import FILES, obtain
from press.settings import Settings
from vae_helpers.files import write_atomically

# No versions here: the same source must give the same notebook on every machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}
DEPENDED_ON = ("vae_helpers/**/*.py", "press/**/*.py", "chapters/*.yml", "constraints.txt")
DEPENDED_ON += ("assets/checkpoints/*", "assets/gifs/*.gif", "assets/results/**/*.*")
COLLECTS = ".collected("  # in the source of a chapter that shows what others stored


def listed(root: Path) -> list[str]:
    """Every page that ``_toc.yml`` names, in order: ``pages/index``, ``chapters/01_data``, …"""
    return re.findall(r"\b(?:root|file): (\S+)", (root / "_toc.yml").read_text(encoding="utf-8"))


def sources(root: Path) -> list[Path]:
    """The chapters' sources in reading order."""
    return [root / f"{page}.md" for page in listed(root) if page.startswith("chapters/")]


def notebook(source: Path):
    """The notebook of one Markdown source, without outputs; the same bytes give the same cells."""
    made = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md:myst")
    made.metadata, made.nbformat, made.nbformat_minor = METADATA, 4, 5
    # Each cell's id is a hash of its source, so editing one leaves the others' alone.
    seen = Counter()
    for cell in made.cells:
        digest = hashlib.sha1(cell.source.encode(), usedforsecurity=False).hexdigest()[:8]
        seen[digest] += 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return made


def outputs(cells: Iterable, kind: str) -> list:
    """All outputs of that MIME type, in order."""
    some = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [data[kind] for data in some if kind in data]


def figure_name(cell) -> str | None:
    """The name of the figure that a cell shows, where it shows one."""
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("name")


def execute(sources: Sequence[Path], out: Path, settings: Settings) -> None:
    """Run every chapter top to bottom, one on each core, into ``out/NN_name.ipynb``.

    Kernels start in the chapters' folder, with these settings and this checkout's packages. A
    notebook is written whole once its chapter has ended well; ``NN_name.digest``, after it, is of
    what it depended on at the start. Raises BookError, after the other chapters have finished,
    naming chapter, cell and error.
    """
    cores = cpu_count()
    jobs = min(len(sources), cores) or 1
    env = {
        "OMP_NUM_THREADS": str(max(1, cores // jobs)),
        **os.environ,
        # Outputs must not depend on where they were made: the site puts the repository's name in.
        **replace(settings, repository=None).environment(),
    }
    seats = asyncio.Semaphore(jobs)
    # Without folders to look in, python3 is this interpreter, whatever kernels a user has.
    here = KernelSpecManager(kernel_dirs=[])

    async def run(source: Path) -> str | None:
        depended_on = digest(source, settings)
        client = NotebookClient(
            notebook(source),
            km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=here),
            timeout=7200,  # seconds; a cell may train a model, but a hang must end
            record_timing=False,
            resources={"metadata": {"path": str(source.parent)}},
            on_notebook_start=_default_signals,
        )
        async with seats:
            print(f"{source.stem} runs …", flush=True)
            try:
                # A cell's stderr is an output; this is the kernel's talk about itself.
                await client.async_execute(env=env, stderr=subprocess.DEVNULL, cleanup_kc=True)
            except Exception as error:
                return f"{source.name}, cell {client.code_cells_executed}: {plain(str(error))}"
            finally:
                print(f"{source.stem} has ended", flush=True)
        client.nb.metadata = METADATA  # nbclient wrote this machine's Python into it
        text = f"{nbformat.writes(client.nb)}\n"
        write_atomically(out / f"{source.stem}.ipynb", text.encode())
        write_atomically(out / f"{source.stem}.digest", depended_on.encode())

    async def run_all() -> list[str | None]:
        return await asyncio.gather(*map(run, sources))

    if failures := list(filter(None, asyncio.run(run_all()))):
        raise BookError("\n\n".join(failures))


def _default_signals(**_) -> None:
    # nbclient catches Ctrl-C for each notebook on its own and then goes on waiting; with several
    # at once, let Ctrl-C end the event loop, which shuts every kernel down.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


def plain(text: str) -> str:
    """What a terminal shows, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).strip()


def digest(source: Path, settings: Settings) -> str:
    """Of everything that a chapter's outputs depend on."""
    # The data needs no digest: whoever reads it compares it with checksums.
    facts = replace(settings, record=False, repository=None), versions()
    return digest_of(settings.root, [f"chapters/{source.name}", *DEPENDED_ON], facts)


def digest_of(root: Path, patterns: Iterable[str], facts) -> str:
    """A digest of files, by their names and contents, and of facts, by what Python prints."""
    sha, paths = hashlib.sha256(repr(facts).encode()), map(root.glob, patterns)
    for path in sorted(path for path in chain(*paths) if path.is_file()):
        sha.update(path.as_posix().encode() + path.read_bytes())
    return sha.hexdigest()


def fresh(source: Path, executed: Path, settings: Settings) -> bool:
    """Whether a chapter lies in that folder as it would be executed now."""
    stored = executed / f"{source.stem}.digest"
    return stored.is_file() and stored.read_text() == digest(source, settings)


def refresh(names: Sequence[str], settings: Settings) -> None:
    """Execute all chapters (or the named ones) anew, recording their numbers, into ``chapters/``.

    Always in the full profile. The chapter that collects the numbers of the others follows
    whenever they change. Raises BookError for an unknown name or a chapter that raises, DataError
    for a missing dataset; then nothing in ``chapters/`` changes.
    """
    settings = replace(settings, profile="full", retrain=False, record=True)
    known = sources(settings.root)
    if unknown := set(names) - {source.stem for source in known}:
        raise BookError(f"no chapter {sorted(unknown)}; there are {[s.stem for s in known]}")
    for name in FILES:
        obtain(name, settings)
    collecting = [one for one in known if COLLECTS in one.read_text(encoding="utf-8")]
    others = [one for one in known if one not in collecting and (not names or one.stem in names)]
    executed = settings.build / "executed" / "full"
    for some in (others, collecting):
        execute(some, executed, settings)
    for source in (*others, *collecting):
        made = executed / f"{source.stem}.ipynb"
        write_atomically(source.with_suffix(".ipynb"), made.read_bytes())
        # Once more, since what chapters depend on was recorded meanwhile.
        write_atomically(executed / f"{source.stem}.digest", digest(source, settings).encode())
        save_pictures(made, settings.root / "assets" / "pictures")


def save_pictures(chapter: Path, folder: Path) -> None:
    """Save the figures tagged ``picture`` as ``folder/<name>.png``, for README and front page."""
    for cell in nbformat.read(chapter, 4).cells:
        if "picture" in cell.metadata.get("tags", []):
            (image,) = outputs([cell], "image/png")
            write_atomically(folder / f"{figure_name(cell)}.png", base64.b64decode(image))
