"""From chapter sources to a static site: convert, execute, stage, render.

A chapter is written as ``chapters/NN_name.md`` (MyST Markdown, so that a change reads as text);
``chapters/NN_name.ipynb`` is its executed twin, with the outputs that tests compare. Everything
made on the way lies under ``_build``, and is made again only when something it depends on changed.
"""

import asyncio
import base64
import hashlib
import html
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import yaml

from vae_helpers import markup, one_page, pages
from vae_helpers.files import alone, with_scalar, write_atomically
from vae_helpers.pages import BookError
from vae_helpers.settings import ROOT, settings

CELL_TIMEOUT = 7200  # seconds; a cell may train a model, but a hang must end
PICTURES = {".gif", ".png", ".jpg", ".svg"}
COLLECTS = "results.collected()"  # in the source of a chapter that shows what others stored
TEXTS = {".md", ".ipynb", ".yml", ".bib"}  # where the repository's name is substituted
# No versions here: the same source must give the same notebook on every machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}


# --- the two commands ---------------------------------------------------------------------------


def book(profile: str = "full", root: Path = ROOT) -> Path:
    """Execute what changed, render the site and return its front page.

    Where no dataset can be had, the full profile renders the outputs stored in ``chapters/``.
    Raises BookError when a chapter raises or the site's build warns.
    """
    sources = chapters(root)
    executed = root / "_build" / "executed" / profile
    digests = _digests(root, sources, profile)
    stale = [source for source in sources if not _fresh(executed, source, digests)]
    if stale and profile == "full" and (missing := _missing_data()):
        print(f"{missing}\nThe site is rendered from the outputs stored in chapters/.")
        if lacking := [one.stem for one in sources if not one.with_suffix(".ipynb").is_file()]:
            raise BookError(f"None are stored for {', '.join(lacking)}: make book PROFILE=smoke")
        if changed := outdated(root):
            print(f"Older than their sources: {', '.join(changed)}.")
        executed = root / "chapters"
    elif stale:
        execute(stale, executed, {"VAE_PROFILE": profile}, _jobs(stale), digests)
    return render(root, profile, stage(root, profile, executed))


def refresh(names: Sequence[str] = (), root: Path = ROOT) -> None:
    """Execute all chapters (or the named ones) anew, recording their numbers, into ``chapters/``.

    The chapter that collects the numbers of the others follows whenever they change.
    Raises BookError for an unknown name, a missing dataset, or a chapter that raises; then
    nothing in ``chapters/`` changes.
    """
    sources = chapters(root)
    if unknown := set(names) - {source.stem for source in sources}:
        raise BookError(f"no chapter {sorted(unknown)}; there are {[s.stem for s in sources]}")
    if missing := _missing_data():
        raise BookError(f"{missing}\nOutputs are only ever stored from the full profile.")
    collecting = [one for one in sources if COLLECTS in one.read_text(encoding="utf-8")]
    others = [one for one in sources if one not in collecting and (not names or one.stem in names)]
    executed = root / "_build" / "executed" / "full"
    for some in filter(None, (others, collecting)):
        execute(some, executed, {"VAE_PROFILE": "full", "VAE_RECORD": "1"}, _jobs(some))
    sources = [*others, *collecting]
    # Taken after the recording, which changed what chapters depend on.
    digests = _digests(root, sources, "full")
    for source in sources:
        _write(source.with_suffix(".ipynb"), (executed / f"{source.stem}.ipynb").read_bytes())
        _write(executed / f"{source.stem}.digest", digests[source.stem].encode())
        _save_pictures(executed / f"{source.stem}.ipynb", root / "assets" / "pictures")


def _save_pictures(chapter: Path, folder: Path) -> None:
    """Save the figures tagged ``picture`` as ``folder/<name>.png``, for README and front page."""
    import nbformat

    for cell in nbformat.read(chapter, 4).cells:
        if "picture" in cell.metadata.get("tags", []):
            name = cell.metadata["mystnb"]["figure"]["name"]
            image = next(out.data["image/png"] for out in cell.outputs if "data" in out)
            _write(folder / f"{name}.png", base64.b64decode(image))


def _missing_data() -> str | None:
    """None when the data is here (found or downloaded just now), else why it is not."""
    from vae_helpers.data import CLASSES, DataError, obtain  # imports torch: seconds

    try:
        for name in CLASSES:
            obtain(name)
    except DataError as error:
        return str(error)


# --- chapters as notebooks ----------------------------------------------------------------------


def chapters(root: Path = ROOT) -> list[Path]:
    """The chapters' sources in reading order.

    Raises BookError when the folder and ``_toc.yml`` do not name the same chapters.
    """
    found = sorted((root / "chapters").glob("[0-9]*.md"))
    listed = {page for page in _pages(root) if page.startswith("chapters/")}
    if unmatched := listed ^ {f"chapters/{source.stem}" for source in found}:
        raise BookError(f"in chapters/ or in _toc.yml, but not in both: {sorted(unmatched)}")
    if not found:
        raise BookError(f"{root / '_toc.yml'}: lists no chapter (chapters/NN_name)")
    return found


def _pages(root: Path) -> list[str]:
    """Every page that the table of contents names, in order."""

    def walk(entry) -> Iterator[str]:
        if isinstance(entry, dict):
            yield from (entry[key] for key in ("root", "file") if key in entry)
            entry = list(entry.values())
        if isinstance(entry, list):
            for one in entry:
                yield from walk(one)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))))


def notebook(source: Path):
    """The notebook of one Markdown source, without outputs; the same bytes give the same cells."""
    import jupytext

    made = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md:myst")
    made.metadata = METADATA
    made.nbformat, made.nbformat_minor = 4, 5
    identify(made.cells)
    return made


def identify(cells: Sequence) -> None:
    """Give each cell its id: a hash of its source, so editing one cell leaves the others' alone."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha1(cell.source.encode(), usedforsecurity=False).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def outdated(root: Path = ROOT) -> list[str]:
    """The chapters whose stored notebook has other cells than its source, or does not exist."""
    import nbformat

    def cells(made):
        return [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in made.cells]

    def differs(source: Path) -> bool:
        stored = source.with_suffix(".ipynb")
        return not stored.is_file() or cells(nbformat.read(stored, 4)) != cells(notebook(source))

    return [source.stem for source in chapters(root) if differs(source)]


# --- execution ----------------------------------------------------------------------------------


def execute(
    sources: Sequence[Path],
    out: Path,
    env: Mapping[str, str],
    jobs: int,
    digests: Mapping[str, str] | None = None,
) -> None:
    """Run every chapter top to bottom, ``jobs`` at a time, into ``out/NN_name.ipynb``.

    Kernels start in the chapters' folder, with ``env`` added to this process's environment. A
    notebook is written whole once its chapter has ended well, and after it ``NN_name.digest``
    where ``digests`` has its name.
    Raises BookError, after the other chapters have finished, naming chapter, cell and error.
    """
    out.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    env = {"OMP_NUM_THREADS": threads, **os.environ, "VAE_RECORD": "0", **env}
    # Outputs must not depend on where they were made: staging puts the repository's name in.
    env.pop("GITHUB_REPOSITORY", None)
    failures = asyncio.run(_execute(sources, out, env, jobs, digests or {}))
    if failures:
        raise BookError("\n\n".join(failures))


async def _execute(sources, out, env, jobs, digests) -> list[str]:
    from tqdm import tqdm

    notebooks = {source: notebook(source) for source in sources}
    total = sum(_runs(cell) for made in notebooks.values() for cell in made.cells)
    seats, running = asyncio.Semaphore(jobs), {}
    # Where no one watches (CI), a bar is a log: a line now and then.
    pace = 0.5 if sys.stderr.isatty() else 30
    with tqdm(total=total, unit="cell", mininterval=pace, dynamic_ncols=True) as bar:

        async def show_times():
            while True:
                now = time.monotonic()
                times = [f"{name} {now - start:.0f} s" for name, start in running.items()]
                bar.set_description(", ".join(times), refresh=False)
                bar.update(0) if pace > 1 else bar.refresh()
                await asyncio.sleep(pace)

        async def run(source: Path) -> str | None:
            async with seats:
                start = running[source.stem] = time.monotonic()
                failure = await _run(notebooks[source], source, env, bar)
                del running[source.stem]
            if failure is None:
                _write_notebook(out / f"{source.stem}.ipynb", notebooks[source])
                if source.stem in digests:
                    _write(out / f"{source.stem}.digest", digests[source.stem].encode())
            end = "done" if failure is None else "FAILED"
            bar.write(f"{source.stem} {end} after {time.monotonic() - start:.1f} s")
            return failure

        clock = asyncio.create_task(show_times())
        results = await asyncio.gather(*map(run, sources))
        clock.cancel()
    return [failure for failure in results if failure is not None]


async def _run(made, source: Path, env: Mapping[str, str], bar) -> str | None:
    """Execute one notebook in place; None when it ended well, else what happened, readably."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        made,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        resources={"metadata": {"path": str(source.parent)}},
        on_notebook_start=_default_signals,
        on_cell_executed=lambda **_: bar.update(),
    )
    try:
        # A cell's stderr is an output; what is dropped here is the kernel's talk about itself.
        await client.async_execute(env=dict(env), stderr=subprocess.DEVNULL)
        return None
    except CellExecutionError as error:
        what = f"{error.ename}: {error.evalue}\n{_plain(error.traceback)}"
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


def _runs(cell) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _jobs(sources: Sequence[Path]) -> int:
    return min(len(sources), os.cpu_count() or 1)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).strip()


# --- what an execution depends on ---------------------------------------------------------------


def _digests(root: Path, sources: Sequence[Path], profile: str) -> dict[str, str]:
    """Per chapter, a digest of everything its outputs depend on."""
    sha = hashlib.sha256()
    for path in sorted(_inputs(root)):
        sha.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    here = replace(settings(), profile=profile, record=False)
    sizes = [(path.as_posix(), path.stat().st_size) for path in _data_files(here.data_dir)]
    facts = here, sizes, platform.python_version(), version("torch")
    sha.update(repr(facts).encode())

    def digest(source: Path) -> str:
        one = sha.copy()
        one.update(source.read_bytes())
        return one.hexdigest()

    return {source.stem: digest(source) for source in sources}


def _inputs(root: Path) -> Iterator[Path]:
    for pattern in ("vae_helpers/**/*.py", "chapters/*.yml", "constraints.txt"):
        yield from root.glob(pattern)
    for folder in ("checkpoints", "results"):
        yield from (path for path in (root / "assets" / folder).rglob("*") if path.is_file())


def _data_files(data_dir: Path | None) -> list[Path]:
    # Names and sizes only, and the folders of data.py written once more: importing it costs
    # seconds, and whoever then reads a file checks it.
    folders = [data_dir] if data_dir else [ROOT / "data", ROOT.parent / "shared" / "data"]
    return sorted(path for folder in folders for path in folder.glob("*/raw/*.gz"))


def _fresh(executed: Path, source: Path, digests: Mapping[str, str]) -> bool:
    stored = executed / f"{source.stem}.digest"
    done = stored.is_file() and (executed / f"{source.stem}.ipynb").is_file()
    return done and stored.read_text() == digests[source.stem]


# --- the site -----------------------------------------------------------------------------------


def stage(root: Path, profile: str, executed: Path) -> Path:
    """Lay out what the site is made from under ``_build/source/<profile>``; return that folder.

    Pages are those of ``_toc.yml``; chapters come from ``executed``. Where ``$GITHUB_REPOSITORY``
    is set, it replaces the ``owner/name`` of ``_config.yml`` here, and nowhere else. A page named
    ``explorer`` gets its decoders. Only files that changed are written. Raises BookError when one
    is missing.
    """
    files = {name: root / name for name in ("_config.yml", "_toc.yml", "references.bib")}
    for page in _pages(root):
        if page.startswith("chapters/"):
            files[f"{page}.ipynb"] = executed / f"{Path(page).name}.ipynb"
        else:
            files[f"{page}.md"] = root / f"{page}.md"
    linked = [path for path in (root / "assets").rglob("*") if path.suffix in PICTURES]
    for path in [*linked, *(root / "_static").rglob("*.*"), *(root / "extra").rglob("*.*")]:
        files[path.relative_to(root).as_posix()] = path

    folder = root / "_build" / "source" / profile
    rename = _repository(root)
    staged = {}
    for name, path in files.items():
        if not path.is_file():
            raise BookError(f"{path}: no such file, but _toc.yml or the site's build names it")
        content = path.read_bytes()
        if name == "_config.yml":
            content = _escaped(content)
        staged[name] = rename(content) if path.suffix in TEXTS else content
    if "explorer.md" in files:
        staged |= _decoders(root)
    staged |= pages.finished(staged, root, profile)
    for name, content in staged.items():
        _write(folder / name, content)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in staged:
            path.unlink()
    return folder


def _decoders(root: Path) -> dict[str, bytes]:
    """The scripts that the explorer loads on demand, by their place in the staged folder."""
    from vae_helpers import export  # imports torch: seconds
    from vae_helpers.storage import CheckpointError

    try:
        scripts = export.scripts(root / "assets")
    except CheckpointError as error:
        raise BookError(str(error)) from error
    return {f"extra/explorer/{name}": content for name, content in scripts.items()}


def _escaped(config: bytes) -> bytes:
    # The theme puts the author's name into its pages as HTML, where MathJax looks for $$ and \(.
    text = config.decode()
    author = html.escape(str(yaml.safe_load(text)["author"]), quote=False)
    author = f'<span class="mathjax_ignore">{author}</span>'
    return with_scalar(text, ["author"], author).encode()


def _repository(root: Path):
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    written = config["repository"]["url"].removeprefix("https://github.com/")
    actual = os.environ.get("GITHUB_REPOSITORY") or written
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", actual):
        raise BookError(f"GITHUB_REPOSITORY is {actual!r}; give owner/name, or unset it")
    return lambda content: content.replace(written.encode(), actual.encode())


def render(root: Path, profile: str, staged: Path) -> Path:
    """Build the site from a staged folder, strictly, and return its front page.

    Does nothing when the same content was built well before, and waits while another process
    builds it. Raises BookError with Sphinx's warnings when there is one; the last good site then
    stays in place.
    """
    with alone(staged.with_name(f"{profile}.lock")):
        return _render(root, profile, staged)


def _render(root: Path, profile: str, staged: Path) -> Path:
    site = root / "_build" / ("html" if profile == "full" else f"{profile}/html")
    stamp, scratch = staged.with_name(f"{profile}.built"), root / "_build" / "site" / profile
    sha = hashlib.sha256()
    for path in sorted(path for path in staged.rglob("*") if path.is_file()):
        sha.update(path.relative_to(staged).as_posix().encode() + path.read_bytes())
    tools = ("jupyter-book", "Sphinx", "myst-nb", "sphinx-book-theme")
    sha.update(repr([version(tool) for tool in tools]).encode())
    for module in (markup, one_page):
        sha.update(Path(module.__file__).read_bytes())
    front = site / "index.html"
    if front.is_file() and stamp.is_file() and stamp.read_text() == sha.hexdigest():
        return front
    # Always from nothing: Sphinx does not repeat the warnings of pages it has read before.
    shutil.rmtree(scratch, ignore_errors=True)
    print("Rendering the site …", flush=True)
    script = "from jupyter_book.cli.main import main; main()"
    options = ["--path-output", str(scratch), "-n", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [sys.executable, "-c", script, "build", str(staged), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if built.returncode:
        raise BookError(f"the site's build failed:\n{_plain(built.stdout)}")
    made = scratch / "_build" / "html"
    for page in made.rglob("*.html"):
        _write(page, markup.mended(page.read_text(encoding="utf-8")).encode())
    _write(made / one_page.WHOLE, one_page.merged(made, _pages(staged)))
    shutil.rmtree(site, ignore_errors=True)
    site.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, site)
    _write(stamp, sha.hexdigest().encode())
    return front


# --- files --------------------------------------------------------------------------------------


def _write_notebook(path: Path, made) -> None:
    import nbformat

    _write(path, (nbformat.writes(made) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or none, and only where something changes."""
    if path.is_file() and path.read_bytes() == content:
        return
    write_atomically(path, content)
