"""Every page of the site: its HTML read through, then the page itself in a browser."""

import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup

import vae_helpers
from press import report
from press.settings import ROOT
from press.site import markup

HERE = "https://book.example/sub/"  # where the site is imagined while its links are followed
MEGABYTE = 1_000_000
PATIENCE = 120_000  # milliseconds that a page may take beside other checks


@pytest.fixture(scope="session")
def pages(site) -> dict[str, BeautifulSoup]:
    """Every page, by its path in the site, but for those that only lead to another."""
    paths = [path.relative_to(site) for path in site.rglob("*.html")]
    read = {
        path.as_posix(): BeautifulSoup((site / path).read_bytes(), "html.parser")
        for path in sorted(paths)
        if path.parts[0] != "_static"  # the theme's own
    }
    return {page: soup for page, soup in read.items() if not soup.select(REFRESH)}


REFRESH = "meta[http-equiv=refresh]"


# --- the HTML -----------------------------------------------------------------------------------


def test_every_link_and_picture_leads_somewhere(site, pages):
    ids = {page: {one["id"] for one in soup.select("[id]")} for page, soup in pages.items()}
    faults = []
    for page, soup in pages.items():
        for tag in soup.select("[href], [src]"):
            to, anchor = urldefrag(urljoin(HERE + page, tag.get("href") or tag.get("src")))
            if not to.startswith(HERE):
                if not (tag.name == "a" and _elsewhere(to)):
                    faults.append(f"{page}: {tag.name} leads to {to}")
                continue
            name = unquote(urlsplit(to).path).removeprefix(urlsplit(HERE).path) or "index.html"
            if not (site / name).is_file():
                faults.append(f"{page}: {tag.name} leads to {name}, which is no file")
            elif anchor and name in ids and unquote(anchor) not in ids[name]:
                faults.append(f"{page}: {name} has no #{unquote(anchor)}")
    assert not faults, "\n".join(faults)


def _elsewhere(address: str) -> bool:
    """Whether an address is a public one, and none of this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" and re.fullmatch(r"([\w-]+\.)+[a-z]+", parts.hostname or "")


def test_ids_are_unique_on_each_page(pages):
    for page, soup in pages.items():
        ids = [one["id"] for one in soup.select("[id]")]
        assert len(ids) == len(set(ids)), (page, {one for one in ids if ids.count(one) > 1})


def test_each_page_has_a_language_a_title_and_one_first_heading(pages):
    for page, soup in pages.items():
        assert soup.html["lang"] == "en", page
        assert soup.title.get_text(strip=True), page
        assert _levels(soup).count(1) == 1, page


def test_headings_skip_no_level(pages):
    for page, soup in pages.items():
        levels = _levels(soup)
        steps = [after - before for before, after in zip(levels, levels[1:], strict=False)]
        assert levels[0] == 1, page
        assert max(steps, default=1) <= 1, (page, levels)


def _levels(soup: BeautifulSoup) -> list[int]:
    """Those of the headings, but for the repeated title that the theme shows on paper only."""
    return [
        int(one.name[1])
        for one in soup.main.find_all(re.compile("^h[1-6]$"))
        if not one.find_parent(id="jb-print-docs-body")
    ]


def test_every_picture_says_what_it_shows(pages):
    for page, soup in pages.items():
        for image in soup.find_all("img"):
            alt = image.get("alt", "")
            assert len(alt.split()) >= 3, (page, image["src"], alt)
            assert not re.search(r"\.(png|gif|svg|webp)\b", alt), (page, alt)


def test_every_table_has_headers(pages):
    tables = [(page, table) for page, soup in pages.items() for table in soup.find_all("table")]
    assert tables
    for page, table in tables:
        named = [one for one in table.find_all("th") if one.get_text(strip=True)]
        assert named, (page, table.get_text(" ", strip=True)[:80])


@pytest.mark.parametrize("matrix", ["brief.html", "chapters/16_results.html"])
def test_the_matrix_leads_to_the_callout_of_each_requirement(pages, matrix):
    links = {urljoin(HERE + matrix, one["href"]) for one in pages[matrix].select("a[href]")}
    for id, one in report.brief(ROOT).items():
        page, anchor = f"chapters/{one['chapter']}.html", f"requirement-{id.replace('.', '-')}"
        assert f"{HERE}{page}#{anchor}" in links, id
        assert "requirement" in pages[page].find(id=anchor)["class"], id


def test_an_address_that_a_page_once_had_leads_to_it(site, pages):
    old = BeautifulSoup((site / "requirements.html").read_bytes(), "html.parser")
    (to,) = {old.select_one(REFRESH)["content"].split("url=")[1], old.a["href"]}
    assert to in pages


def test_every_export_of_the_library_has_an_entry_with_its_source(pages):
    entries = {one["id"]: one for one in pages["api.html"].select("dt[id]")}
    for name in vae_helpers.__all__:
        value = getattr(vae_helpers, name)
        if not hasattr(value, "__path__") and not inspect.ismodule(value):
            entry = entries[f"{value.__module__}.{value.__qualname__}"]
            (address,) = [one["href"] for one in entry.select("a") if "#L" in one["href"]]
            path, line = address.split("/blob/main/")[1].split("#L")
            text = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :][:3]
            assert any(re.match(rf"(def|class) {value.__name__}\b", one) for one in text), address


# --- the page in a browser ----------------------------------------------------------------------


@dataclass
class Visit:
    """What happened on one page in one guise."""

    complaints: list[str] = field(default_factory=list)  # errors on the console, uncaught errors
    requests: list[str] = field(default_factory=list)  # addresses
    width: int = 0  # pixels
    window: int = 0  # pixels
    math: int = 0  # rendered expressions
    math_errors: int = 0
    violations: list[str] = field(default_factory=list)  # axe: serious and critical ones


GUISES = {
    "desktop, light": {"viewport": {"width": 1300, "height": 900}, "color_scheme": "light"},
    "phone, dark": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "has_touch": True,
    },
}
# One rule is added to axe's own choice: a button's name is to contain the words seen on it. The
# words within code, most of a page's, are left to a test of their few colours.
AXE = """(where) => {
    window.found = axe.run(where, {
        resultTypes: ["violations"],
        preload: false,
        rules: {"label-content-name-mismatch": {enabled: true}},
    });
}"""
ALL = {"exclude": [[".highlight span"]]}
CODE = {"include": [[".highlight"]]}


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    found = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed")
    return found.AXE_SCRIPT


@pytest.fixture(scope="session")
def visits(browser, address, pages, axe) -> dict[tuple[str, str], Visit]:
    """Every page in every guise, answers unfolded, scrolled to its end and examined by axe."""
    contexts = {guise: browser.new_context(**how) for guise, how in GUISES.items()}
    for context in contexts.values():
        context.set_default_timeout(PATIENCE)
    made = {}
    for name in pages:
        open_pages = {}
        for guise, context in contexts.items():
            visit, page = made[name, guise], open_pages[guise] = Visit(), context.new_page()
            _listen(page, visit)
            page.goto(f"{address}/{name}")
            _settle(page)
            visit.width, visit.window = page.evaluate(
                "[document.documentElement.scrollWidth, innerWidth]"
            )
            visit.math = page.locator("mjx-container").count()
            visit.math_errors = page.locator("mjx-merror").count()
            # The whole book repeats the other pages, in minutes.
            if name != markup.WHOLE:
                page.evaluate(axe)
                page.evaluate(AXE, ALL)
        for guise, page in open_pages.items():  # each in a process of its own, at the same time
            if name != markup.WHOLE:
                made[name, guise].violations = _serious(page.evaluate("found"))
            page.close()
    for context in contexts.values():
        context.close()
    return made


def _listen(page, visit: Visit) -> None:
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on(
        "console",
        lambda said: visit.complaints.append(said.text) if said.type == "error" else None,
    )


def _settle(page) -> None:
    """Unfold what is folded, pass by everything once, and wait for what is to come."""
    page.evaluate(
        """async (patience) => {
            const settle = async () => {
                document.querySelectorAll("details").forEach((one) => (one.open = true));
                await window.MathJax?.startup?.promise;
                scrollTo(0, document.documentElement.scrollHeight);
                const images = [...document.images];
                await Promise.all(images.map((one) => one.decode().catch(() => null)));
                scrollTo(0, 0);
                // What is unfolded fades in: until then its colours are paler than they are.
                await Promise.all(document.getAnimations().map((one) => one.finished));
            };
            const late = new Error("equations, pictures or the end of a movement never came");
            const wait = (_, reject) => setTimeout(() => reject(late), patience);
            await Promise.race([settle(), new Promise(wait)]);
        }""",
        PATIENCE,
    )


def _serious(found) -> list[str]:
    return [
        f"{one['id']}: {node['html'][:150]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def test_no_page_complains(visits):
    faults = {key: visit.complaints for key, visit in visits.items() if visit.complaints}
    assert not faults


def test_nothing_comes_from_other_hosts(visits, address):
    for key, visit in visits.items():
        strange = [one for one in visit.requests if not one.startswith((address, "data:", "blob:"))]
        assert not strange, key


def test_no_page_scrolls_sideways(visits):
    wide = {key: visit.width for key, visit in visits.items() if visit.width > visit.window}
    assert not wide


def test_equations_are_rendered(visits, pages):
    assert any(soup.select(".math") for soup in pages.values())
    for (page, guise), visit in visits.items():
        assert visit.math_errors == 0, (page, guise)
        assert visit.math >= len(pages[page].select(".math")), (page, guise)


def test_axe_finds_nothing_serious(visits):
    faults = [f"{key}: {one}" for key, visit in visits.items() for one in visit.violations]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("guise", GUISES)
def test_code_is_readable_in_all_its_colours(visitor, address, axe, guise):
    page = visitor(**GUISES[guise])
    page.goto(f"{address}/chapters/03_loss.html")
    _settle(page)
    colours = page.evaluate(
        """[...document.querySelectorAll(".highlight span")]
            .map((one) => getComputedStyle(one).color)"""
    )
    assert len(set(colours)) > 5
    page.evaluate(axe)
    page.evaluate(AXE, CODE)
    assert not _serious(page.evaluate("found"))


def test_a_page_weighs_little_beyond_the_theme(visits, address, site):
    for (page, guise), visit in visits.items():
        if page == markup.WHOLE:
            continue
        own = {urlsplit(one).path for one in visit.requests if "/_static/" not in one}
        own = [site / path.removeprefix(urlsplit(address).path).strip("/") for path in own]
        weight = sum(path.stat().st_size for path in own if path.is_file())
        assert 0 < weight <= 2 * MEGABYTE, (page, guise)


# --- what a reader does -------------------------------------------------------------------------


@pytest.fixture(params=["http", "file"])
def home(request, address, site) -> str:
    """The site's address: on a server, and as a folder on disk."""
    return address if request.param == "http" else Path(site).as_uri()


@pytest.fixture
def visitor(browser):
    """A function that opens a browser window as described, closed when the test ends."""
    contexts = []

    def new_page(**how):
        contexts.append(browser.new_context(**how))
        return contexts[-1].new_page()

    yield new_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["index.html", "chapters/03_loss.html", "chapters/05_beta.html"])
def test_pages_work_from_a_folder_on_disk(visitor, site, name):
    page, visit = visitor(), Visit()
    _listen(page, visit)
    page.goto(f"{site.as_uri()}/{name}")
    _settle(page)
    assert not visit.complaints
    assert all(one.startswith(("file:", "data:")) for one in visit.requests)
    assert page.locator(".math").count() <= page.locator("mjx-container").count()
    broken = page.evaluate("[...document.images].filter((one) => !one.naturalWidth).length")
    assert broken == 0


def test_search_finds_a_page_for_a_word(visitor, home):
    page, visit = visitor(), Visit()
    _listen(page, visit)
    page.goto(f"{home}/index.html")
    page.keyboard.press("Control+K")
    page.keyboard.type("reparameterization")
    page.keyboard.press("Enter")
    found = page.locator("#search-results a", has_text="The model").first
    found.click()
    page.wait_for_url("**/chapters/02_model.html*")
    assert not visit.complaints


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_film_waits_for_its_button(visitor, address, motion):
    page, visit = visitor(reduced_motion=motion), Visit()
    _listen(page, visit)
    page.goto(f"{address}/chapters/05_beta.html")
    _settle(page)
    figures = page.locator("figure:has(.play)")
    assert figures.count() == 4
    assert not [one for one in visit.requests if one.endswith(".gif")]

    figure = figures.first
    still = figure.locator("img").get_attribute("alt")
    number = figure.locator(".caption-number").inner_text().strip()
    figure.get_by_role("button", name=f"Play film {number}").focus()
    page.keyboard.press("Enter")
    stop = figure.get_by_role("button", name=f"Stop film {number}")
    stop.wait_for()
    film = figure.locator("img")
    assert film.is_visible()
    assert film.get_attribute("alt") != still
    assert film.evaluate("one => one.currentSrc.endsWith('.gif') && one.naturalWidth > 0")
    assert len({one for one in visit.requests if one.endswith(".gif")}) == 1

    assert stop.evaluate("one => one === document.activeElement")
    page.keyboard.press("Enter")
    figure.get_by_role("button", name=f"Play film {number}").wait_for()
    assert figure.locator("img").get_attribute("alt") == still


@pytest.mark.parametrize(
    ("motion", "shown"), [("no-preference", "img.film"), ("reduce", "img.still")]
)
def test_without_scripts_a_film_plays_unless_motion_is_unwanted(visitor, address, motion, shown):
    page = visitor(reduced_motion=motion, java_script_enabled=False)
    page.goto(f"{address}/chapters/05_beta.html")
    figures = page.locator("figure:has(img.still)")
    assert figures.count() == 4
    for figure in figures.all():
        pictures = [one for one in figure.locator("img").all() if one.is_visible()]
        assert len(pictures) == 1
        assert pictures[0].get_attribute("class") == shown.removeprefix("img.")
    assert page.locator(".play").count() == 0


def test_a_chapter_prints_whole(visitor, address):
    page = visitor(viewport={"width": 800, "height": 1100})
    page.goto(f"{address}/chapters/05_beta.html")
    _settle(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = false))")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for aside in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".play"):
        assert not any(one.is_visible() for one in page.locator(aside).all()), aside
    article = page.locator("article.bd-article").bounding_box()
    assert article["width"] >= 0.9 * 800
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    for image in page.locator("article img").all():
        if image.is_visible():
            assert image.bounding_box()["width"] <= article["width"]
    answers = page.locator("details")
    assert answers.count() >= 2
    assert all(one.locator("pre").first.is_visible() for one in answers.all())
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0

    printed = page.pdf()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 1
