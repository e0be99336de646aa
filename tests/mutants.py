"""Mutations: small errors put into the code, one at a time, to see whether the tests find them.

``python tests/mutants.py [MODULE.py …] [--minutes 20]``, by default of the modules that differ from
the last commit. Each mutant is a process, forked where PyTorch is there already, that meets the
tests which reach its function, the quickest first, until one fails. ``mutants.json`` has what is
known of each function, which is not tried again while the function stays as it is; survivors are.
``equivalent.yml`` says which mutants compute the same, and why. ``press/test_mutants.py`` makes
a table of both for the faults page.
"""

import argparse
import ast
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.machinery import SourceFileLoader
from itertools import accumulate, groupby

import pytest
import yaml
from reached import ROOT, learned

RESULTS, SAME = ROOT / "tests" / "mutants.json", ROOT / "tests" / "equivalent.yml"
ENOUGH = 60  # seconds of tests, as long as they take unchanged, that a mutant meets
SWAPS = """Lt LtE, LtE Lt, Gt GtE, GtE Gt, Eq NotEq, NotEq Eq, In NotIn, Is IsNot, IsNot Is, And Or,
Or And, Add Sub, Sub Add, Mult Div, Div Mult, FloorDiv Mult, Mod Mult, Pow Mult, MatMult Sub"""
SWAPPED = {getattr(ast, a): getattr(ast, b) for a, b in map(str.split, SWAPS.split(","))}
# What computes nothing: messages of errors, annotations, names of things.
SILENT = (ast.Raise, ast.Import, ast.ImportFrom, ast.arg, ast.Assert)


def mutants(source: str) -> Iterator[tuple[str, str, str]]:
    """(function, change, the whole mutated source) for each single change."""
    seen = Counter()
    for number in range(len(list(_nodes(ast.parse(source))))):
        tree = ast.parse(source)
        where, node = list(_nodes(tree))[number]
        before = ast.unparse(node)
        if _changed(node):
            what = f"{before}  →  {ast.unparse(node)}"
            seen[where, what] += 1
            yield where, f"{what} #{seen[where, what]}", ast.unparse(tree)


def _nodes(parent: ast.AST, where: str = "module") -> Iterator[tuple[str, ast.AST]]:
    """Each node that computes something, with the name of the function that it stands in."""
    for field, value in ast.iter_fields(parent):
        for one in value if isinstance(value, list) else [value]:
            silent = isinstance(one, SILENT) or field in ("annotation", "returns", "decorator_list")
            docstring = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
            if isinstance(one, ast.AST) and not silent and not docstring:
                yield where, one
                named = isinstance(one, ast.FunctionDef | ast.ClassDef)
                inside = f"{where}.{one.name}".removeprefix("module.") if named else where
                yield from _nodes(one, inside)


def _changed(node: ast.AST) -> bool:
    """Change that node in place; False where there is nothing to change."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in SWAPPED:
            node.ops[0] = SWAPPED[type(op)]()
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPPED:
            node.op = SWAPPED[type(op)]()
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            node.op = ast.UAdd()  # of a truth value, this is what it was before
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Constant(value=float() as value):
            node.value = 1.1 * value or 0.1
        case ast.Call(args=[first, second, *rest]) if ast.dump(first) != ast.dump(second):
            node.args = [second, first, *rest]
        case ast.If(test=test) | ast.IfExp(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
        case _:
            return False
    return True


def tried(job: tuple[str, str, str, list[str]]) -> str | None:
    """The mutant where it survives these tests, in a process of its own; or None."""
    name, what, source, tests = job
    module, read = name[:-3].replace("/", ".").removesuffix(".__init__"), SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda loader, one: (
        compile(source, ROOT / name, "exec") if one == module else read(loader, one)
    )
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    signal.signal(signal.SIGALRM, signal.default_int_handler)  # an endless loop is found, too
    signal.alarm(10 * ENOUGH)
    return None if tests and pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]) else what


def chosen(name: str, reached: dict, seconds: dict, where: str) -> list[str]:
    """The tests that reach that function, else its module; the quickest first, not too many."""
    of_module = {one for place in reached if place.startswith(f"{name}:") for one in reached[place]}
    tests = sorted(reached.get(f"{name}:{where}", of_module), key=seconds.get)
    return tests[: max(1, bisect(list(accumulate(map(seconds.get, tests))), ENOUGH))]


def examine(name: str, tests_of: Callable[[str], list[str]], same: dict, known: dict) -> Iterator:
    """Yield (function, what becomes of its mutants) of a module, where that is not known."""
    every = sorted(mutants((ROOT / name).read_text(encoding="utf-8")))
    for where, found in groupby(every, lambda one: one[0]):
        some = {what: source for _, what, source in found if f"{where}: {what}" not in same}
        of = hashlib.sha256("".join(some).encode()).hexdigest()[:8]
        last = known.get(where, {})
        todo = last["survived"] if last.get("of") == of else some
        jobs = [(name, what, some[what], tests_of(where)) for what in todo]
        with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
            left = sorted(filter(None, pool.imap_unordered(tried, jobs)))
        yield where, {"of": of, "mutants": len(some), "survived": left}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("modules", nargs="*", help="by default, those that differ from HEAD")
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    changed = ["git", "-C", ROOT, "diff", "--name-only", "HEAD", "--", "vae_helpers", "press"]
    names = subprocess.run(changed, capture_output=True, text=True, check=True).stdout.split()
    reached, seconds = learned(sorted(ROOT.glob("tests/[vp]*/test_*.py")))
    for package in ("torch", "scipy.stats", "sklearn", "matplotlib.figure", "pandas", "hypothesis"):
        import_module(package)
    results, same = json.loads(RESULTS.read_text()), yaml.safe_load(SAME.read_text())
    until = time.monotonic() + 60 * arguments.minutes
    for name in arguments.modules or names:
        known, tests_of = results.setdefault(name, {}), partial(chosen, name, reached, seconds)
        for where, ends in examine(name, tests_of, same.get(name, {}), known):
            known[where] = ends
            RESULTS.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")
            print(f"{name}, {where}: {len(ends['survived'])} of {ends['mutants']} survived")
            if time.monotonic() > until:
                sys.exit("Time is up; call again to go on.")


if __name__ == "__main__":
    main()
