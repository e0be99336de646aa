"""What a run of the book is told from outside: read once, resolved once, handed on as a value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("full", "smoke")


@dataclass(frozen=True)
class Settings:
    """The book's switches. All paths are absolute.

    profile: ``full`` is the book; ``smoke`` runs it on drawn garments, one epoch, small counts.
    root: the checkout. build: where everything that is made on the way lies.
    places: folders that are looked through for data; the first one is downloaded into.
    author: the watermark on every figure.
    device: ``cpu``, ``cuda``, ``mps`` or None for the best one found.
    repository: ``owner/name`` to put into the built site's links; None leaves them as they are.
    retrain: train again, apart from the book's own checkpoints, instead of loading those.
    record: store the numbers that chapters compute instead of comparing them.
    """

    profile: str
    root: Path
    build: Path
    places: tuple[Path, ...]
    author: str
    device: str | None = None
    repository: str | None = None
    retrain: bool = False
    record: bool = False

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
    def work(self) -> Path:
        """The folder for unfinished work: training state that a next call resumes."""
        return self.build / ("smoke" if self.smoke else "work")

    def environment(self) -> dict[str, str]:
        """The variables from which a child process reads these settings, whatever its folder."""
        return {
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
    ``VAE_RETRAIN=1``, ``VAE_RECORD=1``, ``GITHUB_REPOSITORY``.
    Raises ValueError for a profile that does not exist.
    """
    root = root.resolve()
    data = environ.get("VAE_DATA_DIR")
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    settings = Settings(
        profile=environ.get("VAE_PROFILE", "full"),
        root=root,
        build=root / "_build",
        places=(
            (Path(data).expanduser().absolute(),)
            if data
            else (root / "data", root.parent / "shared" / "data")
        ),
        author=environ.get("VAE_AUTHOR") or config["author"],
        device=environ.get("VAE_DEVICE") or None,
        repository=environ.get("GITHUB_REPOSITORY") or None,
        retrain=environ.get("VAE_RETRAIN") == "1",
        record=environ.get("VAE_RECORD") == "1",
    )
    settings = replace(settings, **changes)
    if settings.profile not in PROFILES:
        raise ValueError(
            f"VAE_PROFILE is {settings.profile!r}; choose one of {', '.join(PROFILES)}"
        )
    return settings
