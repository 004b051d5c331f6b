"""The report as a reader has it: opened from the disk in a browser without network, by mouse, keys and on a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.config import BenchConfig
from benchmarks.records import Score
from benchmarks.run import run
from llm4gen_data.records import Prompt
from tests.unit.benchmarks.factories import write_manifest

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

HOSTILE = [
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">",
    "\"quotes\" 'apostrophes' & </textarea></style></script></title> {{ 7 * 7 }}",
    "a cat\u202egpj.exe\u2066 \u05e9\u05dc\u05d5\u05dd",
    "a/b" * 700,
]
PROMPTS = [
    Prompt(f"p{i}", text, ("animals", "<b>food</b>")[i % 2], len(text.split()), None)
    for i, text in enumerate([*HOSTILE, "a plain red dog", "a plain blue dog"])
]
LOCAL = re.compile("file:|data:")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
NARROW_DESK = {"width": 1200, "height": 900}


class Boxes:
    """Red of the picture as the score, and a box that is a quarter of it."""

    headline, unit, digits = "red", "share of white", 3

    def identity(self) -> dict[str, Any]:
        return {"metric": "boxes", "version": 1, "note": HOSTILE[0]}

    def check(self, prompts: Iterable[Prompt]) -> None:
        assert list(prompts)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[list[Score]]:
        return [[self._score(image, prompt)] for image, prompt in zip(images, prompts, strict=True)]

    def _score(self, image: Image.Image, prompt: Prompt) -> Score:
        width, height = image.size
        reason = f"1 seen: dog 0.9 at [{width / 2}, {height / 4}, {width}, {height * 3 / 4}]; {prompt.prompt}? 0.5"
        return Score("red", float(np.asarray(image)[0, 0, 0]) / 255, reason)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    reds = {"base": [0, 50, 100, 150, 200, 250], "ours": [250, 40, 100, 160, 180, 0]}
    pictures = {model: [Image.new("RGB", (400, 200), (red, 9, 9)) for red in own] for model, own in reds.items()}
    images = write_manifest(folder / "images", PROMPTS, pictures)
    metric = "tests.integration.test_report_in_browser:Boxes"
    config = BenchConfig(suite="densprompts", images=(images,), metrics=(metric,), n_resamples=50)
    run(config, folder / "out")
    return (folder / "out" / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, report: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page without network; whatever it complains of, asks for or pops up fails the test."""
    context = browser.new_context(viewport=getattr(request, "param", DESK), offline=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.on("request", lambda asked: complaints.extend([] if LOCAL.match(asked.url) else [asked.url]))
    opened.goto(report)
    yield opened
    context.close()
    assert complaints == []


def shown(page: Any) -> list[str]:
    """The prompt ids of the rows in the order they are seen."""
    rows = page.locator(".row:visible").all()
    return [(row.get_attribute("aria-label") or "").split()[1].rstrip(",") for row in rows]


def test_prompts_are_shown_and_nothing_in_them_is_run(page: Any) -> None:
    assert page.title() == "densprompts: base, ours"
    texts = [page.locator(".row .prompt bdi").nth(i).inner_text() for i in range(len(PROMPTS))]
    assert texts[0] == HOSTILE[0]
    assert texts[1] == HOSTILE[1]
    assert texts[2] == "a catU+202Egpj.exeU+2066 \u05e9\u05dc\u05d5\u05dd"
    assert texts[3] == HOSTILE[3]
    assert page.locator("script").count() == 1
    assert page.locator("figcaption script, .prompt img, figcaption b b").count() == 0
    assert page.locator("#category option").all_inner_texts() == ["all", "animals", "<b>food</b>"]


def test_a_script_that_got_in_would_not_run(browser: Any, report: str) -> None:
    page = browser.new_page()
    page.goto(report)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.owned = 1\">')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.owned = 1'}))")
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    page.close()


def test_rows_are_searched_filtered_and_sorted(page: Any) -> None:
    assert shown(page) == [f"p{i}" for i in range(6)]
    page.fill("#search", "PLAIN dog")
    assert shown(page) == ["p4", "p5"]
    assert page.locator("#shown").inner_text() == "2 of 6 rows"
    page.fill("#search", "no such words")
    assert shown(page) == []
    page.fill("#search", "")
    page.select_option("#category", label="<b>food</b>")
    assert shown(page) == ["p1", "p3", "p5"]
    page.select_option("#category", "")
    page.select_option("#order", "low")
    assert shown(page) == ["p0", "p5", "p1", "p2", "p3", "p4"]
    page.select_option("#order", "model:1:up")
    assert shown(page) == ["p0", "p3", "p2", "p1", "p4", "p5"]
    page.select_option("#order", "model:1:down")
    assert shown(page) == ["p5", "p4", "p1", "p2", "p3", "p0"]
    page.select_option("#order", "apart")
    assert shown(page)[-1] == "p2"


def test_keys_suffice(page: Any) -> None:
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("plain jk/")  # letters are letters while one writes
    assert page.input_value("#search") == "plain jk/"
    page.fill("#search", "plain")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert "p5" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("k")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    place = page.locator("#place")
    assert place.inner_text() == "1 of 4"
    assert "a plain red dog" in page.locator("#large").inner_text()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert place.inner_text() == "4 of 4"
    assert "a plain blue dog" in page.locator("#large").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.className") == "open"


@pytest.mark.parametrize("page", [DESK, PHONE], indirect=True)
def test_boxes_lie_where_they_were_found(page: Any) -> None:
    page.locator(".open").first.click()
    for place in (page.locator(".row").first.locator("figure").first, page.locator("#large figure")):
        picture, box = place.locator("img").bounding_box(), place.locator(".box rect").bounding_box()
        assert box["x"] - picture["x"] == pytest.approx(picture["width"] / 2, abs=2)
        assert box["y"] - picture["y"] == pytest.approx(picture["height"] / 4, abs=2)
        assert box["height"] == pytest.approx(picture["height"] / 2, abs=4)
    assert page.locator("#large .box text").text_content() == "1 dog 0.9"
    page.keyboard.press("Escape")
    part = page.locator(".why [data-box]").first
    part.focus()
    assert page.locator(".row .box.on").count() == 1
    page.uncheck("#boxes")
    assert not page.locator(".box").first.is_visible()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".open").nth(7).click()
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= PHONE["width"]
    assert page.locator("#large img").bounding_box()["width"] <= PHONE["width"]


@pytest.mark.parametrize("page", [NARROW_DESK], indirect=True)
def test_tables_need_no_sideways_scrolling_on_a_desk(page: Any) -> None:
    widths = page.locator(".scroll").evaluate_all("tables => tables.map(one => [one.scrollWidth, one.clientWidth])")
    assert len(widths) >= 3
    assert all(needed <= there for needed, there in widths)
    # of one pair its models are told above the table
    comparison = page.locator("#comparison ~ .scroll").first
    assert "model" not in comparison.locator("thead th").all_inner_texts()
    assert "right of the line ours is better than base" in page.locator("#comparison + p").inner_text()
