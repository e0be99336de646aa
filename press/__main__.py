"""The command line: ``python -m press COMMAND``; ``--help`` lists the commands."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from press.settings import PROFILES, Settings, read, resolved
from vae_helpers.errors import VaeError


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; each command imports what it needs."""
    arguments = _parser().parse_args(argv)
    try:
        changes = {"profile": arguments.profile} if "profile" in arguments else {}
        settings = read(**changes)
        _ = settings.device and settings.torch_device  # refused at once where it is not here
        arguments.run(arguments, settings)
        return 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except VaeError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m press", description=__doc__)
    commands, made = parser.add_subparsers(required=True, metavar="COMMAND"), {}
    for run in (book, chapters, data, train, measure, sweep, accept, personalise):
        made[run] = commands.add_parser(run.__name__, help=run.__doc__)
        made[run].set_defaults(run=run, refuse=made[run].error)
    for run in (train, measure, sweep, accept):
        which = made[run].add_mutually_exclusive_group(required=True)
        which.add_argument("names", nargs="*", default=[], metavar="NAME")
        which.add_argument("--all", action="store_true")
    made[book].add_argument("--profile", choices=PROFILES, default=argparse.SUPPRESS)
    made[chapters].add_argument("names", nargs="*", metavar="NN_name", help="these alone")
    made[sweep].add_argument("--scheduler", metavar="tcp://HOST:PORT", help="of a Dask cluster")
    made[sweep].add_argument("--out", default="sweep.csv", help="for a grid's rows")
    made[personalise].add_argument("--author", help="who signs the figures")
    made[personalise].add_argument("--repo", metavar="USER/NAME", help="on GitHub")
    return parser


def _chosen(arguments, known, what: str) -> list[str]:
    """The names that were asked for, all of them with ``--all``; others end the command."""
    if unknown := [name for name in arguments.names if name not in known]:
        arguments.refuse(f"no {what} {', '.join(unknown)}; choose from {', '.join(known)}")
    return list(known) if arguments.all else arguments.names


def book(arguments, settings: Settings) -> None:
    """execute the chapters that changed, render the site"""
    from press.site.render import make_site

    front = make_site(settings)
    print(f"The book is ready: open {Path(os.path.relpath(front))} ({front.as_uri()})")


def chapters(arguments, settings: Settings) -> None:
    """refresh the outputs stored in chapters/"""
    from press.site.chapters import refresh

    refresh(arguments.names, settings)


def data(arguments, settings: Settings) -> None:
    """find or download Fashion-MNIST and MNIST"""
    from press.images import FILES, obtain

    for name in FILES:
        print(f"{name}: {obtain(name, settings)}")


def train(arguments, settings: Settings) -> None:
    """train models of the book, resuming; --all but the classifier"""
    from tqdm import tqdm

    from press import cluster
    from press.runs import RUNS

    names = _chosen(arguments, RUNS, "run")
    if arguments.all:
        names = [name for name in names if RUNS[name].kind != "classifier"]
    for name, path in cluster.train_all(names, settings):
        tqdm.write(f"{name}: {path}")


def measure(arguments, settings: Settings) -> None:
    """make the tables of costly numbers, resuming"""
    from press import experiments
    from press.book import Book

    opened, known = Book(replace(settings, record=True)), experiments.of_models()
    for name in _chosen(arguments, known, "table"):
        print(f"{name}: {known[name](opened)}")


def sweep(arguments, settings: Settings) -> None:
    """make tables of trainings, or of a grid (AXIS=VALUES …), on a cluster, resuming"""
    from tqdm import tqdm

    from press import cluster, experiments
    from press.book import Book

    opened, known = Book(settings), experiments.tables(trained=True)
    name = " ".join(arguments.names)
    try:
        out = resolved(arguments.out, "--out")
        grids = [experiments.find_table(name, file=out)] if "=" in name else []
    except ValueError as error:
        arguments.refuse(str(error))
    asked = grids or [known[one] for one in _chosen(arguments, known, "table")]
    with cluster.cluster(arguments.scheduler, settings=settings) as client:
        print(f"dashboard: {client.dashboard_link}")
        for table in asked:
            tqdm.write(f"{table.name}: {cluster.sweep(table, opened, client)}")


def accept(arguments, settings: Settings) -> None:
    """keep rows whose code was rewritten and computes the same"""
    from press import experiments
    from press.book import Book
    from press.stored import tables

    known = experiments.tables()
    for name in _chosen(arguments, known, "table"):
        print(f"{name}: {tables.accept(known[name], Book(settings))} rows accepted", flush=True)


def personalise(arguments, settings: Settings) -> None:
    """change the book's author or repository"""
    from press.site.personalise import personalise as change

    changed = change(arguments.author, arguments.repo, settings.root)
    print(f"changed: {', '.join(changed) or 'nothing, these are its names already'}")
    if changed and arguments.author:
        print("Stored figures and films keep the old signature until `make chapters` redraws them.")


if __name__ == "__main__":
    sys.exit(main())
