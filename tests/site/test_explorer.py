"""The latent explorer in a real browser: it decodes as PyTorch does, and every control answers."""

from urllib.parse import urlsplit

import pytest
import torch

from press.checkpoints import checkpoint_path, load
from press.experiments import codes
from press.runs import RUNS
from press.settings import read
from vae_helpers import latent
from vae_helpers.files import load_tensors

DECODE = """async ([run, latents, labels]) => {
  const model = await explorer.load(run);
  return latents.map((z, i) => Array.from(explorer.decode(model, z, labels?.[i])));
}"""
GREYS = """canvas => Array.from(canvas.getContext("2d").getImageData(0, 0, 28, 28).data)
  .filter((_, i) => i % 4 === 0)"""
BOOK = read({})
PARTS = ("map", "between", "ten", "class", "frozen")


@pytest.fixture
def explore(browser, site, address):
    """A function that opens the page, on the server or from the disk, and watches it."""
    contexts = []

    def visit(disk=False, before=lambda page: None, **options):
        options = {"viewport": {"width": 1300, "height": 900}} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.errors, page.requested = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda said: page.errors.append(said.text) if is_bad(said) else None)
        page.on("request", lambda request: page.requested.append(request.url))
        before(page)
        page.goto((site / "explorer.html").as_uri() if disk else f"{address}/explorer.html")
        return page

    yield visit
    for context in contexts:
        context.close()


def is_bad(said):
    return said.type in ("error", "warning")


def begun(page, *parts):
    """Bring parts of the page into view and wait until they have loaded their decoders."""
    for part in parts or PARTS:
        page.locator(f"#explorer-{part}").scroll_into_view_if_needed()
        page.wait_for_function(
            """part => {
              const text = document.querySelector(`#explorer-${part} .readout`).textContent;
              return text && !text.startsWith("Loading");
            }""",
            arg=part,
        )
    drawn(page)


def drawn(page):
    """Wait until what was asked for has been drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page, selector):
    drawn(page)
    return page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


def readout(page, part):
    drawn(page)
    return page.locator(f"#explorer-{part} .readout").inner_text()


def place(page, part, across, down):
    """Where in the window a share of the way across and down a part's pad lies."""
    pad = page.locator(f"#explorer-{part} .pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def trained(name):
    """A model of the book; no data is needed to load it here."""
    return load(checkpoint_path(name, BOOK), RUNS[name], BOOK).model


# --- the decoders -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", codes.RUNS)
def test_every_pixel_is_pytorchs(explore, name):
    model = trained(name)
    latents = latent.frozen(40, model.latent, 1.5, seed=0)
    labels = torch.arange(len(latents)) % model.classes if model.classes else None
    arguments = [name, latents.tolist(), None if labels is None else labels.tolist()]
    here = torch.tensor(explore().evaluate(DECODE, arguments))
    assert (here - latent.decode(model, latents, labels).flatten(1)).abs().max() <= 1e-3


def test_decoding_is_fast_enough_to_follow_a_hand(explore):
    seconds = explore().evaluate("""async () => {
      const model = await explorer.load("dense10");
      const start = performance.now();
      for (let i = 0; i < 100; i++) explorer.decode(model, Array(10).fill(i / 100));
      return (performance.now() - start) / 1000;
    }""")
    assert 100 / seconds >= 30


@pytest.mark.parametrize(
    ("run", "z", "label", "message"),
    [
        ("dense10", [0, 0], None, "dense10 has 10 latent dimensions, not 2"),
        ("conditional2", [0, 0], None, "conditional2 needs a label from 0 to 9"),
        ("conditional2", [0, 0], 10, "conditional2 needs a label from 0 to 9"),
    ],
)
def test_a_wrong_latent_or_label_is_refused(explore, run, z, label, message):
    with pytest.raises(Exception, match=message):
        explore().evaluate(DECODE, [run, [z], [label]])


# --- the page -----------------------------------------------------------------------------------


@pytest.mark.parametrize("disk", [False, True])
def test_the_page_works_from_server_and_disk_on_its_own(explore, disk):
    page = explore(disk)
    begun(page)
    assert page.errors == []
    assert len({urlsplit(url).netloc for url in page.requested}) == 1
    for selector in (".garment", ".strip", ".samples"):
        blank = "canvas => !canvas.getContext('2d').getImageData(0, 0, 28, 28).data.some(x => x)"
        assert not any(one.evaluate(blank) for one in page.locator(selector).all())


def test_decoders_are_fetched_when_they_come_into_view_and_on_this_page_alone(explore, site):
    page = explore()
    begun(page, "map")
    fetched = {url.rsplit("/", 1)[1] for url in page.requested}
    assert fetched & {f"{run}.js" for run in codes.RUNS} == {"dense2.js"}
    assert "explorer.js" not in (site / "index.html").read_text(encoding="utf-8")


def test_a_decoder_that_cannot_be_had_is_named(explore):
    page = explore(before=lambda page: page.route("**/dense2.js", lambda route: route.abort()))
    begun(page, "map")
    assert readout(page, "map") == "explorer/dense2.js could not be loaded; try to reload the page"


@pytest.mark.parametrize("off", ["javascript", "screen"])
def test_a_picture_stands_in_without_javascript_and_on_paper(explore, off):
    page = explore(java_script_enabled=off != "javascript")
    page.emulate_media(media="print" if off == "screen" else None)
    assert page.locator(".explorer-still img").is_visible()
    assert len(page.locator(".explorer-still img").get_attribute("alt")) > 100
    assert not page.locator("#explorer-map").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_in_the_page_is_hard_to_access(explore, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = explore(color_scheme=scheme)
    begun(page)
    found = axe.run(page).response["violations"]
    assert [one for one in found if one["impact"] in ("serious", "critical")] == []


def test_nothing_is_wider_than_a_phone(explore):
    page = explore(viewport={"width": 390, "height": 844}, has_touch=True)
    begun(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


# --- its parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["map", "class"])
def test_pointer_and_arrow_keys_move_the_cross(explore, part):
    page = explore()
    begun(page, part)
    shown = picture(page, f"#explorer-{part} .garment")
    page.mouse.move(*place(page, part, 0.5, 0.5))  # without a click
    assert "z = (0.00, 0.00)" in readout(page, part)
    assert picture(page, f"#explorer-{part} .pad") != ""
    middle = picture(page, f"#explorer-{part} .garment")
    page.locator(f"#explorer-{part} .pad").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert "z = (0.10, −0.50)" in readout(page, part)
    moved = picture(page, f"#explorer-{part} .garment")
    assert moved != middle
    assert (shown == middle) == (part == "class")  # where it starts


def test_a_finger_moves_the_cross_and_not_the_page(explore):
    page = explore(viewport={"width": 390, "height": 844}, has_touch=True)
    begun(page, "map")
    start, end = place(page, "map", 0.5, 0.3), place(page, "map", 0.8, 0.55)
    before, scrolled = picture(page, "#explorer-map .garment"), page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)
    for kind, points in (("Start", [start]), ("Move", [end]), ("End", [])):
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": y} for x, y in points]},
        )
    assert readout(page, "map").endswith("nearest test image: Trouser")
    assert picture(page, "#explorer-map .garment") != before
    assert page.evaluate("scrollY") == scrolled


def test_a_drag_from_garment_to_garment_interpolates(explore):
    page = explore()
    begun(page, "between")
    before = picture(page, "#explorer-between .strip")
    assert readout(page, "between").startswith("from Ankle boot to Trouser")
    start, end = place(page, "between", 0.87, 0.52), place(page, "between", 0.15, 0.5)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end)
    page.mouse.up()
    page.mouse.move(*start)  # the drag is over
    assert readout(page, "between") == "from Trouser to Bag, t = 0.50"
    assert page.locator("#explorer-a option:checked").inner_text() == "Trouser on the map"
    assert picture(page, "#explorer-between .strip") != before


def test_garments_are_chosen_and_walked_between_without_a_pointer(explore):
    page = explore()
    begun(page, "between")
    page.locator("#explorer-a").select_option("Coat")
    page.locator("#explorer-b").select_option("Coat")
    assert readout(page, "between").startswith("from Coat to Coat")
    same = picture(page, "#explorer-between .garment")
    page.locator("#explorer-b").select_option("Sneaker")
    page.locator("#explorer-t").focus()
    page.keyboard.press("Home")
    assert readout(page, "between") == "from Coat to Sneaker, t = 0.00"
    assert picture(page, "#explorer-between .garment") == same
    page.keyboard.press("End")
    assert picture(page, "#explorer-between .garment") != same


def test_each_slider_moves_its_dimension_and_reset_takes_it_back(explore):
    page = explore()
    begun(page, "ten")
    before = picture(page, "#explorer-ten .garment")
    assert page.locator("#explorer-ten .slider").count() == 10
    for slider in page.locator("#explorer-ten .slider input").all():
        slider.focus()
        page.keyboard.press("End")
        assert picture(page, "#explorer-ten .garment") != before
        assert slider.get_attribute("aria-valuetext") == "3.00 standard deviations"
        page.get_by_role("button", name="Reset").click()
        assert picture(page, "#explorer-ten .garment") == before


def test_beta_changes_the_model_and_sliders_come_by_their_kl(explore):
    page = explore()
    begun(page, "ten")
    shown = {}
    for name in codes.TEN:
        page.locator("#explorer-beta").select_option(name)
        beta = f"β = {RUNS[name].beta:g}"
        page.wait_for_function(
            "text => document.querySelector('#explorer-ten .readout').textContent.endsWith(text)",
            arg=beta,
        )
        shown[picture(page, "#explorer-ten .garment")] = name
        labels = page.locator("#explorer-ten .slider label").all_inner_texts()
        kl = [float(label.split(", ")[1].removesuffix(" nats")) for label in labels]
        assert kl == sorted(kl, reverse=True)
    assert len(shown) == 3


def test_a_garment_to_start_from_is_shown_beside_what_is_decoded(explore):
    page = explore()
    begun(page, "ten")
    stored, head = load_tensors(codes.codes_path(BOOK))
    for label, name in enumerate(head["classes"]):
        page.locator("#explorer-start").select_option(name)
        shown = page.locator("#explorer-ten .source canvas").evaluate(GREYS)
        assert shown == stored["dense10.images"][label].flatten().tolist()
        scores = page.locator("#explorer-ten .slider input").evaluate_all(
            "all => Object.fromEntries(all.map(x => [x.id.replace('explorer-z', ''), +x.value]))"
        )
        code = stored["dense10.codes"][label].float()
        wanted = (code - stored["dense10.mean"].float()) / stored["dense10.deviation"].float()
        found = torch.tensor([scores[str(dimension)] for dimension in range(10)])
        torch.testing.assert_close(found, wanted, atol=0.026, rtol=0)  # half a step of a slider
    page.locator("#explorer-start").select_option("mean")
    assert not page.locator("#explorer-ten .source").is_visible()
    values = page.locator("#explorer-ten .slider input").evaluate_all(
        "all => all.map(x => +x.value)"
    )
    assert values == [0] * 10


def test_the_class_picker_drives_the_conditional_decoder(explore):
    page = explore()
    begun(page, "class")
    shown = set()
    for name in ("T-shirt/top", "Sneaker", "Bag"):
        page.get_by_role("radio", name=name).check()
        assert readout(page, "class") == f"{name}, z = (0.00, 0.00)"
        shown.add(picture(page, "#explorer-class .garment"))
    assert len(shown) == 3
    page.keyboard.press("ArrowRight")  # as in any group of radio buttons
    assert readout(page, "class").startswith("Ankle boot")


TILES = """canvas => Array.from({ length: 12 }, (_, i) =>
  canvas.getContext("2d").getImageData(28 * (i % 6), 28 * Math.floor(i / 6), 28, 28).data.join())"""


def test_sigma_freezes_the_latents_and_noise_stays(explore):
    page = explore()
    begun(page, "frozen")
    samples, sigma = page.locator("#explorer-frozen .samples"), page.locator("#explorer-sigma")
    before = samples.evaluate(TILES)
    assert len(set(before)) == 12
    sigma.fill("0")
    drawn(page)
    assert len(set(samples.evaluate(TILES))) == 1
    sigma.fill("1")
    drawn(page)
    assert samples.evaluate(TILES) == before
    page.get_by_role("button", name="New draw").click()
    assert readout(page, "frozen") == "σ = 1.00, draw 2"
    assert not set(before) & set(samples.evaluate(TILES))


def test_moves_are_said_once_they_are_over(explore):
    page = explore()
    begun(page, "map")
    page.evaluate("""() => {
      window.said = [];
      const region = document.querySelector("#explorer-map [role=status]");
      const heard = new MutationObserver(() => said.push(region.textContent));
      heard.observe(region, { childList: true });
    }""")
    page.locator("#explorer-map .pad").focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("window.said.length > 0")
    assert page.evaluate("window.said") == [readout(page, "map")]
