"""What a run of the book is told from outside, read from the environment in one place."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("full", "smoke")


@dataclass(frozen=True)
class Settings:
    """The book's switches.

    profile: ``full`` is the book; ``smoke`` runs it on drawn garments, one epoch, small counts.
    data_dir: the one folder to read data from (``$VAE_DATA_DIR``), or None to look around.
    author: the watermark on every figure.
    device: ``cpu``, ``cuda`` or None for the best one found.
    retrain: train again, apart from the book's own checkpoints, instead of loading those.
    record: store the numbers that chapters compute instead of comparing them.
    """

    profile: str
    data_dir: Path | None
    author: str
    device: str | None
    retrain: bool
    record: bool

    @property
    def smoke(self) -> bool:
        return self.profile == "smoke"

    @property
    def assets(self) -> Path:
        """The folder trained models and stored numbers are read from."""
        if self.smoke:
            return ROOT / "_build" / "smoke" / "assets"
        return ROOT / "_build" / "retrained" if self.retrain else ROOT / "assets"

    @property
    def work(self) -> Path:
        """The folder for unfinished work: training state that a next call resumes."""
        return ROOT / "_build" / ("smoke" if self.smoke else "work")


def settings() -> Settings:
    """Read the settings from the environment and ``_config.yml``.

    Environment: ``VAE_PROFILE``, ``VAE_DATA_DIR``, ``VAE_AUTHOR``, ``VAE_DEVICE``,
    ``VAE_RETRAIN=1``, ``VAE_RECORD=1``.
    Raises ValueError for a profile that does not exist.
    """
    env = os.environ
    profile = env.get("VAE_PROFILE", "full")
    if profile not in PROFILES:
        raise ValueError(f"VAE_PROFILE is {profile!r}; choose one of {', '.join(PROFILES)}")
    return Settings(
        profile=profile,
        data_dir=Path(env["VAE_DATA_DIR"]) if env.get("VAE_DATA_DIR") else None,
        author=env.get("VAE_AUTHOR") or _author((ROOT / "_config.yml").read_text(encoding="utf-8")),
        device=env.get("VAE_DEVICE") or None,
        retrain=env.get("VAE_RETRAIN") == "1",
        record=env.get("VAE_RECORD") == "1",
    )


@lru_cache(maxsize=1)  # reading YAML takes milliseconds, and settings are asked for everywhere
def _author(config: str) -> str:
    return yaml.safe_load(config)["author"]
