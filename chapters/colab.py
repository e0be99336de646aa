"""What the chapters need beside this repository, where it is not installed, as in Colab.

A chapter's first cell runs it. Packages that are there, PyTorch above all, stay as they are.
"""

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Install the packages that are missing; say nothing where that goes well.

    Raises FileNotFoundError where code of the checkout is missing, RuntimeError, in pip's words,
    where a package cannot be installed.
    """
    if lost := _lost():
        raise FileNotFoundError(
            f"Of the code in {ROOT}, {len(lost)} files are missing, {lost[0]} among them; "
            f'git -C "{ROOT}" checkout-index --all --quiet puts them back and changes no other.'
        )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    wanted = [_as_installed(requirement) for requirement in listed]
    if set(wanted) & set(listed):
        pip = [sys.executable, "-m", "pip", "install", "-qq", *wanted]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Packages could not be installed. {done.stderr}")
        importlib.invalidate_caches()  # this process looked before they were there


def _lost() -> list[str]:
    # Files of the code that a clone should have; where git cannot say, none.
    if not (ROOT / ".git").exists():
        return []
    git = ["git", "-C", str(ROOT), "ls-files", "--deleted", "press", "vae_helpers"]
    try:
        return subprocess.run(git, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:  # no git
        return []


def _as_installed(requirement: str) -> str:
    # Pinned to what is there: else a torchvision that is missing would bring a PyTorch of its own.
    name = re.match(r"[\w.-]+", requirement)[0]
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return requirement


if __name__ == "__main__":
    main()
