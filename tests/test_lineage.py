import nbformat
import pytest

from vae_helpers import lineage
from vae_helpers.settings import ROOT

IMPORTS = "from vae_helpers import animation, figures, measurements, runs, walks\n"
MODELS = """
names = {"a": "dense2", "b": "conv16"}
models = {label: runs.trained(name) for label, name in names.items()}
one = models["a"]
"""


def origin(*cells):
    """What the last call of these cells that draws depends on."""
    calls = [call for some in lineage.drawn([IMPORTS, MODELS, *cells]) for call in some]
    return sorted(calls[-1].origin)


def run(*names):
    return sorted(("run", name) for name in names)


@pytest.mark.parametrize(
    ("code", "runs"),
    [
        ("figures.f(one.model)", ["dense2"]),
        ("x, y = one, models['b']\nfigures.f(y)", ["conv16"]),
        ("figures.f(models)", ["conv16", "dense2"]),
        ("figures.f(models['b'].history)", ["conv16"]),
        ("figures.f([models[name] for name in ('b',)])", ["conv16"]),
        ("figures.f([runs.trained(f'beta-{b:g}') for b in (0.5, 1)])", ["beta-0.5", "beta-1"]),
        ("for key in models:\n    last = models[key]\nfigures.f(last)", ["conv16"]),
        ("x = {}\nfor key in models:\n    x[key] = models[key]\nfigures.f(x['b'])", ["conv16"]),
        ("x = {'y': 1}\nx |= {'z': one}\nfigures.f(x)", ["dense2"]),
        ("def walk(key):\n    return models[key].model\nfigures.f(walk('b'))", ["conv16"]),
        ("walk = lambda key: models[key]\nfigures.f(walk(key='b'))", ["conv16"]),
        ("def cost(z):\n    return one.model(z)\nfigures.f(cost)", ["dense2"]),
        ("fresh = build()\nfresh.load(one.model.state_dict())\nfigures.f(fresh)", ["dense2"]),
        ("figures.f(measurements.sampled(one.run.name, 'prior', seed=0))", ["dense2"]),
        ("figures.f(measurements.sampled('dense10', 'prior', seed=0))", ["dense10"]),
        ("figures.f(models[choose()])", ["conv16", "dense2"]),
        ("one = 3\nfigures.f(one)", []),
        ("figures.f(train.images)", []),
    ],
)
def test_names_are_followed_to_the_runs_they_come_from(code, runs):
    assert origin(code) == run(*runs)


def test_later_cells_know_the_names_of_earlier_ones():
    assert origin('one = runs.trained("dense2")', "figures.f(one)") == run("dense2")


def test_tables_count_like_runs():
    code = 'rows = measurements.measured("frozen")\ncodes, _ = measurements.embedded()\n'
    assert origin(code + "figures.f(rows)") == [("table", "frozen")]
    assert origin(code + "figures.f(codes)") == [("table", "embeddings")]


def test_constants_of_the_package_are_looked_up():
    code = 'models = {n: runs.trained(n) for n in measurements.EX_POST if n != "autoencoder16"}\n'
    assert origin(code + "figures.f(models)") == run("conv16-validated")


def test_each_film_has_its_runs():
    code = (
        'for name in ("beta-0.5", "beta-1"):\n    animation.filmed(name)\nwalks.walked("dense10")'
    )
    (_, calls) = lineage.drawn([IMPORTS, code])
    assert [call.names("run") for call in calls] == [["beta-0.5"], ["beta-1"], ["dense10"]]


def test_several_calls_of_a_cell_are_kept_apart():
    code = 'figures.f(runs.trained("dense2"))\nfigures.g(measurements.measured("sizes"))'
    (_, calls) = lineage.drawn([IMPORTS, code])
    assert [(one.function, one.names("run"), one.names("table")) for one in calls] == [
        ("figures.f", ["dense2"], []),
        ("figures.g", [], ["sizes"]),
    ]


# Of a few figures, chosen for how they come about, what a reader of the chapter would say.
KNOWN = {
    "fig-gradients": run("conv16"),
    "fig-schedules": run("conv16", "conv16-one-cycle"),
    "fig-validation": run("dense20-validated"),
    "fig-beta-curves": run("beta-0.1", "beta-0.5", "beta-1"),
    "fig-manifold": run("dense2"),
    "fig-projections": [("table", "embeddings")],
    "fig-corruptions": [],
    "fig-four-samples": run("conv16-validated", "autoencoder16"),
    "fig-traversal-4": run("dense10-beta-4"),
    "fig-class-accuracy": [("table", "classes")],
    "fig-rate-distortion": [("table", "latent-sizes"), ("table", "models")],
}


def test_the_books_figures_come_from_what_their_chapters_say():
    found = {}
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        for cell, calls in zip(cells, lineage.drawn(one.source for one in cells), strict=True):
            if name := cell.metadata.get("mystnb", {}).get("figure", {}).get("name"):
                found[name] = [sorted(call.origin) for call in calls]
    assert {name: found[name] for name in KNOWN} == {name: [one] for name, one in KNOWN.items()}
