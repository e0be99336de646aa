"""The workflows of GitHub run nothing whose content can change behind its name."""

import re

import pytest

from press.settings import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
# A tag can be moved to other code, a commit cannot; the version beside it is for people.
PINNED = re.compile(r"([\w-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")


def used(path) -> list[str]:
    """What stands behind ``uses:`` in a workflow."""
    return re.findall(r"^[^#\n]*\buses:\s*(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


@each_workflow
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path):
    assert used(path)
    assert [one for one in used(path) if not PINNED.fullmatch(one)] == []


def test_an_action_is_of_one_version_everywhere():
    found = {PINNED.fullmatch(one).groups() for path in WORKFLOWS for one in used(path)}
    assert len({name for name, _, _ in found}) == len(found)


@each_workflow
def test_a_workflow_may_read_alone_unless_a_job_says_more(path):
    assert "\npermissions:\n  contents: read" in path.read_text(encoding="utf-8")
