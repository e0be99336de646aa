"""What a chapter's figures are drawn from: read off its code, without running any of it.

The cells are followed name by name. Where the code says a value outright (a run's name, a list of
them), that value is kept; of anything else only its origin is, the trained runs and stored tables
that went into it.
"""

import ast
import importlib
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SOURCES = {  # what brings models or tables into a chapter, and how many of its arguments name one
    "runs.trained": ("run", 1),
    "measurements.sampled": ("run", 1),
    "measurements.measured": ("table", 1),
    "walks.walked": ("run", 1),
    "animation.filmed": ("run", None),
}
EMBEDDINGS = frozenset({("table", "embeddings")})
FILMING = {"animation.filmed", "walks.walked"}
COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}

Origin = frozenset  # of ("run", name) and ("table", name)
Env = dict[str, object]


class Drawn(NamedTuple):
    """One call that draws: ``figures.manifold``, and what its arguments come from."""

    function: str
    origin: Origin

    def names(self, kind: str) -> list[str]:
        """The names of its runs or tables, sorted."""
        return sorted(name for one, name in self.origin if one == kind)


@dataclass(frozen=True)
class _Function:
    node: ast.FunctionDef | ast.Lambda
    origin: Origin  # of the names that its body takes from around it


@dataclass
class _Followed:
    """Where following the code has got to."""

    env: Env = field(default_factory=dict)
    helpers: set[str] = field(default_factory=set)  # modules of the package that are imported
    drawn: list[Drawn] = field(default_factory=list)
    returned: list[object] = field(default_factory=list)


def drawn(cells: Iterable[str]) -> list[list[Drawn]]:
    """What each code cell of one chapter draws, in order. Raises SyntaxError for code that is none.

    cells: their sources, from the first on, since later ones use the names of earlier ones.
    """
    here, found = _Followed(), []
    for source in cells:
        here.drawn = []
        _run(ast.parse(source).body, here)
        found.append(here.drawn)
    return found


# --- statements ---------------------------------------------------------------------------------


def _run(statements: Sequence[ast.stmt], here: _Followed) -> None:
    for statement in statements:
        match statement:
            case ast.Assign(targets=targets, value=value):
                result = _value(value, here)
                for target in targets:
                    _bind(target, result, here)
            case ast.AugAssign(target=target, op=op, value=value):
                whole = ast.BinOp(_loaded(target), op, value)
                _bind(target, _value(whole, here), here)
            case ast.ImportFrom(module="vae_helpers", names=names):
                here.helpers |= {one.name for one in names}
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name))) as call):
                # A method called for its effect: its object now depends on the arguments, too.
                result = _value(call, here)
                if name in here.env:
                    here.env[name] = _origin(here.env[name]) | _origin(result)
            case ast.For(target=target, iter=iterable, body=body):
                for one in _items(_value(iterable, here)):
                    _bind(target, one, here)
                    _run(body, here)
            case ast.FunctionDef(name=name):
                here.env[name] = _Function(statement, _free(statement, here))
            case ast.Return(value=value) if value is not None:
                here.returned.append(_value(value, here))
            case ast.Expr(value=value):
                _value(value, here)
            case ast.With(body=body) | ast.If(body=body) | ast.Try(body=body):
                _run(body, here)
                _run(getattr(statement, "orelse", []), here)


def _bind(target: ast.expr, value: object, here: _Followed) -> None:
    match target:
        case ast.Name(id=name):
            here.env[name] = value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            known = isinstance(value, list | tuple) and len(value) == len(parts)
            values = value if known else [_origin(value)] * len(parts)
            for part, one in zip(parts, values, strict=True):
                _bind(part, one, here)
        case ast.Starred(value=inner):
            _bind(inner, _origin(value), here)
        case ast.Subscript(value=ast.Name(id=name), slice=key):
            old = here.env.get(name, Origin())
            if isinstance(old, dict):
                here.env[name] = old | {_key(_value(key, here)): value}
            else:
                here.env[name] = _origin(old) | _origin(value)


def _loaded(target: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(target), mode="eval").body


# --- expressions --------------------------------------------------------------------------------


def _value(node: ast.expr, here: _Followed) -> object:
    """What the code says outright, else the origin of the value."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return here.env.get(name, Origin())
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return _sequence(parts, here)
        case ast.Dict(keys=keys, values=values):
            made = {}
            for key, value in zip(keys, values, strict=True):
                one = _value(value, here)
                if key is None:  # {**one}
                    made |= one if isinstance(one, dict) else {Origin(): _origin(one)}
                else:
                    made[_key(_value(key, here))] = one
            return made
        case ast.JoinedStr(values=parts):
            return _text(parts, here)
        case ast.Subscript(value=container, slice=key):
            return _item(_value(container, here), _value(key, here))
        case ast.Attribute(value=ast.Name(id=module), attr=name) if (
            module in here.helpers and module not in here.env and name.isupper()
        ):
            return getattr(importlib.import_module(f"vae_helpers.{module}"), name)
        case ast.Call():
            return _call(node, here)
        case ast.DictComp(key=key, value=value, generators=loops):
            pair = ast.Tuple([key, value], ast.Load())
            return {_key(one): two for one, two in _comprehended(pair, loops, here)}
        case (
            ast.ListComp(elt=part, generators=loops) | ast.GeneratorExp(elt=part, generators=loops)
        ):
            return _comprehended(part, loops, here)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            one, two = _value(left, here), _value(right, here)
            both = isinstance(one, dict) and isinstance(two, dict)
            return one | two if both else _origin([one, two])
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            one, two = _value(left, here), _value(right, here)
            if type(op) in COMPARISONS and _known(one) and _known(two):
                return COMPARISONS[type(op)](one, two)
            return _origin([one, two])
        case ast.Lambda():
            return _Function(node, _free(node, here))
        case _:
            return _origin([_value(one, here) for one in _parts(node)])


def _sequence(parts: Sequence[ast.expr], here: _Followed) -> tuple:
    made = []
    for part in parts:
        if isinstance(part, ast.Starred):
            made += _items(_value(part.value, here))
        else:
            made.append(_value(part, here))
    return tuple(made)


def _text(parts: Sequence[ast.expr], here: _Followed) -> str | Origin:
    made = ""
    for part in parts:
        value = _value(part.value, here) if isinstance(part, ast.FormattedValue) else part.value
        if not _known(value):
            return _origin([_value(one, here) for one in parts])
        spec = getattr(part, "format_spec", None)
        made += format(value, _value(spec, here) if spec else "")
    return made


def _item(container: object, key: object) -> object:
    match container:
        case dict() if _key(key) in container:
            return container[_key(key)]
        case list() | tuple() if isinstance(key, int) and -len(container) <= key < len(container):
            return container[key]
    return _origin([container, key])


def _comprehended(part: ast.expr, loops: Sequence[ast.comprehension], here: _Followed) -> list:
    if not loops:
        return [_value(part, here)]
    made, (loop, *others) = [], loops
    inner = _Followed(dict(here.env), here.helpers, here.drawn)
    for one in _items(_value(loop.iter, here)):
        _bind(loop.target, one, inner)
        if not any(_value(test, inner) is False for test in loop.ifs):
            made += _comprehended(part, others, inner)
    return made


def _call(node: ast.Call, here: _Followed) -> object:
    arguments = _sequence(node.args, here)
    named = {one.arg: _value(one.value, here) for one in node.keywords}
    match node.func:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module not in here.env:
            function = f"{module}.{name}"
            if function == "measurements.embedded":
                return EMBEDDINGS
            origin = _origin([arguments, named])
            kind, count = SOURCES.get(function, ("", 0))
            origin |= {(kind, one) for one in arguments[:count] if isinstance(one, str)}
            if module == "figures" or function in FILMING:
                here.drawn.append(Drawn(function, origin))
            return origin
        case ast.Attribute(value=owner, attr="items" | "keys" | "values" as name):
            value = _value(owner, here)
            return list(getattr(value, name)()) if isinstance(value, dict) else _origin(value)
        case ast.Attribute(value=owner):
            return _origin([_value(owner, here), arguments, named])
        case ast.Name(id="list" | "tuple" | "sorted") if arguments:
            return _items(arguments[0])
        case func:
            called = _value(func, here)
            if isinstance(called, _Function):
                return _result(called.node, arguments, named, here)
            return _origin([called, arguments, named])


def _result(
    function: ast.FunctionDef | ast.Lambda, arguments: tuple, named: Env, here: _Followed
) -> object:
    """What a function of the chapter returns for these arguments."""
    inner = _Followed(dict(here.env), here.helpers, here.drawn)
    parameters = _parameters(function)
    given = dict(zip(parameters, arguments, strict=False))  # the others have defaults
    inner.env |= dict.fromkeys(parameters, Origin()) | given | named
    if isinstance(function, ast.Lambda):
        return _value(function.body, inner)
    inner.env[function.name] = Origin()  # recursion ends here
    _run(function.body, inner)
    return inner.returned[0] if len(inner.returned) == 1 else _origin(inner.returned)


def _free(function: ast.FunctionDef | ast.Lambda, here: _Followed) -> Origin:
    return _origin(_result(function, (), {}, _Followed(dict(here.env), here.helpers))) | _origin(
        [
            here.env.get(one.id, Origin())
            for one in ast.walk(function)
            if isinstance(one, ast.Name) and one.id not in _parameters(function)
        ]
    )


def _parameters(function: ast.FunctionDef | ast.Lambda) -> list[str]:
    return [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]


# --- values -------------------------------------------------------------------------------------


def _origin(value: object) -> Origin:
    match value:
        case frozenset():
            return value
        case dict():
            return Origin().union(*map(_origin, [*value.keys(), *value.values()]))
        case list() | tuple():
            return Origin().union(*map(_origin, value))
        case _Function():
            return value.origin
    return Origin()


def _items(value: object) -> list:
    """What a loop over the value meets; where that isn't known, once its origin."""
    return list(value) if isinstance(value, list | tuple | dict) else [_origin(value)]


def _known(value: object) -> bool:
    return isinstance(value, str | int | float) or (
        isinstance(value, list | tuple) and all(map(_known, value))
    )


def _key(value: object) -> object:
    """The value as a key: itself where it is known, else its origin."""
    return (
        value
        if isinstance(value, str | int | float)
        else (tuple(map(_key, value)) if isinstance(value, tuple) else _origin(value))
    )


def _parts(node: ast.AST) -> list[ast.expr]:
    return [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.expr)]
