"""The page of the library's functions: docstrings as Sphinx reads them, and links to sources."""

import re
from pathlib import Path

import pytest

from press.settings import ROOT
from press.site import api
from vae_helpers import losses, models


def test_prose_has_no_references():
    lines = ["log p(x|z), |z| and", "r_ but ``r_`` and a_b."]
    api.make_readable(None, "", "", None, None, lines)
    assert lines == [r"log p(x\|z), \|z\| and", r"r\_ but ``r_`` and a_b."]


@pytest.mark.parametrize(
    ("value", "module", "name"),
    [
        (losses.kl_divergence, "losses", "kl_divergence"),
        (models.VAE.decode, "models", "VAE.decode"),
        (models.VAE.latent.fget, "models", "VAE.latent"),
        (models.evaluating.__wrapped__, "models", "evaluating"),  # below a decorator
    ],
)
def test_an_address_is_that_of_the_definition(value, module, name):
    found = api.address("CODE", "py", {"module": f"vae_helpers.{module}", "fullname": name})
    path, line = re.fullmatch(r"CODE/(\S+)#L(\d+)", found).groups()
    assert (ROOT / path).resolve() == Path(value.__code__.co_filename).resolve()
    assert int(line) == value.__code__.co_firstlineno


def test_a_value_has_no_address():
    assert (
        api.address("CODE", "py", {"module": "vae_helpers.losses", "fullname": "__doc__"}) is None
    )


def test_every_module_of_the_library_is_on_the_page():
    page = (ROOT / "pages" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. automodule:: (\S+)$", page, re.MULTILINE)
    paths = [
        path.relative_to(ROOT).with_suffix("") for path in (ROOT / "vae_helpers").rglob("*.py")
    ]
    modules = {".".join(path.parts) for path in paths if path.name != "__init__"}
    within = {one for one in modules if one.startswith("vae_helpers.figures.")}  # re-exported
    assert set(listed) == modules - within | {"vae_helpers.figures"}
    assert len(listed) == len(set(listed))
