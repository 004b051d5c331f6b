import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.recaption.gates import Gates, clean, reject_reasons, repeated_4grams

GATES = Gates()


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("The image shows a red ball.", "A red ball."),
        ("This picture depicts  two\ncats.", "Two cats."),
        ("In this photo, there are three boats.", "Three boats."),
        ("A picture of a dog.", "A dog."),
        ("There is a sign: the image shows nothing.", "There is a sign: the image shows nothing."),
        ("The image", "The image"),
        ("", ""),
    ],
)
def test_stock_openings_go_and_nothing_else(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "finish", "alt_text", "reasons"),
    [
        ("A red ball on a blue table.", "stop", None, []),
        ("A red ball on a blue table.", "length", None, ["cut_off"]),
        ("I'm sorry, I cannot describe it.", "stop", None, ["refusal"]),
        ('A card that says "I\'m sorry" in gold.', "stop", None, []),
        ("", "stop", None, ["empty"]),
        ("Ball.", "stop", None, ["too_short"]),
        ("Red ball on a table", "stop", "red ball on a table.", ["alt_text_echo"]),
        ("a ball and a ball and a ball and a ball and a ball", "stop", None, ["repetition"]),
    ],
)
def test_reasons(raw: str, finish: str, alt_text: str | None, reasons: list[str]) -> None:
    assert reject_reasons(raw, finish, alt_text, GATES) == reasons


@given(st.text())
def test_any_text_has_a_verdict_and_keeps_its_tail(text: str) -> None:
    assert isinstance(reject_reasons(text, "stop", text, GATES), list)
    assert 0 <= repeated_4grams(text) <= 1
    # all but the first letter, which may have been capitalised, is the end of what was there
    assert " ".join(text.split()).endswith(clean(text)[2:])
