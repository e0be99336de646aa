"""The runner of mutations, on small code; and its results as the faults page's table.

``python tests/press/test_mutants.py`` makes the table anew.
"""

import json
import multiprocessing
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

from mutants import RESULTS, SAME, chosen, mutants, tried  # noqa: E402

PAGE, MARK = ROOT / "pages" / "faults.md", "<!-- by tests/press/test_mutants.py -->\n"
SMALL = '''
"""A module."""

def f(a: int, b=2):
    """What it does."""
    if a < b and not b:
        raise ValueError(a + 1)
    return g(a, -b)[0] * 1.5
'''


def changes(source):
    return {f"{where}: {what}" for where, what, _ in mutants(source)}


def test_each_operator_constant_comparison_index_and_order_is_changed_once():
    assert changes(SMALL) == {
        "f: 2  →  3 #1",
        "f: if a < b and (not b):\n    raise ValueError(a + 1)  →  "
        "if not (a < b and (not b)):\n    raise ValueError(a + 1) #1",
        "f: a < b and (not b)  →  a < b or not b #1",
        "f: a < b  →  a <= b #1",
        "f: not b  →  +b #1",
        "f: g(a, -b)[0] * 1.5  →  g(a, -b)[0] / 1.5 #1",
        "f: g(a, -b)  →  g(-b, a) #1",
        "f: -b  →  +b #1",
        "f: 0  →  1 #1",
        "f: 1.5  →  1.6500000000000001 #1",
    }


def test_every_mutant_is_another_program_that_compiles():
    sources = [source for _, _, source in mutants((ROOT / "vae_helpers/losses.py").read_text())]
    assert len(sources) == len(set(sources)) > 50
    for one in sources:
        compile(one, "mutant", "exec")


def test_functions_within_classes_and_functions_have_their_names():
    source = (
        "class A:\n    def f(self):\n        def g():\n            return 1\n        return 2\n"
    )
    assert {where for where, _, _ in mutants(source)} == {"A.f", "A.f.g"}


def test_the_quickest_tests_that_reach_a_function_come_first_and_not_too_many():
    reached = {"m.py:f": ["slow", "quick", "long"], "m.py:g": ["other"], "n.py:f": ["foreign"]}
    seconds = {"slow": 30.0, "quick": 0.1, "long": 40.0, "other": 1.0, "foreign": 0.0}
    assert chosen("m.py", reached, seconds, "f") == ["quick", "slow"]
    assert chosen("m.py", reached, seconds, "unknown") == ["quick", "other", "slow"]
    assert chosen("m.py", {"m.py:f": ["long"]}, {"long": 400.0}, "f") == ["long"]


KL = "vae_helpers/losses.py"
TEST = "tests/vae_helpers/test_losses.py::test_kl_is_zero_for_the_standard_normal"


def test_a_wrong_kl_is_found_and_the_right_one_survives():
    source = (ROOT / KL).read_text(encoding="utf-8")
    wrong = source.replace("return 0.5 * (mu", "return 0.1 + 0.5 * (mu")
    assert wrong != source
    jobs = [(KL, "wrong", wrong, [TEST]), (KL, "right", source, [TEST]), (KL, "none", wrong, [])]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        assert pool.map(tried, jobs, chunksize=1) == [None, "right", "none"]


def table():
    """The results as the faults page has them."""
    results, same = json.loads(RESULTS.read_text()), yaml.safe_load(SAME.read_text())
    lines = ["| module | mutants | killed | survived | compute the same |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name, found in sorted(results.items()):
        count = sum(one["mutants"] for one in found.values())
        left = sum(len(one["survived"]) for one in found.values())
        lines.append(
            f"| `{name}` | {count} | {count - left} | {left} | {len(same.get(name, ()))} |"
        )
    return "\n".join(lines) + "\n"


def test_the_page_has_the_results():
    _, _, after = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert after == table()


def test_each_mutant_that_computes_the_same_exists_and_has_a_reason():
    for name, reasons in yaml.safe_load(SAME.read_text()).items():
        known = changes((ROOT / name).read_text(encoding="utf-8"))
        assert reasons.keys() <= known, reasons.keys() - known
        assert all(len(reason) >= 20 for reason in reasons.values())


if __name__ == "__main__":
    text, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(text + MARK + table(), encoding="utf-8")
