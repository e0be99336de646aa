"""What a run of the book is told from outside: read once, resolved once, handed on as a value."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from press.errors import BookError

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("full", "smoke")
REPOSITORY = r"[\w.-]+/[\w.-]+"  # as ``owner/name``
CHOICES = {"VAE_PROFILE": "|".join(PROFILES), "VAE_DEVICE": "cpu|cuda|cuda:[0-9]|mps"}
CHOICES |= {"VAE_RETRAIN": "0|1", "VAE_RECORD": "0|1", "GITHUB_REPOSITORY": REPOSITORY}


@dataclass(frozen=True)
class Settings:
    """The book's switches. All paths are absolute."""

    profile: str  # the book is ``full``; ``smoke``: drawn garments, one epoch, small counts
    root: Path  # the checkout
    build: Path  # where everything that is made on the way lies
    places: tuple[Path, ...]  # are looked through for data; the first one is downloaded into
    author: str  # signs every figure
    device: str | None = None  # ``cpu``, ``cuda``, ``mps``, or None for the best one found
    repository: str | None = None  # ``owner/name`` in the site's links; None: as ``_config.yml``
    retrain: bool = False  # train again, apart from the book's checkpoints, instead of loading
    record: bool = False  # store the numbers that chapters compute instead of comparing them

    @property
    def smoke(self) -> bool:
        return self.profile == "smoke"

    @property
    def assets(self) -> Path:
        """The folder that trained models and tables are read from."""
        if self.smoke:
            return self.build / "smoke" / "assets"
        return self.build / "retrained" if self.retrain else self.root / "assets"

    @property
    def tables(self) -> Path:
        """The folder of the tables, and of what else takes long to make."""
        return self.assets / "results" / "tables"

    @property
    def work(self) -> Path:
        """The folder for unfinished work: training state that a next call resumes."""
        return self.build / ("smoke" if self.smoke else "work")

    @property
    def torch_device(self):
        """Where models are trained, a ``torch.device``: the one named, or the best one found."""
        import torch  # a second, which most commands do without

        from vae_helpers.training import best_device

        try:
            return torch.empty(0, device=self.device).device if self.device else best_device()
        except (AssertionError, RuntimeError) as error:
            here = f"here is none; give {best_device()}, or unset it"
            raise BookError(f"VAE_DEVICE is {self.device!r}, but {here}") from error

    def environment(self) -> dict[str, str]:
        """The variables by which a child process has these settings and this checkout's packages,
        whatever its folder, and whatever other checkout is installed.
        """
        users = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        return {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(map(os.path.abspath, (ROOT, *users)))),
            "VAE_PROFILE": self.profile,
            "VAE_DATA_DIR": str(self.places[0]) if len(self.places) == 1 else "",
            "VAE_AUTHOR": self.author,
            "VAE_DEVICE": self.device or "",
            "VAE_RETRAIN": str(int(self.retrain)),
            "VAE_RECORD": str(int(self.record)),
            "GITHUB_REPOSITORY": self.repository or "",
        }


def read(environ: Mapping[str, str] = os.environ, root: Path = ROOT, **changes) -> Settings:
    """The settings of that environment and of ``_config.yml``, with ``changes`` of single fields.

    Environment: ``VAE_PROFILE``, ``VAE_DATA_DIR``, ``VAE_AUTHOR``, ``VAE_DEVICE``,
    ``VAE_RETRAIN=1``, ``VAE_RECORD=1``, ``GITHUB_REPOSITORY``; an empty one is as none.
    Raises BookError for a value that none of them has.
    """
    environ = {**environ, "VAE_PROFILE": changes.get("profile") or environ.get("VAE_PROFILE")}
    for name, choices in CHOICES.items():
        if (says := environ.get(name)) and not re.fullmatch(choices, says):
            known = "owner/name" if choices == REPOSITORY else choices.replace("|", ", ")
            raise BookError(f"{name} is {says!r}; give {known}, or unset it")
    root = root.resolve()
    data, usual = environ.get("VAE_DATA_DIR"), (root / "data", root.parent / "shared" / "data")
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    settings = Settings(
        profile=environ["VAE_PROFILE"] or "full",
        root=root,
        build=root / "_build",
        places=(resolved(data, "VAE_DATA_DIR"),) if data else usual,
        author=environ.get("VAE_AUTHOR") or config["author"],
        device=environ.get("VAE_DEVICE") or None,
        repository=environ.get("GITHUB_REPOSITORY") or None,
        retrain=environ.get("VAE_RETRAIN") == "1",
        record=environ.get("VAE_RECORD") == "1",
    )
    return replace(settings, **changes)


def resolved(text: str, told: str) -> Path:
    """The absolute path that was written, ``~`` and ``..`` resolved; ``told`` names the place.

    Raises BookError for a variable or a ``~user`` that stands for nothing here.
    """
    path = os.path.expanduser(text)
    if re.search(r"^~|\$", path) and not os.path.exists(path):
        raise BookError(f"{told} is {text!r}; write the folder out, as no shell has done it here")
    return Path(path).resolve()
