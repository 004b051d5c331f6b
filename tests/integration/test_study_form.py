"""The voting page in a real browser: by keyboard, by touch, reloaded, without network; its votes import."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.study.form import pictures_of, write_form
from benchmarks.study.records import read_study, read_votes
from tests.studies import TOKEN, serving, small_study

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
# As on a page that came by plain http from another machine: the sha256 of the download is then the page's own.
WITHOUT_SUBTLE = "Object.defineProperty(crypto, 'subtle', {value: undefined})"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_study(tmp_path_factory.mktemp("study"))
    write_form(folder, folder / "form.html", None, linked=False)
    return folder


def open_page(browser: Any, url: str, script: str = "", **options: Any) -> Any:
    page = browser.new_context(**options).new_page()
    page.add_init_script(script)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.goto(url)
    return page


def wait_for_trial(page: Any, n_before: int) -> None:
    page.wait_for_function(
        f"""() => document.getElementById("counter").textContent.startsWith("{n_before} of ")
        && !document.getElementById("trial").hidden && document.getElementById("left").ariaDisabled === "false" """
    )
    page.wait_for_timeout(260)  # the page takes no answer sooner


def votes_downloaded(page: Any, folder: Path, into: Path) -> list[Any]:
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(into / download.value.suggested_filename)
    return read_votes(into / download.value.suggested_filename, read_study(folder))


def test_a_whole_study_by_keyboard_with_a_reload_in_the_middle(browser: Any, study: Path, tmp_path: Path) -> None:
    page = open_page(browser, f"file://{study}/form.html?slot=1")
    page.keyboard.press("Tab")
    page.keyboard.type("no good name")
    page.keyboard.press("Enter")
    assert "letters, digits" in page.inner_text("#rater-error")
    page.fill("#rater", "ann")
    page.keyboard.press("Enter")
    trials = read_study(study).slots[1]
    keys = ["1", "ArrowRight", "0", "ArrowLeft", "2", "ArrowDown"]
    for n, trial in enumerate(trials):
        if n == 0 or trial.axis != trials[n - 1].axis:
            page.wait_for_selector("#go:visible")
            page.keyboard.press("Enter")
        wait_for_trial(page, n)
        assert page.is_visible("#prompt") == (trial.axis == "semantic")
        if trial.prompt is not None:
            assert page.inner_text("#prompt") == trial.prompt
        page.keyboard.press(keys[n % 6])
        if n == 4:
            page.wait_for_timeout(50)
            page.reload()
    page.wait_for_selector("#end:visible")
    assert page.inner_text("#code") == read_study(study).completion_code
    votes = votes_downloaded(page, study, tmp_path)
    assert [vote.trial_id for vote in votes] == [trial.trial_id for trial in trials]
    expected = ["left", "right", "tie", "left", "right", "tie"]
    assert [vote.choice for vote in votes] == [expected[n % 6] for n in range(len(trials))]
    assert all(0.25 <= vote.seconds < 30 and vote.rater_id == "ann" for vote in votes)
    assert page.faults == []


def test_a_whole_study_by_touch_on_a_phone_for_prolific(browser: Any, study: Path, tmp_path: Path) -> None:
    page = open_page(
        browser, f"file://{study}/form.html?PROLIFIC_PID=5f0c1b2a3d4e5f6a7b8c9d0e&slot=0", WITHOUT_SUBTLE, **PHONE
    )
    assert not page.is_visible("#rater")
    page.tap("#begin")
    trials = read_study(study).slots[0]
    for n, trial in enumerate(trials):
        if n == 0 or trial.axis != trials[n - 1].axis:
            page.tap("#go")
        wait_for_trial(page, n)
        boxes = {name: page.locator(f"#{name}").bounding_box() for name in ("left", "right", "tie")}
        assert all(box["width"] >= 44 and box["height"] >= 44 for box in boxes.values())
        assert boxes["left"]["width"] >= 200
        assert boxes["tie"]["y"] + boxes["tie"]["height"] <= 844  # all of it on the screen without scrolling
        page.tap(f"#{('left', 'right', 'tie')[n % 3]}")
    page.wait_for_selector("#end:visible")
    code = read_study(study).completion_code
    assert page.get_attribute("#prolific", "href") == f"https://app.prolific.com/submissions/complete?cc={code}"
    votes = votes_downloaded(page, study, tmp_path)
    assert [vote.choice for vote in votes] == [("left", "right", "tie")[n % 3] for n in range(len(trials))]
    assert {vote.rater_id for vote in votes} == {"5f0c1b2a3d4e5f6a7b8c9d0e"}
    assert page.faults == []


def test_an_mturk_worker_previews_then_submits_to_mturk(browser: Any, study: Path) -> None:
    form = f"file://{study}/form.html?slot=0"
    page = open_page(browser, f"{form}&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE")
    assert page.is_disabled("#begin")
    assert "Accept the HIT" in page.inner_text("#rater-error")
    page = open_page(browser, f"{form}&assignmentId=3A&workerId=W1&turkSubmitTo=https://evil.example")
    page.evaluate("""() => {
        const data = JSON.parse(document.getElementById("data").textContent);
        localStorage.setItem(`llm4gen-study:${data.study_id}:W1`,
            JSON.stringify({slot: "0", n_sent: 0, votes: data.slots["0"].map((trial) => ({axis: trial.axis}))}));
    }""")
    page.reload()
    page.wait_for_selector("#end:visible")
    assert not page.is_visible("#mturk")
    page.goto(f"{form}&assignmentId=3A&workerId=W1&turkSubmitTo=https://www.mturk.com")
    page.wait_for_selector("#mturk:visible")
    assert page.get_attribute("#mturk", "action") == "https://www.mturk.com/mturk/externalSubmit"
    assert page.input_value("#mturk [name=assignmentId]") == "3A"


def test_served_votes_wait_for_the_network_and_go_on_elsewhere(browser: Any, study: Path) -> None:
    with serving(study) as address:
        page = open_page(browser, f"{address}/?token={TOKEN}&rater=bob")
        assert page.url == f"{address}/?rater=bob"
        page.click("#begin")
        page.click("#go")
        trials = read_study(study).slots[0]
        n_pictures = len(pictures_of([trials]))
        page.wait_for_function(
            f"""() => performance.getEntriesByType("resource").filter(
            (entry) => entry.initiatorType === "fetch" && entry.name.includes("/images/")).length >= {n_pictures}"""
        )
        for n, trial in enumerate(trials[:9]):
            if n == 3:
                page.context.set_offline(True)
            if n and trial.axis != trials[n - 1].axis:
                page.click("#go")
            wait_for_trial(page, n)
            page.keyboard.press("1")
        wait_for_trial(page, 9)
        assert page.inner_text("#saved") == "6 waiting for the network"
        assert len(read_votes(study / "votes.jsonl", read_study(study))) == 3
        page.context.set_offline(False)
        page.wait_for_function("""() => document.getElementById("saved").textContent === "saved" """)
        elsewhere = open_page(browser, f"{address}/?token={TOKEN}&rater=bob", **PHONE)
        elsewhere.tap("#begin")
        for n in range(9, len(trials)):
            wait_for_trial(elsewhere, n)
            elsewhere.tap("#right")
        elsewhere.wait_for_selector("#end:visible")
        assert elsewhere.inner_text("#end-text") == f"All {len(trials)} answers are stored."
    votes = read_votes(study / "votes.jsonl", read_study(study))
    assert [vote.trial_id for vote in votes] == [trial.trial_id for trial in trials]
    assert [vote.choice for vote in votes] == ["left"] * 9 + ["right"] * (len(trials) - 9)
