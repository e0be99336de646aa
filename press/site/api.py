"""Sphinx's extension for the page of the library's functions, which are read from their docstrings.

Autodoc does; here ``name: what it is`` becomes an entry of a list of parameters, and each function
gets a link to its lines in the repository.
"""

import importlib
import inspect
import re
from functools import partial
from pathlib import Path

from press.settings import ROOT

# What Sphinx would read as one, outside of code.
REFERENCE = re.compile(r"``.*?``|\||_(?!\w)")


def setup(app) -> dict[str, bool]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.linkcode")
    app.connect("autodoc-process-docstring", _process)
    app.connect("config-inited", _link_to_repository)
    return {"parallel_read_safe": True}


def _process(app, what: str, name: str, value, options, lines: list[str]) -> None:
    try:
        parameters = list(inspect.signature(value).parameters)
    except (TypeError, ValueError):  # of what cannot be called
        parameters = []
    lines[:] = readable("\n".join(lines), parameters).split("\n")


def readable(docstring: str, parameters: list[str]) -> str:
    """A docstring as Sphinx reads it: plain prose, whose ``name: what it is`` are fields."""
    one = f"(?:{'|'.join(map(re.escape, parameters))})"
    named = rf"{one}(?:, {one})*(?: ``\([^`]*``)?: "
    made = []
    for paragraph in docstring.split("\n\n"):
        text = " ".join(paragraph.split("\n"))
        if parameters and re.search(rf"(?:^|[.;] ){named}", text):
            parts = re.split(rf"(?:^|(?<=[.;] ))(?={named}|Raises )", text)
            made += [_field(part.strip(" ;"), named) for part in parts if part]
        else:
            made.append(paragraph)
    return REFERENCE.sub(lambda one: one[0] if one[0][1:] else rf"\{one[0]}", "\n\n".join(made))


def _field(sentence: str, named: str) -> str:
    if not re.match(named, sentence):
        return sentence
    names, text = sentence.split(": ", 1)
    names, *shape = re.split(r" (?=``)", names)
    return f":param {names.replace(' ', '')}: {', '.join([*shape, text])}"


def _link_to_repository(app, config) -> None:
    options = config.html_theme_options
    code = f"{options['repository_url']}/blob/{options['repository_branch']}"
    config.linkcode_resolve = partial(address, code)


def address(code: str, domain: str, named: dict[str, str]) -> str | None:
    """Where the source of that object is read: a file of the repository, and a line.

    code: address of the repository's files. named: its ``module`` and ``fullname`` there.
    """
    value = importlib.import_module(named["module"])
    for name in named["fullname"].split("."):
        value = getattr(value, name)
    value = inspect.unwrap(getattr(value, "fget", value))  # of a property, its function
    try:
        path, line = inspect.getsourcefile(value), inspect.getsourcelines(value)[1]
    except TypeError:  # a value
        return None
    return f"{code}/{Path(path).relative_to(ROOT).as_posix()}#L{line}"
