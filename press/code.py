"""What a stored number was computed by: a digest of a function and all that it calls in here.

Read off the sources, without running them: from a function's text to the names in it, and on to
whatever in this project stands behind these names. Comments, docstrings and layout do not count,
nor in which module a thing lives.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType

PROJECT = ("vae_helpers", "press")
# Registries of values: what a row needs of them stands in its digest already, and a new run or
# table must not make old rows stale.
VALUES = {"RUNS", "TABLES"}
Place = tuple[str, str]  # a module, and a name at its top level


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
            todo += _called(place)
    texts = sorted(
        ast.dump(one) for module, name in seen for one in _statements(module).get(name, ())
    )
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _called(place: Place) -> Iterator[Place]:
    """What stands behind the names in that piece of code, one step further."""
    module, name = place
    pieces = _statements(module).get(name)
    if pieces is None:  # imported there, and only passed on
        yield from filter(None, [_imports(module).get(name)])
        return
    nodes = [node for piece in pieces for node in ast.walk(piece)]
    imported = _imports(module) | _imported(nodes)
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in _statements(module):
            yield module, node.id
        elif isinstance(node, ast.Name) and node.id in imported:
            yield imported[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = imported.get(node.value.id)
            if owner and (inside := ".".join(filter(None, owner))) in sys.modules:
                yield inside, node.attr


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
def _imports(module: str) -> dict[str, Place]:
    """What the module imports from this project: its name there → where it is from."""
    return _imported(_tree(module).body)


def _imported(nodes: Iterable[ast.AST]) -> dict[str, Place]:
    return {
        one.asname or one.name: (node.module, one.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PROJECT)
        for one in node.names
    }


@cache
def _tree(module: str) -> ast.Module:
    found = sys.modules.get(module)
    if not isinstance(found, ModuleType) or not module.startswith(PROJECT):
        return ast.Module([], [])
    tree = ast.parse(Path(found.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
