"""The page in a real browser: it asks for nothing, runs nothing that a model says, and its filters work."""

import shutil

import numpy as np
import pytest

from sightweave.core.report import gallery
from sightweave.core.report.page import Page, write_report
from sightweave.core.types import Medium, Prediction
from sightweave.data.tasks import captioning, vqa
from sightweave.programs.evaluation.program import evaluate

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="not run: no Chromium")

ATTACKS = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "<svg onload=\"document.title='owned'\"><a href=\"javascript:document.title='owned'\">",
    "<link rel=stylesheet href=//example.org/x.css><iframe src=//example.org></iframe>",
    '"\' onmouseover="document.title=\'owned\'" style="background:url(//example.org/y)"',
)


def pixels(number: int) -> np.ndarray:
    picture = np.full((48, 64, 3), 235, np.uint8)
    picture[10:30, 5 + number % 30 : 25 + number % 30] = (40 * (number % 6), 90, 160)
    return picture


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A report on 36 pictures by a predictor that is right on two in three, and hostile where it is wrong."""
    ask, tell = vqa.Config().build(), captioning.Config().build()
    samples = []
    for n in range(36):
        medium = Medium(pixels(n), f"picture {n}")
        for kind in ("hue", "place"):
            samples.append(
                ask.sample(
                    vqa.Record(
                        id=f"{n}/{kind}",
                        images=(medium,),
                        question=f"{kind}?",
                        answers=(f"{n % 6}",),
                        tags={"type": kind},
                    )
                )
            )
        samples.append(
            tell.sample(
                captioning.Record(id=f"{n}/c", images=(medium,), captions=(f"A block of hue {n % 6}.",))
            )
        )

    def predict(asked):
        said = []
        for n, sample in enumerate(asked):
            is_own = bool(sample.media) and sample.media[0].key == sample.group
            said.append(
                Prediction(
                    sample.references[0] if is_own and (n // 3) % 3 else ATTACKS[n % len(ATTACKS)], -0.2, 3
                )
            )
        return said

    found = evaluate(samples, predict, split=ATTACKS[0])
    rows = gallery.choose(list(found.predictions()), limit=40)
    history = [
        {"step": n, "stage": ATTACKS[n // 30], "loss": 3 - n / 30, "lr": 1e-3, "grad_norm": 1.0}
        for n in range(60)
    ]
    page = Page(
        title=ATTACKS[1],
        facts={"seed": 0, "attack": ATTACKS[2]},
        recipe=ATTACKS[3],
        history=history,
        evaluations=[found.to_json()],
        gallery=rows,
        pictures={f"picture {n}": pixels(n) for n in range(36)},
        notes=[ATTACKS[4]],
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, page)
    return path


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="not run: no Playwright")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield found
        found.close()


@pytest.fixture
def opened(browser, path):
    """The page, with every request, message and error that it caused."""

    def open_page(**settings):
        context = browser.new_context(**settings)
        page = context.new_page()
        page.seen = {"requests": [], "messages": []}
        page.on("request", lambda request: page.seen["requests"].append(request.url))
        page.on("console", lambda message: page.seen["messages"].append(message.text))
        page.on("pageerror", lambda error: page.seen["messages"].append(str(error)))
        page.goto(path.as_uri())
        contexts.append(context)
        return page

    contexts = []
    yield open_page
    for context in contexts:
        context.close()


def shown(page) -> int:
    return page.locator(".card:visible").count()


def test_it_asks_for_nothing_and_runs_nothing_that_was_said(opened, path):
    page = opened()
    page.wait_for_timeout(200)
    assert [url for url in page.seen["requests"] if not url.startswith("data:")] == [path.as_uri()]
    assert page.seen["messages"] == []  # the policy refused nothing, so there was nothing to refuse
    assert "owned" not in page.title().replace(ATTACKS[1], "")
    assert page.title() == ATTACKS[1]
    assert page.locator("h1").inner_text() == ATTACKS[1]
    assert page.locator("script").count() == 1
    assert page.locator("iframe, [onerror], [onload], [onmouseover], [style]").count() == 0
    said = page.locator(".card .answer").all_text_contents()
    assert any(attack in said for attack in ATTACKS)
    assert ATTACKS[0] in page.locator(".headline .split").first.text_content()


def test_the_policy_stops_a_script_that_got_in(opened):
    page = opened()
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.body.append(script);
            const image = document.createElement("img");
            image.src = "https://example.org/x.png";
            document.body.append(image);
        }"""
    )
    page.wait_for_timeout(100)
    assert page.title() == ATTACKS[1]
    assert len(page.seen["messages"]) == 2
    assert all("Content Security Policy" in message for message in page.seen["messages"])


def test_every_picture_is_there(opened):
    page = opened()
    page.locator(".more").click()
    loaded = page.evaluate("Array.from(document.images).map((i) => i.complete && i.naturalWidth > 0)")
    assert len(loaded) >= 40
    assert all(loaded)


def test_filters_show_what_they_say(opened):
    page = opened()
    assert shown(page) == 12
    assert page.locator("output").inner_text() == "40 of 40 answers"
    page.locator(".more").click()
    assert shown(page) == 40
    page.select_option("[name=right]", "no")
    assert set(page.locator(".card:visible > header .mark").all_inner_texts()) == {"\u2717 wrong"}
    page.select_option("[name=task]", "vqa")
    page.select_option("[name=type]", "hue")
    kinds = set(page.locator(".card:visible .kind").all_inner_texts())
    assert kinds == {"vqa / hue"}
    count = int(page.locator("output").inner_text().split()[0])
    assert 0 < count < 40
    assert shown(page) == min(count, 12)
    page.select_option("[name=task]", "captioning")  # the type of another task is let go
    assert page.locator("[name=type]").input_value() == ""
    assert set(page.locator(".card:visible .kind").all_inner_texts()) == {"captioning / caption"}


def test_nothing_runs_over_the_edge(opened):
    page = opened()
    for width in (360, 400, 768, 901, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark_can_both_be_read(opened):
    colors = """() => {
        const parse = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
        const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (element) => {
            const found = getComputedStyle(element).backgroundColor;
            return found.endsWith(", 0)") ? behind(element.parentElement) : parse(found);
        };
        const texts = "h1, .small, .mark, .kind, .answer, a, dt, dd, td, th, label, .verdict strong";
        return Array.from(document.querySelectorAll(texts))
            .map((e) => [light(parse(getComputedStyle(e).color)), light(behind(e))])
            .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
    }"""
    papers = []
    for scheme in ("light", "dark"):
        page = opened(color_scheme=scheme)
        assert min(page.evaluate(colors)) >= 4.5  # WCAG 2 AA for text
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers[0] != papers[1]


def test_it_prints_without_controls(opened):
    page = opened(viewport={"width": 718, "height": 1000})  # A4 less a centimetre on each side
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.locator(".filters").is_hidden()
    assert page.locator("h1").is_visible()


def test_it_reads_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert shown(page) == 40
    assert page.locator(".filters").is_hidden()
