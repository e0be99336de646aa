"""A digest of code changes with what is computed, however far away, and with nothing else."""

import sys
import textwrap

import pytest

from press import code

LOSSES = '''
import math

from vae_toy import shapes

SCALE = 2.0


def total(x):
    """What x costs."""
    return SCALE * parts(x)  # on the usual scale


def parts(x):
    return shapes.area(x) + math.sqrt(x)


def other(x):
    return x
'''
SHAPES = """
TABLE = {"a": lambda x: x * x}
RUNS = {"one": 1}


def area(x: "float") -> float:
    from vae_toy import deep

    assert RUNS
    return TABLE["a"](x) + deep.Depth(x).value()
"""
DEEP = """
class Depth:
    def __init__(self, x):
        self.x = x

    def value(self):
        return 3 * self.x
"""
FILES = {"losses": LOSSES, "shapes": SHAPES, "deep": DEEP}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """The digest of ``losses.total`` in a package with one of its files changed."""
    monkeypatch.setattr(code, "PROJECT", ("vae_toy",))

    def of(file=None, old="", new=""):
        for name in [name for name in sys.modules if name.startswith("vae_toy")]:
            del sys.modules[name]
        for cached in (code.code_digest, code._statements, code._tree):
            cached.cache_clear()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "vae_toy").mkdir(parents=True)
        (folder / "vae_toy" / "__init__.py").touch()
        for name, text in FILES.items():
            changed = text.replace(old, new) if name == file else text
            assert name != file or changed != text
            (folder / "vae_toy" / f"{name}.py").write_text(textwrap.dedent(changed))
        monkeypatch.syspath_prepend(folder)
        from vae_toy import deep, losses  # noqa: F401

        return code.code_digest(losses.total)

    yield of
    for cached in (code.code_digest, code._statements, code._tree):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("losses", "SCALE * parts", "SCALE / parts"),
        ("losses", "SCALE = 2.0", "SCALE = 2.5"),
        ("losses", "+ math.sqrt", "- math.sqrt"),
        ("shapes", "x * x", "x + x"),
        ("shapes", '["a"](x) +', '["a"](x) -'),
        ("deep", "3 * self.x", "2 * self.x"),
    ],
)
def test_it_changes_with_what_is_computed_however_far_away(digest, file, old, new):
    assert digest(file, old, new) != digest()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("losses", "  # on the usual scale", "  # of nats"),
        ("losses", "What x costs.", "The cost of x."),
        ("losses", "SCALE * parts(x)", "(\n        SCALE * parts(x)\n    )"),
        ("losses", "return x\n", "return x + 1\n"),  # of a function that is not called
        ("shapes", '"one": 1', '"one": 1, "two": 2'),  # a registry
    ],
)
def test_it_does_not_change_with_anything_else(digest, file, old, new):
    assert digest(file, old, new) == digest()


@pytest.mark.fault(
    "rows of a table are read under another version of Python than made them, as in Colab",
    "their digest of code is the same there: they are not taken for stale",
)
def test_it_is_the_same_on_every_python(digest):
    assert digest() == "03e710bf8c000e80"  # as Python 3.11 and 3.13 compute it


def test_a_partial_counts_with_what_it_is_given():
    from press.experiments import find_table

    one, other = (find_table(name).row for name in ("betas", "digits"))
    assert one.func is other.func
    assert code.code_digest(one) != code.code_digest(other)


def test_a_function_that_cannot_be_found_by_its_name_is_refused():
    with pytest.raises(ValueError, match="give a function at the top level"):
        code.code_digest(lambda: None)
