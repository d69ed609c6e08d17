"""The pages in a real browser: they ask for nothing, run nothing that a model says, and their filters work."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from sightweave.core.types import Medium, Prediction
from sightweave.data.inputs.image_files import load
from sightweave.data.tasks import captioning, image_translation, vqa
from sightweave.pages import compared, costs, gallery
from sightweave.pages.beside import write_beside
from sightweave.pages.check import write_check
from sightweave.pages.difference import difference
from sightweave.pages.page import Page, write_report
from sightweave.programs.evaluation import scores
from sightweave.programs.evaluation.beside import beside
from sightweave.programs.evaluation.program import evaluate
from sightweave.programs.evaluation.scores import Evaluation

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


CONTROLS = (
    "no_image",
    "shuffled_image",
    "blank_image",
    "jpeg_30",
    "blurred",
    "cropped",
    "brighter",
    "rotated",
)


def asked() -> list:
    """Two questions and a caption on each of 36 pictures."""
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
    return samples


def answering(wrong: int):
    """A predictor that is wrong on one picture in so many, and hostile there; a bit surer where it is right."""

    def predict(samples, texts, *, write):
        said = []
        for n, sample in enumerate(samples):
            is_own = bool(sample.media) and sample.media[0].key == sample.group
            is_right = is_own and (n // 3) % wrong != 0
            text = sample.references[0] if is_right else ATTACKS[n % len(ATTACKS)]
            said.append(Prediction(text, -0.1 - 0.01 * (n % 7) - 0.05 * (not is_right), 3))
        return said

    return predict


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """Two in three pictures are answered right; read back from JSON, as a report gets it."""
    samples = asked()
    done = evaluate(samples, answering(3), split=ATTACKS[0], train=samples, controls=CONTROLS)
    rows = json.loads(json.dumps(list(done.predictions())))
    return Evaluation.from_json(json.loads(json.dumps(done.to_json())), rows)


@pytest.fixture(scope="module")
def path(tmp_path_factory, found):
    """A report on that evaluation."""
    rows = gallery.choose(list(found.predictions()), limit=40)
    history = [
        {"step": n, "stage": ATTACKS[n // 30], "loss": 3 - n / 30, "lr": 1e-3, "grad_norm": 1.0}
        for n in range(60)
    ]
    page = Page(
        title=ATTACKS[1],
        facts={
            "seed": 0,
            "attack": ATTACKS[2],
            "template": "vqa: {question}\n" * 3,
            "versions": {"torch": "2.6"},
        },
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
def beside_path(tmp_path_factory, found):
    """That evaluation beside one of a model that is wrong on other pictures."""
    other = evaluate(asked(), answering(4), split=ATTACKS[0], controls=())
    both = beside([found], [other], names=("run A", ATTACKS[1]))
    path = tmp_path_factory.mktemp("beside") / "beside.html"
    rows = gallery.choose(list(both.rows()), limit=40, by="kind")
    pictures = {f"picture {n}": pixels(n) for n in range(36)}
    write_beside(path, ATTACKS[1], both.to_json(), rows, pictures, {"data": ATTACKS[2]})
    return path


@pytest.fixture(scope="module")
def compared_path(tmp_path_factory):
    """Five compositions with long names on twelve columns of scores, and hostile words everywhere."""
    drawn = [
        costs.Point(
            name=f"{ATTACKS[0]} {n}",
            cost=n,
            least_cost=n,
            most_cost=n + 1,
            score=9.0 * n,
            low=8.0 * n,
            high=10.0 * n,
        )
        for n in range(1, 6)
    ]
    heads = [
        "model.fusion",
        ATTACKS[4],
        "steps",
        *(f"captioning (combinations, met pairs {n}), %" for n in range(12)),
    ]
    rows = [
        [f"cross_attention {n}", ATTACKS[1], "2000 to 2600", *["75.0 (70.0 to 80.0)"] * 12] for n in range(5)
    ]
    page = compared.ComparedPage(
        title=ATTACKS[1],
        lead=ATTACKS[2],
        tables=[compared.Table(title="Scores", heads=heads, rows=rows, words=2, note=ATTACKS[3])],
        panels=[costs.panel(ATTACKS[0], drawn, cost="minutes of training", score="%")],
        notes=[ATTACKS[4]],
        facts={"settings": "model.fusion=" + "x" * 300, "recipe": ATTACKS[2]},
    )
    path = tmp_path_factory.mktemp("compared") / "comparison.html"
    compared.write_compared(path, page)
    return path


@pytest.fixture(scope="module")
def check_path(tmp_path_factory):
    """What a check of a folder found, in words as long and as hostile as names of files may be."""
    label = {
        "count": 240,
        "distinct": 12,
        "commonest": [(ATTACKS[0], 60)],
        "top_share": 0.25,
        "majority": 0.25,
        "text_only": 0.375,
    }
    example = {"message": ATTACKS[1] + "/long" * 60, "file": "x" * 200 + ".csv", "line": 7, "picture": "p"}
    finding = {
        "code": "image_missing",
        "severity": "error",
        "count": 12,
        "examples": [example] * 5,
        "advice": ATTACKS[3],
    }
    found = {
        "path": ATTACKS[1],
        "kind": "table",
        "may_train": False,
        "verdict": f"Training should not start: {ATTACKS[2]}.",
        "rows": 24_000,
        "good_rows": 23_988,
        "passed_over": 0,
        "pictures": 120,
        "records": {"vqa": 240},
        "splits": {ATTACKS[0]: 240},
        "languages": {"en": 240},
        "labels": {"": label, ATTACKS[4]: label},
        "provenance": [],
        "lengths": "length plan: " + "0123456789 " * 30,
        "findings": [
            finding,
            {**finding, "severity": "warning"},
            {**finding, "severity": "info", "examples": []},
        ],
    }
    path = tmp_path_factory.mktemp("check") / "report.html"
    write_check(path, found, {"p": pixels(1)})
    return path


SIGN = "[0 0 700 600]"


@pytest.fixture(scope="module")
def signs_path(tmp_path_factory):
    """A report on translated images with their differences, and on drawings, among hostile words."""
    task = image_translation.Config(writer={"kind": "rendered", "font": "sightweave"})
    samples, images = [], {}
    for n in range(24):
        images |= {f"sign {n}": pixels(n), f"sign {n}/de": 255 - pixels(n)}
        record = image_translation.Record(
            id=f"{n}",
            images=(Medium(pixels(n), f"sign {n}"),),
            signs=(f"{SIGN} bat => Ast",),
            target_language="de",
            target_image=Medium(images[f"sign {n}/de"], f"sign {n}/de"),
        )
        samples.append(task.build().sample(record))

    def predict(asked, texts, *, write):
        attacks = [ATTACKS[n % len(ATTACKS)] for n in range(len(asked))]
        return [Prediction(f"{SIGN} Ast" if n % 3 else attack) for n, attack in enumerate(attacks)]

    done = evaluate(samples, predict, split=ATTACKS[0], tasks={"image_translation": task})
    draw = scores.Drawing(
        id="d", prompt=ATTACKS[2], pictures={"image_tokens": "drawn"}, target_image="sign 1"
    )
    done = dataclasses.replace(done, drawings=(draw, draw))
    images |= {"drawn": pixels(3), **{key: load(one) for key, one in done.drawn.items()}}
    is_inside = np.zeros((48, 64), bool)
    is_inside[:29, :45] = True  # the pixels that the box touches
    different = {}
    for item in done.items:
        for key in item.pictures.values():
            different[key] = difference(images[item.answer.image], images[key], is_inside)

    rows = gallery.choose(list(done.predictions()))
    page = Page(
        title=ATTACKS[1],
        facts={"attack": ATTACKS[2]},
        evaluations=[done.to_json()],
        gallery=rows,
        pictures=images,
        differences=different,
    )
    path = tmp_path_factory.mktemp("signs") / "report.html"
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

    def open_page(where=None, **settings):
        context = browser.new_context(**settings)
        page = context.new_page()
        page.seen = {"requests": [], "messages": []}
        page.on("request", lambda request: page.seen["requests"].append(request.url))
        page.on("console", lambda message: page.seen["messages"].append(message.text))
        page.on("pageerror", lambda error: page.seen["messages"].append(str(error)))
        page.goto((where or path).as_uri())
        contexts.append(context)
        return page

    contexts = []
    yield open_page
    for context in contexts:
        context.close()


def shown(page) -> int:
    return page.locator(".card:visible").count()


@pytest.fixture(params=["path", "beside_path"])
def each(request):
    """Each page in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["path", "beside_path", "compared_path", "check_path", "signs_path"])
def every(request):
    """Each page in turn, those without a gallery too."""
    return request.getfixturevalue(request.param)


def test_it_asks_for_nothing_and_runs_nothing_that_was_said(opened, each):
    page = opened(each)
    page.wait_for_timeout(200)
    assert [url for url in page.seen["requests"] if not url.startswith("data:")] == [each.as_uri()]
    assert page.seen["messages"] == []  # the policy refused nothing, so there was nothing to refuse
    assert page.title() == ATTACKS[1]
    assert page.locator("h1").inner_text() == ATTACKS[1]
    assert page.locator("script").count() == 1
    assert page.locator("iframe, [onerror], [onload], [onmouseover], [style]").count() == 0
    said = page.locator(".card .answer").all_text_contents()
    assert any(attack in said for attack in ATTACKS)


def test_what_matters_most_stands_first(opened):
    page = opened()
    told = page.locator(".told")
    assert "This model uses the image: yes" in told.inner_text()
    bottom = told.bounding_box()["y"] + told.bounding_box()["height"]
    assert bottom < 400  # on the first screen
    assert ATTACKS[0] in page.locator("#glance h3").text_content()
    lines = page.locator("#glance li").all_inner_texts()
    assert [line.split()[0] for line in lines] == ["captioning", "vqa"]
    assert all("uses the image" in line and "without looking" in line for line in lines)
    sections = page.locator("main > section").evaluate_all("(all) => all.map((one) => one.id)")
    assert sections == ["glance", "gallery", "scores", "training", "certainty", "run"]
    tops = [page.locator(f"#{one}").bounding_box()["y"] for one in sections]
    assert tops == sorted(tops)
    assert not page.locator("#run dt").first.is_visible()  # folded away
    assert not page.locator("#run pre").is_visible()
    page.locator("#run summary").first.click()
    assert page.locator("#run dt").first.is_visible()


def test_answers_begin_within_three_screens_of_a_phone(opened):
    page = opened(viewport={"width": 390, "height": 844})
    assert page.locator("#gallery .card").first.bounding_box()["y"] < 3 * 844


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


def test_every_picture_is_there(opened, each):
    page = opened(each)
    page.locator(".more").click()
    loaded = page.evaluate("Array.from(document.images).map((i) => i.complete && i.naturalWidth > 0)")
    assert len(loaded) >= 20
    assert all(loaded)


def marks(page) -> list[str]:
    return page.locator(".card:visible > header .mark").all_inner_texts()


def test_filters_show_what_they_say(opened):
    page = opened()
    assert shown(page) == 12
    assert page.locator("output").inner_text() == "40 of 40 answers"
    page.locator(".more").click()
    assert shown(page) == 40
    page.select_option("[name=right]", "no")
    assert set(marks(page)) == {"\u2717 wrong"}
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
    page.get_by_role("button", name="Show all").click()
    page.locator("output", has_text="40 of 40 answers").wait_for()


def test_errors_stand_first_unless_another_order_is_asked(opened):
    page = opened()
    page.locator(".more").click()
    first = marks(page)
    assert len(set(first)) == 2
    assert first == sorted(first, key=lambda mark: "wrong" not in mark)
    sure = "Array.from(document.querySelectorAll('.card'), (card) => Number(card.dataset.sure))"
    page.select_option("[name=order]", label="most confident first")
    found = page.evaluate(sure)
    assert found == sorted(found, reverse=True)
    assert len(set(found)) > 3
    page.select_option("[name=order]", label="least confident first")
    assert page.evaluate(sure) == sorted(found)
    page.select_option("[name=order]", label="mixed")
    numbers = page.evaluate(
        "Array.from(document.querySelectorAll('.card'), (card) => Number(card.dataset.number))"
    )
    assert numbers == list(range(40))


def test_answers_that_the_picture_changes_are_found(opened):
    page = opened()
    page.locator(".more").click()
    page.select_option("[name=changes]", "yes")
    page.locator(".more").click()
    cards = page.locator(".card:visible")
    assert 0 < cards.count() < 40
    for number in range(cards.count()):
        card = cards.nth(number)
        blind = card.locator("dt:text-is('without the image') + dd span").first.text_content()
        assert card.locator(".answer").text_content() != blind


def test_a_search_finds_texts_in_any_case(opened):
    page = opened()
    page.fill("[name=words]", "A BLOCK  of hue 3")
    texts = page.locator(".card:visible").all_text_contents()
    assert texts
    assert all("A block of hue 3." in text for text in texts)
    page.fill("[name=words]", "nobody said this")
    assert shown(page) == 0
    assert page.locator(".none").is_visible()
    page.fill("[name=words]", "<script>")  # a text is a text
    assert shown(page) > 0
    assert page.seen["messages"] == []


def test_the_keyboard_is_enough(opened, each):
    page = opened(each)
    page.focus("[name=split]")
    names = []
    for _ in range(12):
        names.append(page.evaluate("document.activeElement.name || document.activeElement.type || ''"))
        page.keyboard.press("Tab")
        if names[-1] == "reset":
            break
    asked_for = page.evaluate("Array.from(document.querySelectorAll('.filters [name]'), (one) => one.name)")
    assert names == [*asked_for, "reset"]
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    page.focus("[name=words]")
    page.keyboard.type("picture that is not there")
    assert shown(page) == 0
    page.keyboard.press("Escape")  # clears a search
    assert shown(page) == 12
    page.focus(".more")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.card')[12]")
    assert page.evaluate(outline) != "none"  # who goes by keyboard sees where
    assert page.seen["messages"] == []


WIDTHS = (320, 390, 768, 901, 1024, 1280)
CUT = """() => Array.from(document.querySelectorAll("table, td, th, dl, dd, ul, li, figure, p, h1, h2, h3"))
    .filter((one) => one.clientWidth > 1 && getComputedStyle(one).display !== "inline")
    .filter((one) => !one.closest("thead") || getComputedStyle(one.closest("thead")).position !== "absolute")
    .filter((one) => one.scrollWidth > one.clientWidth + 1)
    .map((one) => `${one.tagName}.${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)"""
OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_at_any_width(opened, every, width):
    """With all that is folded away: eight controls, further metrics, facts, recipes."""
    page = opened(every, viewport={"width": width, "height": 800})
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    inside = page.evaluate("parseFloat(getComputedStyle(document.querySelector('main')).paddingRight)")
    ends = page.evaluate(
        "Array.from(document.querySelectorAll('table, pre, figure'), (one) => one.getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) <= width - inside + 1  # not beyond the margin either


def test_on_a_phone_each_number_has_its_name(opened, every):
    page = opened(every, viewport={"width": 390, "height": 844})
    page.evaluate(OPEN)
    names = page.evaluate(
        """() => Array.from(document.querySelectorAll(".scores td:not(.wide):not(.is-empty)"))
            .map((one) => [getComputedStyle(one, "::before").content, one.textContent.trim()])"""
    )
    assert names
    assert all(len(name.strip('"')) > 0 and name != "none" for name, text in names if text)


def test_each_control_has_a_mark_of_its_own(opened):
    page = opened()
    shapes = page.locator(".legend span [class^=control]").evaluate_all(
        "(all) => all.map((one) => one.outerHTML)"
    )
    assert len(shapes) == len(set(shapes)) == len(CONTROLS)


def test_what_two_runs_differ_in_comes_before_their_tables(opened, beside_path):
    page = opened(beside_path)
    sections = page.locator("main > section").evaluate_all("(all) => all.map((one) => one.id)")
    assert sections == ["glance", "gallery", "scores", "run"]
    lines = page.locator("#glance li").all_inner_texts()
    assert sorted(line.split()[0] for line in lines) == ["captioning", "vqa"]
    assert all("points" in line for line in lines)
    assert not page.locator("#run dt").first.is_visible()


def test_a_check_says_how_much_of_each_finding_it_shows(opened, check_path):
    page = opened(check_path)
    told = page.locator(".told")
    assert "Training should not start" in told.inner_text()
    assert told.bounding_box()["y"] < 400
    shown = page.locator(".finding h3 .small").all_inner_texts()
    assert shown == ["5 of 12 shown", "5 of 12 shown", "12"]
    assert page.locator(".finding").first.locator(".card").count() == 5
    sections = page.locator("main > section").evaluate_all("(all) => all.map((one) => one.id)")
    assert sections == ["findings", "labels", "lengths", "run"]


def test_pages_without_a_gallery_run_nothing_either(opened, every):
    page = opened(every)
    page.wait_for_timeout(100)
    assert page.title() == ATTACKS[1]
    assert page.seen["messages"] == []
    assert page.locator("iframe, [onerror], [onload], [onmouseover], [style]").count() == 0


FIGURES = """(all) => all.map((card) => Array.from(card.querySelectorAll(".figures figure"), (one) => {
    const box = one.getBoundingClientRect();
    return [one.querySelector("figcaption").firstChild.textContent.trim(), box.left, box.top, box.right];
}))"""


@pytest.mark.parametrize(("width", "beside"), [(390, 2), (768, 4), (1280, 4)])
def test_an_image_that_is_an_answer_stands_beside_its_source(opened, signs_path, width, beside):
    """Two to a line on a phone, all of them in one line elsewhere; a wrong answer without words has none of its own."""
    page = opened(signs_path, viewport={"width": width, "height": 844})
    loaded = page.evaluate("Array.from(document.images).map((i) => i.complete && i.naturalWidth > 0)")
    assert loaded
    assert all(loaded)

    page.locator(".more").click()
    cards = page.locator("#gallery .card:visible").evaluate_all(FIGURES)
    assert len(cards) == 24
    names = [tuple(name for name, *_ in card) for card in cards]
    assert set(names) == {
        ("source", "reference"),
        ("source", "reference", "answer (rendered)", "difference"),
    }
    whole = [card for card in cards if len(card) == 4]
    assert len(whole) == 16
    for card in whole:
        tops = {round(top) for _, _, top, _ in card}
        assert len(tops) == 4 // beside
        assert all(right <= width for *_, right in card)
        assert card[0][1] < card[1][1]  # the source on the left
    assert "of the boxes, 0.0 % outside" in page.locator("#gallery figcaption .small").first.inner_text()


def test_drawings_are_shown_with_their_descriptions(opened, signs_path):
    page = opened(signs_path)
    cards = page.locator("#drawings .card")
    assert cards.count() == 2
    assert cards.first.locator(".prompt").inner_text() == ATTACKS[2]
    assert cards.first.locator("figcaption").all_inner_texts() == ["answer (image tokens)", "reference"]
    page.locator("nav a[href='#drawings']").click()
    assert page.seen["messages"] == []


def test_two_runs_can_be_filtered_by_who_is_right(opened, beside_path):
    page = opened(beside_path)
    page.locator(".more").click()
    both = "(all) => all.map((card) => Array.from(card.querySelectorAll('.both .mark'), (one) => one.textContent.slice(2)))"
    cards = page.locator(".card:visible")
    assert cards.evaluate_all(both)[0] == ["right", "wrong"]  # errors of the second first
    for kind, marks_of_both in (("first_only", ["right", "wrong"]), ("second_only", ["wrong", "right"])):
        page.select_option("[name=kind]", kind)
        found = cards.evaluate_all(both)
        assert found
        assert all(one == marks_of_both for one in found)
    page.select_option("[name=kind]", "")
    page.select_option("[name=order]", label="errors of the first first")
    assert cards.evaluate_all(both)[0] == ["wrong", "right"]
    assert "p-value of the difference" in page.locator("#scores .note").inner_text()
    assert page.seen["messages"] == []


def test_light_and_dark_can_both_be_read(opened, every):
    colors = """() => {
        const parse = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
        const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (element) => {
            const found = getComputedStyle(element).backgroundColor;
            return found.endsWith(", 0)") ? behind(element.parentElement) : parse(found);
        };
        const texts = "h1, h3, h4, .told, .small, .mark, .kind, .answer, .use, .name, summary, a, dt, dd, td, th, label";
        return Array.from(document.querySelectorAll(texts))
            .map((e) => [light(parse(getComputedStyle(e).color)), light(behind(e))])
            .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
    }"""
    papers = []
    for scheme in ("light", "dark"):
        page = opened(every, color_scheme=scheme)
        page.evaluate(OPEN)
        assert min(page.evaluate(colors)) >= 4.5  # WCAG 2 AA for text
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers[0] != papers[1]


def test_it_prints_without_controls(opened, every):
    page = opened(every, viewport={"width": 718, "height": 1000})  # A4 less a centimetre on each side
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.locator(".filters:visible").count() == 0
    assert page.locator("h1").is_visible()


def test_it_reads_without_scripts(opened, each):
    page = opened(each, java_script_enabled=False)
    assert shown(page) == 12
    assert page.locator(".filters").is_hidden()
    page.locator(".others > summary").click()
    assert shown(page) >= 20


@pytest.mark.parametrize(
    ("background", "letters"),
    [("rgb(255, 255, 255)", "rgb(0, 0, 0)"), ("rgb(24, 24, 24)", "rgb(220, 220, 220)")],
)
@pytest.mark.parametrize("doctype", ["<!doctype html>", ""])  # in quirks mode tables inherit no colour
def test_what_a_notebook_shows_has_the_colours_around_it(
    tmp_path, opened, found, background, letters, doctype
):
    shown = dataclasses.replace(
        found, media={f"picture {n}": Medium(pixels(n), f"picture {n}") for n in range(36)}
    )
    where = tmp_path / "cell.html"
    style = f"background: {background}; color: {letters}; width: 700px"
    where.write_text(
        f'{doctype}<meta charset="utf-8"><title>a notebook</title><div style="{style}">{shown._repr_html_()}</div>',
        encoding="utf-8",
    )
    page = opened(where)
    assert page.title() == "a notebook"  # none of what was said ran
    assert len(page.seen["requests"]) == 1
    assert page.locator(".sightweave img").count() == 6
    colours = page.eval_on_selector_all(
        ".sightweave *:not(style)", "all => all.map(one => getComputedStyle(one).color)"
    )
    assert set(colours) == {letters}
    grounds = page.eval_on_selector_all(
        ".sightweave *:not(style)", "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}
    assert page.evaluate("document.querySelector('.sightweave').scrollWidth <= 700")
