"""Which tests reach which function of the project, and how long each takes.

Learned by running each test file once with this module as a plugin of pytest, and kept in
``_build/reached`` for as long as that file does not change. What a shared fixture reaches counts
for the first test that asks for it.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINGS = (f"{ROOT}/vae_helpers/", f"{ROOT}/press/")
tests, seconds = defaultdict(dict), {}


def learned(files: Iterable[Path]) -> tuple[dict[str, list[str]], dict[str, float]]:
    """``path:function`` → the tests that reach it; and the seconds that each test takes."""
    every, durations = defaultdict(list), {}
    for file in files:
        of = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        name = "-".join(file.relative_to(ROOT).with_suffix("").parts)
        kept = ROOT / "_build" / "reached" / f"{name}-{of}.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "pytest", "-q", "-p", "reached", str(file)]
            environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
            command += ["-p", "no:cacheprovider", f"--reached={kept}"]
            subprocess.run(command, check=True, cwd=ROOT, env=environment)
        found = json.loads(kept.read_text(encoding="utf-8"))
        durations |= found["seconds"]
        for function, some in found["tests"].items():
            every[function] += some
    return every, durations


def pytest_addoption(parser):
    parser.addoption("--reached", type=Path, help="the file that what is learned goes to")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    def trace(frame, event, _):
        path, function = frame.f_code.co_filename, frame.f_code.co_qualname
        if path.startswith(WINGS):
            function = function.replace(".<locals>", "")
            tests[f"{path.removeprefix(f'{ROOT}/')}:{function}"][item.nodeid] = True

    began = time.monotonic()
    sys.settrace(trace)
    try:
        return (yield)
    finally:
        sys.settrace(None)
        seconds[item.nodeid] = round(time.monotonic() - began, 3)


def pytest_sessionfinish(session, exitstatus):
    if not exitstatus:
        found = {"tests": {name: list(some) for name, some in tests.items()}, "seconds": seconds}
        session.config.option.reached.write_text(json.dumps(found), encoding="utf-8")
