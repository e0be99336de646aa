"""What a stored number was computed by: a digest of a function and all that it calls in here.

Read off the sources, without running them: from a function's text to the names in it, and on to
whatever in this project stands behind these names. Comments, docstrings and layout do not count,
nor in which module a thing lives.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

PROJECT = ("vae_helpers", "press")
# Registries of values: what a row needs of them stands in its digest already, and a new run or
# table must not make old rows stale.
VALUES = {"RUNS", "TABLES"}
Place = tuple[str, str]  # a module, and a name at its top level
# Python 3.13 leaves empty lists out, 3.12 added those of type parameters: one text on all of them.
dump = partial(ast.dump, show_empty=True) if sys.version_info >= (3, 13) else ast.dump


@cache
def code_digest(function: Callable) -> str:
    """Sixteen hex digits of what that function computes. Raises ValueError for one without a name.

    Of a ``functools.partial``, of its function and of those that it is given. What a value's own
    methods do (``model.encode``) counts where its class is named: built in here, or in an
    annotation.
    """
    given = (function.func, *function.args) if isinstance(function, partial) else (function,)
    seen, todo = set(), [(one.__module__, one.__qualname__) for one in given]
    for module, name in todo:
        if name not in _statements(module):
            raise ValueError(f"{module}.{name}: give a function at the top level of a module")
    while todo:
        place = todo.pop()
        if place not in seen and place[1] not in VALUES:
            seen.add(place)
            todo += _called(*place)
    texts = sorted(dump(one) for module, name in seen for one in _statements(module).get(name, ()))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _called(module: str, name: str) -> Iterator[Place]:
    """What stands behind the names in that piece of code, one step further."""
    pieces = _statements(module).get(name, [ast.Name(name)])  # imported, and only passed on
    nodes = [node for piece in pieces for node in ast.walk(piece)]
    imported = {
        one.asname or one.name: (node.module or "", one.name)
        for node in [*_tree(module).body, *nodes]
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }
    for node in nodes:
        if isinstance(node, ast.Name):
            yield imported.get(node.id, (module, node.id))
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in imported:
            yield ".".join(imported[node.value.id]), node.attr  # of a module, or of none


@cache
def _statements(module: str) -> dict[str, list[ast.stmt]]:
    """The module's top-level names, each with the statements that make it, without docstrings."""
    made: dict[str, list[ast.stmt]] = {}
    for one in _tree(module).body:
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            made.setdefault(one.name, []).append(one)
        elif isinstance(one, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name):
                    made.setdefault(node.id, []).append(one)
    return made


@cache
def _tree(module: str) -> ast.Module:
    """The module without docstrings; an empty one where it is none of this project."""
    if module not in sys.modules or not module.startswith(PROJECT):
        return ast.Module([], [])
    tree = ast.parse(Path(sys.modules[module].__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        vars(node).pop("type_params", None)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
