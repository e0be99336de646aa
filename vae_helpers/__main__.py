"""The command line: ``python -m vae_helpers COMMAND``; ``--help`` lists the commands."""

import argparse
import os
import sys
from pathlib import Path

from vae_helpers.files import WriteError
from vae_helpers.settings import PROFILES


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; each command imports what it needs."""
    parser = argparse.ArgumentParser(prog="python -m vae_helpers", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("book", help="execute the chapters that changed, render the site")
    one.add_argument("--profile", choices=PROFILES, default="full")
    one.set_defaults(run=book)

    one = commands.add_parser("chapters", help="refresh the outputs stored in chapters/")
    one.add_argument("names", nargs="*", metavar="NN_name", help="these chapters only")
    one.set_defaults(run=chapters)

    one = commands.add_parser("data", help="find or download Fashion-MNIST and MNIST")
    one.add_argument("--optional", action="store_true", help="succeed without it, too")
    one.set_defaults(run=data)

    one = commands.add_parser("train", help="train models of the book, resuming unfinished ones")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="NAME")
    which.add_argument("--all", action="store_true", help="all but the classifier")
    one.set_defaults(run=train)

    one = commands.add_parser("measure", help="make the tables of costly numbers, resuming")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="TABLE")
    which.add_argument("--all", action="store_true")
    one.set_defaults(run=measure)

    one = commands.add_parser("sweep", help="train what only numbers are kept of, resuming")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "what", nargs="*", default=[], metavar="TABLE|AXIS=VALUES", help="or a grid: latent=2,10"
    )
    which.add_argument("--all", action="store_true", help="every table of the book")
    one.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="of another Dask cluster")
    one.add_argument("--out", type=Path, default="sweep.csv", help="where a grid's rows go")
    one.set_defaults(run=sweep)

    one = commands.add_parser("personalise", help="change the book's author or repository")
    one.add_argument("--author", help="who signs the figures")
    one.add_argument("--repo", metavar="USER/NAME", help="where badges and links lead, on GitHub")
    one.set_defaults(run=personalise)

    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except WriteError as error:
        print(error, file=sys.stderr)
        return 1


def book(arguments) -> int:
    """Make the site and say where it is."""
    from vae_helpers.book import BookError
    from vae_helpers.book import book as make

    try:
        front = make(arguments.profile)
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The book is ready: open {Path(os.path.relpath(front))} ({front.as_uri()})")
    return 0


def chapters(arguments) -> int:
    """Refresh the stored outputs."""
    from vae_helpers.book import BookError, refresh

    try:
        refresh(arguments.names)
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def data(arguments) -> int:
    """Say in a line where each dataset is, or in one paragraph why it is not here."""
    from vae_helpers.data import CLASSES, DataError, obtain

    try:
        for name in CLASSES:
            print(f"{name}: {obtain(name)}")
    except DataError as error:
        print(error)
        return 0 if arguments.optional else 1
    return 0


def train(arguments) -> int:
    """Train models by name, and say where their checkpoints are."""
    from tqdm import tqdm

    from vae_helpers import runs, together
    from vae_helpers.data import DataError
    from vae_helpers.storage import CheckpointError
    from vae_helpers.together import ClusterError
    from vae_helpers.training import TrainingError

    every = [name for name, run in runs.RUNS.items() if run.kind != "classifier"]
    names = every if arguments.all else arguments.names
    if unknown := [name for name in names if name not in runs.RUNS]:
        print(f"no run {', '.join(unknown)}; choose from {', '.join(runs.RUNS)}", file=sys.stderr)
        return 2
    try:
        for name, path in together.train(names):
            tqdm.write(f"{name}: {path}")
    except (DataError, CheckpointError, ClusterError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def measure(arguments) -> int:
    """Make tables of the book's models by name, and say where they are."""
    from vae_helpers import measurements
    from vae_helpers.data import DataError
    from vae_helpers.files import FetchError, RowError
    from vae_helpers.storage import CheckpointError
    from vae_helpers.training import TrainingError

    known = [*measurements.TABLES, *measurements.FILES]
    names = known if arguments.all else arguments.names
    if unknown := [name for name in names if name not in known]:
        print(f"no table {', '.join(unknown)}; choose from {', '.join(known)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(f"{name}: {measurements.measure(name)}")
    except (DataError, CheckpointError, FetchError, RowError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def sweep(arguments) -> int:
    """Make tables of trainings, or that of a grid, on a cluster; say where it and they are."""
    from tqdm import tqdm

    from vae_helpers import sweeps, together
    from vae_helpers.data import DataError
    from vae_helpers.files import FetchError, RowError
    from vae_helpers.results import ResultError
    from vae_helpers.storage import CheckpointError
    from vae_helpers.training import TrainingError

    try:
        asked = list(sweeps.TABLES.values()) if arguments.all else _asked(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with together.cluster(arguments.scheduler) as client:
            print(f"dashboard: {client.dashboard_link}")
            for table in asked:
                tqdm.write(f"{table.name}: {sweeps.sweep(table, client)}")
    except (
        *(CheckpointError, DataError, FetchError, ResultError, RowError),
        *(TrainingError, together.ClusterError),
    ) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _asked(arguments) -> list:
    """The tables of those names, or the grid of those axes. Raises ValueError for neither."""
    from vae_helpers import sweeps

    axes = [one for one in arguments.what if "=" in one]
    if axes and len(axes) < len(arguments.what):
        raise ValueError("name tables of the book, or the axes of a grid, not both")
    if axes:
        return [sweeps.find(" ".join(axes), arguments.out)]
    if unknown := [name for name in arguments.what if name not in sweeps.TABLES]:
        raise ValueError(
            f"no table {', '.join(unknown)}; choose from {', '.join(sweeps.TABLES)}, or give axes "
            f"of a grid, like latent=2,10 beta=0.5,1: {', '.join(sweeps.AXES)}"
        )
    return [sweeps.TABLES[name] for name in arguments.what]


def personalise(arguments) -> int:
    """Put other names into the book, and say what is left to do."""
    from vae_helpers.book import BookError
    from vae_helpers.figures import drawable
    from vae_helpers.personalise import personalise as change

    author = arguments.author
    try:
        changed = change(author, arguments.repo)
    except BookError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"changed: {', '.join(changed) or 'nothing, these are its names already'}")
    if author and drawable(author) != author:
        print(f"The figures' font lacks some of these letters; they sign {drawable(author)}")
    if changed and author:
        print("Stored figures and films keep the old signature until `make chapters` redraws them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
