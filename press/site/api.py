"""Sphinx's extension for the library's page: docstrings as plain prose, links to their lines."""

import importlib
import inspect
import re
from functools import partial
from operator import attrgetter
from pathlib import Path

from press.settings import ROOT

# What Sphinx would read as one, outside of code.
REFERENCE = re.compile(r"``.*?``|\||_(?!\w)")


def setup(app) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", make_readable)
    app.connect("config-inited", _link_to_repository)
    return {"parallel_read_safe": True}


def make_readable(app, what: str, name: str, value, options, lines: list[str]) -> None:
    """Let Sphinx read a docstring, given as lines, as prose in which nothing but code is marked."""
    for number, line in enumerate(lines):
        lines[number] = REFERENCE.sub(lambda one: one[0] if one[0][1:] else rf"\{one[0]}", line)


def _link_to_repository(app, config) -> None:
    options = config.html_theme_options
    code = f"{options['repository_url']}/blob/{options['repository_branch']}"
    config.linkcode_resolve = partial(address, code)


def address(code: str, domain: str, named: dict[str, str]) -> str | None:
    """Where the source of that object is read: a file of the repository, and a line.

    code: address of the repository's files. named: its ``module`` and ``fullname`` there.
    """
    value = attrgetter(named["fullname"])(importlib.import_module(named["module"]))
    value = inspect.unwrap(getattr(value, "fget", value))  # of a property, its function
    try:
        path, line = inspect.getsourcefile(value), inspect.getsourcelines(value)[1]
    except TypeError:  # a value
        return None
    return f"{code}/{Path(path).relative_to(ROOT).as_posix()}#L{line}"
