"""What a chapter on its own needs beside itself: its first cell clones the book and runs this.

The clone is sparse: code, texts and stored numbers come at once, a model when a cell asks for it
(``press.files.fetched``). Packages that are installed, PyTorch above all, stay as they are.
"""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PARTS = (
    *("/*", "!/*/", "/.github/", "/vae_helpers/", "/press/", "/assets/results/"),
    *("/chapters/*.md", "/chapters/*.yml"),
)


def main() -> None:
    """Bring what is missing; say nothing where that goes well."""
    if not (ROOT / "vae_helpers").is_dir():
        git = ["git", "-C", str(ROOT), "sparse-checkout"]
        # Two commands, for Colab's git 2.34 has no `set --no-cone`.
        subprocess.run([*git, "init", "--no-cone"], check=True)
        subprocess.run([*git, "set", *PARTS], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    wanted = [_as_installed(requirement) for requirement in listed]
    if set(wanted) & set(listed):
        subprocess.run([sys.executable, "-m", "pip", "install", "-qq", *wanted], check=True)


def _as_installed(requirement: str) -> str:
    # Pinned to what is there: else a torchvision that is missing would bring a PyTorch of its own.
    name = re.match(r"[\w.-]+", requirement)[0]
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return requirement


if __name__ == "__main__":
    main()
