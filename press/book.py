"""The book as a value: what a chapter opens first, and all that it and the tables' rows ask for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from matplotlib.figure import Figure

from press import checkpoints, experiments, fid, films, images, report
from press.checkpoints import Experiment
from press.files import hardware
from press.settings import Settings, read
from press.stored import numbers, tables
from vae_helpers.classifier import FashionResNet18
from vae_helpers.data import ImageDataset
from vae_helpers.metrics.differences import Estimate
from vae_helpers.training import best_device


def open_book(retrain: bool = False) -> "Book":
    """The book with this process's settings; ``retrain`` trains its models anew instead of
    loading them, and says where.
    """
    book = Book(read(retrain=True) if retrain else read())
    if retrain:
        book.finding(
            f"Models are trained here, on {hardware(str(book.device))}. Below a cell that needs "
            "one, a bar shows how far it is and the time it still takes."
        )
    return book


@dataclass(frozen=True)
class Book:
    """Everything of the book under one set of settings; what was asked for once is kept.

    progress: how trainings of table rows say how far they are, see ``fit``.
    """

    settings: Settings
    progress: bool | Callable[[float], None] = False
    _kept: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def smoke(self) -> bool:
        """Whether this is a quick run on drawn garments, which shows nothing of the book's."""
        return self.settings.smoke

    @property
    def device(self) -> torch.device:
        """Where models are trained."""
        return torch.device(self.settings.device) if self.settings.device else best_device()

    # --- images and models ----------------------------------------------------------------------

    def images(self, split: str, dataset: str = "fashion-mnist") -> ImageDataset:
        """The ``train`` or ``test`` images of a dataset, see ``images``."""
        return images.images(split, dataset, self.settings)

    def experiment(self, name: str) -> Experiment:
        """The trained model of that name with its run and its images, see ``checkpoints``."""
        if name not in self._kept:
            self._kept[name] = checkpoints.experiment(name, self.settings)
        return self._kept[name]

    @property
    def classifier(self) -> FashionResNet18:
        """The classifier of Fashion-MNIST that every sample of the book is shown to."""
        return self.experiment("classifier").model

    def fid_features(self, pictures: torch.Tensor):
        """What the classifier's last layer sees of pictures, ``(N, features)``, an array."""
        return fid.features(self, pictures)

    def film(self, *names: str) -> Path:
        """The GIF of that run's training, or of several in step, see ``films``."""
        return films.film([self.experiment(name) for name in names], self.settings)

    def walk(self, name: str) -> Path:
        """The GIF of walks through that run's latent space, see ``films``."""
        return films.walk(self.experiment(name), self.settings)

    # --- stored numbers -------------------------------------------------------------------------

    def rows(self, table: str) -> list[dict]:
        """The stored rows of the table of that name, see ``tables.rows``."""
        return tables.rows(experiments.find(table), self)

    def row(self, table: str, **configuration) -> dict:
        """One row of the table of that name, measured again here, see ``tables.row``."""
        return tables.row(experiments.find(table), self, **configuration)

    def reported(
        self,
        key: str,
        live: Estimate | float,
        *,
        unit: str,
        of: str,
        tolerance: float | None = None,
    ) -> Estimate:
        """A stored number, checked against the one computed here, see ``numbers.reported``."""
        return numbers.reported(
            key, live, unit=unit, of=of, tolerance=tolerance, settings=self.settings
        )

    def stored(self, key: str, of: str) -> Estimate:
        """A stored number that nothing computes here, such as a timing."""
        return numbers.stored(key, of, self.settings)

    def provenance(self, key: str) -> dict:
        """All that is stored with a number."""
        return numbers.provenance(key, self.settings)

    # --- what is shown --------------------------------------------------------------------------

    def show(self, figure: Figure, of: Iterable[Experiment | str] = ()) -> None:
        """Show a figure; ``of`` says which experiments and tables it is drawn from."""
        report.show(figure, of, self.settings)

    def finding(self, text: str, facts: Mapping[str, str] | None = None) -> None:
        """Show a sentence whose numbers were computed; ``facts``: those that other pages repeat."""
        report.finding(text, facts)

    def table(self, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """Show a table; columns of numbers are aligned right."""
        report.table(header, rows)

    def requirement(self, id: str, *, evidence: Mapping[str, object], passed: bool) -> None:
        """Show the callout of one requirement of the brief, see ``report.requirement``."""
        report.requirement(id, evidence=evidence, passed=passed, settings=self.settings)
