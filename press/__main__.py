"""The command line: ``python -m press COMMAND``; ``--help`` lists the commands."""

import argparse
import os
import sys
from pathlib import Path

from press.settings import PROFILES, Settings, read
from vae_helpers.errors import VaeError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; each command imports what it needs."""
    arguments = _parser().parse_args(argv)
    try:
        changes = {"profile": arguments.profile} if "profile" in arguments else {}
        return arguments.run(arguments, read(**changes)) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except Usage as error:
        print(error, file=sys.stderr)
        return 2
    except VaeError as error:
        print(error, file=sys.stderr)
        return 1


class Usage(Exception):
    """A command that asks for what does not exist; the message says what there is."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m press", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run, help: str) -> argparse.ArgumentParser:
        one = commands.add_parser(run.__name__, help=help)
        one.set_defaults(run=run)
        return one

    def named(run, help: str, metavar: str = "NAME", every=None) -> argparse.ArgumentParser:
        one = command(run, help)
        which = one.add_mutually_exclusive_group(required=True)
        which.add_argument("names", nargs="*", default=[], metavar=metavar)
        which.add_argument("--all", action="store_true", help=every)
        return one

    one = command(book, "execute the chapters that changed, render the site")
    one.add_argument("--profile", choices=PROFILES, default="full")
    one = command(chapters, "refresh the outputs stored in chapters/")
    one.add_argument("names", nargs="*", metavar="NN_name", help="these chapters only")
    one = command(lint, "hold the chapters' code against the linter and the formatter")
    one.add_argument("--fix", action="store_true", help="mend what can be mended")
    one = command(data, "find or download Fashion-MNIST and MNIST")
    one.add_argument("--optional", action="store_true", help="succeed without it, too")
    named(train, "train models of the book, resuming", every="all but the classifier")
    named(measure, "make the tables of costly numbers, resuming", "TABLE")
    one = named(sweep, "train what only numbers are kept of, resuming", "TABLE|AXIS=VALUES")
    one.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="of another Dask cluster")
    one.add_argument("--out", type=Path, default="sweep.csv", help="where a grid's rows go")
    named(accept, "keep rows whose code was rewritten and computes the same", "TABLE")
    one = command(personalise, "change the book's author or repository")
    one.add_argument("--author", help="who signs the figures")
    one.add_argument("--repo", metavar="USER/NAME", help="where badges and links lead, on GitHub")
    return parser


def _chosen(arguments, known, what: str) -> list[str]:
    """The names that were asked for, all of them with ``--all``. Raises Usage for others."""
    if unknown := [name for name in arguments.names if name not in known]:
        raise Usage(f"no {what} {', '.join(unknown)}; choose from {', '.join(known)}")
    return list(known) if arguments.all else arguments.names


def book(arguments, settings: Settings) -> None:
    """Make the site and say where it is."""
    from press.site import make

    front = make(settings)
    print(f"The book is ready: open {Path(os.path.relpath(front))} ({front.as_uri()})")


def chapters(arguments, settings: Settings) -> None:
    """Refresh the stored outputs."""
    from press.site import refresh

    refresh(arguments.names, settings)


def lint(arguments, settings: Settings) -> int:
    """Say what ruff has against the chapters' code cells, by chapter and line."""
    from press.site import cells

    found = cells.lint(settings.root, arguments.fix)
    print("\n".join(found) or "The chapters' code is linted and formatted.")
    if found and not arguments.fix:
        print("`python -m press lint --fix` mends what can be mended.")
    return 1 if found else 0


def data(arguments, settings: Settings) -> int:
    """Say in a line where each dataset is, or in one paragraph why it is not here."""
    from press.images import FILES, obtain
    from vae_helpers.errors import DataError

    try:
        for name in FILES:
            print(f"{name}: {obtain(name, settings)}")
    except DataError as error:
        print(error)
        return 0 if arguments.optional else 1
    return 0


def train(arguments, settings: Settings) -> None:
    """Train models by name, and say where their checkpoints are."""
    from tqdm import tqdm

    from press import cluster
    from press.book import Book
    from press.runs import RUNS

    names = _chosen(arguments, RUNS, "run")
    if arguments.all:
        names = [name for name in names if RUNS[name].kind != "classifier"]
    for name, path in cluster.train(names, Book(settings)):
        tqdm.write(f"{name}: {path}")


def measure(arguments, settings: Settings) -> None:
    """Make tables of the book's models by name, and say where they are."""
    from press import experiments
    from press.book import Book

    opened = Book(settings)
    known = experiments.measured()
    for name in _chosen(arguments, known, "table"):
        print(f"{name}: {known[name](opened)}")


def sweep(arguments, settings: Settings) -> None:
    """Make tables of trainings, or that of a grid, on a cluster; say where it and they are."""
    from tqdm import tqdm

    from press import cluster, experiments
    from press.book import Book

    axes = [one for one in arguments.names if "=" in one]
    if axes and len(axes) < len(arguments.names):
        raise Usage("name tables of the book, or the axes of a grid, not both")
    opened = Book(settings)
    try:
        asked = (
            [experiments.find(" ".join(axes), file=arguments.out)]
            if axes
            else [
                experiments.find(name) for name in _chosen(arguments, experiments.swept(), "table")
            ]
        )
    except ValueError as error:
        raise Usage(error) from error
    with cluster.cluster(arguments.scheduler, settings=settings) as client:
        print(f"dashboard: {client.dashboard_link}")
        for table in asked:
            tqdm.write(f"{table.name}: {cluster.sweep(table, opened, client)}")


def accept(arguments, settings: Settings) -> None:
    """Say of how many rows of each table the code was rewritten and found to compute the same."""
    from press import experiments
    from press.book import Book
    from press.stored import tables

    known = experiments.tables()
    for name in _chosen(arguments, known, "table"):
        print(f"{name}: {tables.accept(known[name], Book(settings))} rows accepted", flush=True)


def personalise(arguments, settings: Settings) -> None:
    """Put other names into the book, and say what is left to do."""
    from press.site.personalise import personalise as change
    from vae_helpers.figures import drawable

    author = arguments.author
    changed = change(author, arguments.repo, settings.root)
    print(f"changed: {', '.join(changed) or 'nothing, these are its names already'}")
    if author and drawable(author) != author:
        print(f"The figures' font lacks some of these letters; they sign {drawable(author)}")
    if changed and author:
        print("Stored figures and films keep the old signature until `make chapters` redraws them.")


if __name__ == "__main__":
    sys.exit(main())
