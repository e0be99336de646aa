import hashlib
import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from PIL import Image

from press import report
from press.book import Book, open_book
from press.drawing import described
from press.errors import RequirementError
from press.files import hardware
from press.report import MIME, finding, table
from press.settings import ROOT


@pytest.fixture
def shown(monkeypatch):
    """The outputs that a notebook would get, each a dict from MIME type to content."""
    outputs = []
    monkeypatch.setattr(report, "display", lambda data, raw: outputs.append(data))
    return outputs


# --- the chapter's switch ----------------------------------------------------------------------


def test_opening_the_book_retrains_only_when_asked_says_on_what_and_can_be_taken_back(
    shown, monkeypatch
):
    monkeypatch.setenv("VAE_DEVICE", "cpu")
    assert not open_book().settings.retrain
    assert shown == []
    assert open_book(retrain=True).settings.retrain
    assert f"trained here, on {hardware('cpu')}" in shown[0]["text/markdown"]
    assert not open_book(retrain=False).settings.retrain


# --- requirements ------------------------------------------------------------------------------

EVIDENCE = {"test images": 10_000, "batch": 128}
BRIEF = report.brief(ROOT)


@pytest.fixture
def requirement(settings):
    """Shows a callout under settings with these changes."""

    def show_it(id, evidence, passed, **changes):
        now = replace(settings, **changes)
        Book(now).requirement(id, evidence=evidence, passed=passed)

    return show_it


def test_passed_requirement_shows_its_text_and_evidence(shown, requirement):
    requirement("4.2", evidence=EVIDENCE, passed=True)
    (output,) = shown
    assert 'class="requirement passed" id="requirement-4-2"' in output["text/html"]
    assert "Requirement 4.2, satisfied." in output["text/html"]
    assert html.escape(BRIEF["4.2"]["text"]) in output["text/html"]
    assert "<li><strong>test images:</strong> 10000</li>" in output["text/html"]
    assert output["text/plain"] == "requirement 4.2: satisfied"
    assert output[MIME] == {
        "requirement": "4.2",
        "status": "passed",
        "mark": "✓",
        "words": "satisfied",
        "evidence": {"test images": "10000", "batch": "128"},
    }


@pytest.mark.parametrize("passed", [False, np.bool_(False), 0, None])
def test_failed_requirement_raises_with_its_evidence_and_shows_nothing(shown, requirement, passed):
    with pytest.raises(RequirementError, match="4.5 is not satisfied .*test images: 10000; batch"):
        requirement("4.5", evidence=EVIDENCE, passed=passed)
    assert shown == []


@pytest.mark.parametrize("passed", [True, False])
def test_smoke_run_assesses_nothing(shown, requirement, passed):
    requirement("4.5", evidence=EVIDENCE, passed=passed, profile="smoke")
    (output,) = shown
    assert "requirement unassessed" in output["text/html"]
    assert "not assessed" in output["text/plain"]
    assert "satisfied" not in output["text/html"].replace(BRIEF["4.5"]["text"], "")


@pytest.mark.parametrize(
    ("passed", "status", "words"),
    [(True, "passed", "satisfied"), (False, "failed", "not met by this retrained run")],
)
def test_retrained_run_says_whether_it_falls_short(shown, requirement, passed, status, words):
    requirement("4.5", evidence=EVIDENCE, passed=passed, retrain=True)
    (output,) = shown
    assert f"requirement {status}" in output["text/html"]
    assert output["text/plain"] == f"requirement 4.5: {words}"


def test_unknown_requirement_is_refused(shown, requirement):
    with pytest.raises(KeyError, match=r"9\.9"):
        requirement("9.9", evidence=EVIDENCE, passed=True)
    assert shown == []


def test_evidence_is_shown_as_text_not_as_html(shown, requirement):
    requirement("4.2", evidence={"<b>&": '<script>"x"</script>'}, passed=True)
    callout = shown[0]["text/html"]
    assert "<b>" not in callout
    assert "<script" not in callout
    assert html.unescape(re.search(r"<li>.*</li>", callout)[0]) == (
        '<li><strong><b>&:</strong> <script>"x"</script></li>'
    )


def test_every_listed_requirement_names_a_chapter_and_says_what_it_asks():
    for id, entry in BRIEF.items():
        assert isinstance(id, str)
        assert re.fullmatch(r"\d\d_\w+", entry["chapter"])
        assert entry["text"].endswith(".")


# --- figures -----------------------------------------------------------------------------------


def figure(content="x", size=(4, 3)):
    fig = Figure(figsize=size)
    axes = fig.add_subplot()
    axes.plot([0, 1], [1, 0])
    axes.set_xlabel(content)
    return fig


@pytest.fixture
def show(settings):
    """Shows a figure under settings with these changes."""
    return lambda drawn, of=(), **changes: Book(replace(settings, **changes)).show(drawn, of)


def pixels(output):
    return np.asarray(Image.open(io.BytesIO(output["image/png"])).convert("RGB")).astype(int)


@pytest.mark.parametrize("content", ["", "x", "a label far wider than the figure " * 9])
@pytest.mark.parametrize("size", [(4, 3), (7.5, 2.4)])
def test_picture_has_the_figures_size_whatever_it_holds(shown, show, content, size):
    show(figure(content, size))
    height, width, _ = pixels(shown[0]).shape
    assert (width, height) == (round(100 * size[0]), round(100 * size[1]))
    words = shown[0][MIME]["shows"]["words"]
    assert re.fullmatch("[0-9a-f]{16}", words)
    assert shown[0]["text/plain"] == f"figure, {size[0]:g} × {size[1]:g} in, shows {words}"


def test_same_figure_makes_the_same_bytes(shown, show):
    once = figure()
    show(once)
    show(figure())
    show(once)
    assert shown[0] == shown[1]
    assert shown[0] == shown[2]


def test_picture_holds_no_trace_of_the_library_that_made_it(shown, show):
    show(figure())
    assert b"matplotlib" not in shown[0]["image/png"].lower()


def test_every_figure_is_signed_in_its_lower_right_corner(shown, show):
    for author in ("Ada Lovelace", "Grace Hopper"):
        show(figure(), author=author)
    rows, columns = np.nonzero(np.abs(pixels(shown[0]) - pixels(shown[1])).sum(2) > 60)
    assert len(rows) > 0
    assert rows.min() > 280
    assert columns.min() > 300


@pytest.mark.parametrize(
    "author",
    ["$", "A$AP $", r"$\frac{1}$", r"\alpha_{", 'O\'Brien "Bob"', "Žofie Ødegård", "100 % & <b>"],
)
def test_any_name_can_sign(shown, show, author):
    show(figure(), author=author)
    show(figure(), author=" ")
    assert (pixels(shown[0]) != pixels(shown[1])).any()


def test_smoke_run_is_marked_across_every_figure(shown, show):
    show(figure())
    show(figure(), profile="smoke")
    rows, columns = np.nonzero(np.abs(pixels(shown[0]) - pixels(shown[1])).sum(2) > 60)
    assert columns.max() - columns.min() > 200
    assert rows.min() < 150 < rows.max()


def test_a_figure_carries_what_draws_it_and_from_what(shown, show, book):
    from vae_helpers import figures

    one = book.experiment("dense2")
    drawn = figures.manifold(torch.zeros(4, 1, 28, 28))
    show(drawn, of=[one, "samples", one, "models"])
    assert shown[0][MIME] == {
        "figure": "figures.manifold",
        "of": {"runs": ["dense2"], "tables": ["models", "samples"]},
        "shows": described(drawn),
        "png": hashlib.sha256(shown[0]["image/png"]).hexdigest()[:16],
    }


def test_who_signs_a_figure_is_no_part_of_what_it_shows(shown, show):
    show(figure(), author="Ada Lovelace")
    show(figure(), author="Grace Hopper", profile="smoke")
    assert shown[0][MIME]["shows"] == shown[1][MIME]["shows"]
    assert shown[0][MIME]["png"] != shown[1][MIME]["png"]


# --- text --------------------------------------------------------------------------------------


def test_finding_shows_its_sentence_as_markdown(shown):
    finding("KL is **12.30** nats at $\\beta = 1$.")
    sentence = "KL is **12.30** nats at $\\beta = 1$."
    assert shown == [{"text/markdown": sentence, "text/plain": sentence}]


def test_a_finding_carries_the_facts_that_other_pages_repeat(shown):
    finding("All are met.", {"published_met": "10 of 10"})
    assert shown[0][MIME] == {"facts": {"published_met": "10 of 10"}}


def test_table_is_markdown_with_one_line_a_row(shown):
    table(["class", "images"], [["Shirt", 6000], ["Bag", 5999]])
    assert shown[0]["text/markdown"].splitlines() == [
        "| class | images |",
        "| --- | ---: |",
        "| Shirt | 6000 |",
        "| Bag | 5999 |",
    ]


@pytest.mark.parametrize(
    ("column", "aligned"),
    [
        ([1, 2.5], "---:"),
        (["-1", "+2", "−3"], "---:"),
        (["241.98 ± 0.87", ""], "---:"),
        (["1", "none"], "---"),
        (["Shirt", "Bag"], "---"),
    ],
)
def test_columns_of_numbers_are_aligned_right(shown, column, aligned):
    table(["head"], [[cell] for cell in column])
    assert shown[0]["text/markdown"].splitlines()[1] == f"| {aligned} |"


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        ("|z| < 3", "|z| < 3"),
        ("KL(q || p)", "KL(q || p)"),
        (r"already \| escaped", "already | escaped"),
        ("two\nlines", "two lines"),
        ("|", "|"),
    ],
)
def test_no_cell_can_break_the_table(shown, cell, read):
    table([cell, "n"], [[cell, 1], ["x", 2]])
    rendered = MarkdownIt().enable("table").render(shown[0]["text/markdown"])
    found = [html.unescape(text) for text in re.findall(r"<t[hd][^>]*>(.*)</t[hd]>", rendered)]
    assert found == [read, "n", read, "1", "x", "2"]
