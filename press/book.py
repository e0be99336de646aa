"""The book as a value: what a chapter opens first, and all that it and the tables' rows ask for."""

from dataclasses import dataclass, field

from press import experiments, films, images, report, training
from press.checkpoints import Experiment
from press.files import hardware
from press.settings import Settings, read
from press.stored import numbers, tables
from vae_helpers.classifier import FashionResNet18
from vae_helpers.data import ImageDataset
from vae_helpers.metrics.differences import Estimate


def open_book(retrain: bool = False) -> "Book":
    """The book; ``retrain`` trains its models anew instead of loading them, and says where."""
    book = Book(read(retrain=True) if retrain else read())
    if retrain:
        device = hardware(str(book.settings.torch_device))
        book.finding(
            f"Models are trained here, on {device}. Below a cell that needs one, a bar shows how "
            "far it is and the time it still takes."
        )
    return book


@dataclass(frozen=True)
class Book:
    """Everything of the book under one set of settings; what was asked for once is kept."""

    settings: Settings
    _kept: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def smoke(self) -> bool:
        """Whether this is a quick run on drawn garments, which shows nothing of the book's."""
        return self.settings.smoke

    def images(self, split: str, dataset: str = "fashion-mnist") -> ImageDataset:
        """The ``train`` or ``test`` images of a dataset, see ``images``."""
        return images.images(split, dataset, self.settings)

    def experiment(self, name: str) -> Experiment:
        """The trained model of that name with its run and its images, see ``checkpoints``."""
        if name not in self._kept:
            self._kept[name] = training.experiment(name, self.settings)
        return self._kept[name]

    @property
    def classifier(self) -> FashionResNet18:
        """The classifier of Fashion-MNIST that every sample of the book is shown to."""
        return self.experiment("classifier").model

    def rows(self, table: str) -> list[dict]:
        """The stored rows of the table of that name, see ``tables.rows``."""
        return tables.rows(experiments.find_table(table), self)

    def row(self, table: str, **configuration) -> dict:
        """One row of the table of that name, measured again here, see ``tables.row``."""
        return tables.row(experiments.find_table(table), self, **configuration)

    def reported(self, key: str, live: Estimate | float, **how) -> Estimate:
        """A stored number, checked against the one computed here, see ``numbers.reported``."""
        return numbers.reported(key, live, settings=self.settings, **how)

    film = films.film
    walk = films.walk
    finding = staticmethod(report.finding)
    table = staticmethod(report.table)
    show = report.show
    requirement = report.requirement
