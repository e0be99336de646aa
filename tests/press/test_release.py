"""What a release says of itself: one version, one title, one author, in all the places."""

import re
import tomllib

import pytest
import yaml

from press.settings import ROOT


@pytest.fixture
def cited():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def test_the_citation_is_of_the_format_s_version_and_has_all_that_it_requires(cited):
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)
    assert cited["type"] == "software"
    # https://spdx.org names licences so
    assert cited["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")


def test_the_citation_names_the_book_as_its_pages_do(cited, config):
    assert cited["title"] == config["title"]
    assert cited["authors"] == [{"name": config["author"]}]
    assert cited["repository-code"] == config["repository"]["url"]


def test_package_citation_and_changelog_are_of_one_version(cited):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert str(cited["version"]) == project["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d\S*)\] - (\S+)$", changes, re.MULTILINE)
    assert released[0] == (project["version"], str(cited["date-released"]))


def test_the_licence_holds_in_the_year_of_the_book(config):
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert f"Copyright (c) {config['copyright']} " in licence


def test_the_lock_has_the_versions_the_book_was_made_with_and_hashes_for_all():
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S+)==([^\s;]+)((?:.*\\\n)+.*)$", lock, re.MULTILINE)
    locked = {name: (version, rest.count("--hash=sha256:")) for name, version, rest in entries}
    assert len(locked) == len(re.findall(r"^\w", lock, re.MULTILINE))
    assert min(count for _, count in locked.values()) >= 1
    wanted = {re.sub("[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    assert {name: version for name, (version, _) in locked.items() if name in wanted} == wanted
