from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4gen_data.errors import UserError
from llm4gen_data.recaption.gates import (
    Gates,
    apply_gates,
    clean,
    gates_stamp,
    outcome_counts,
    reject_reasons,
    repeated_4grams,
)
from llm4gen_data.recaption.verdicts import check_gates

GATES = Gates()


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("The image shows a red ball.", "A red ball."),
        ("This picture depicts  two\ncats.", "Two cats."),
        ("In this photo, there are three boats.", "Three boats."),
        ("In the image, we can see a tree.", "A tree."),
        ("A picture of a dog.", "A dog."),
        ("Sure! Here is a detailed description of the image: A tall tree.", "A tall tree."),
        ("**Caption:** A tall tree.", "A tall tree."),
        ("<think>It may be a tree.</think> A tall tree.", "A tall tree."),
        ("<think>It may be a tree, or", ""),
        ("The image is a close-up of a leaf.", "A close-up of a leaf."),
        ("There is a sign: the image shows nothing.", "There is a sign: the image shows nothing."),
        ("An imageboard of the 1990s", "An imageboard of the 1990s"),
        ("The image", "The image"),
        ("A red\x00 ball\u202e on\x07 grass.", "A red ball on grass."),
        ("", ""),
    ],
)
def test_stock_openings_go_and_nothing_else(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("caption", "finish", "alt_text", "reasons"),
    [
        ("A red ball on a blue table.", "stop", None, []),
        ("A red ball on a blue table.", "length", None, ["cut_off"]),
        ("I'm sorry, I cannot describe it.", "stop", None, ["refusal"]),
        ("Unfortunately, I cannot see it.", "stop", None, ["refusal"]),
        ('A card that says "I\'m sorry" in gold.', "stop", None, []),
        ("", "stop", None, ["empty"]),
        ("", "length", None, ["empty", "cut_off"]),
        ("Ball.", "stop", None, ["too_short"]),
        ("Red ball on a table", "stop", "red ball on a  table.", ["alt_text_echo"]),
        ("a ball and a ball and a ball and a ball and a ball", "stop", None, ["repetition"]),
        ("Ein Hund steht im Garten vor dem Haus und wartet.", "stop", None, ["language"]),
        ("Un chien attend devant la maison dans le jardin.", "stop", None, ["language"]),
        ("A plate of sushi, tapas and schnitzel.", "stop", None, []),
        ("8185 9f3e c0c1 8664 15e3 eb8e b45e f03f", "stop", None, []),
    ],
)
def test_reasons(caption: str, finish: str, alt_text: str | None, reasons: list[str]) -> None:
    assert reject_reasons(caption, finish, alt_text, GATES) == reasons


def test_another_language_can_be_asked_for() -> None:
    german = "Ein Hund steht im Garten vor dem Haus und wartet."
    assert reject_reasons(german, "stop", None, Gates(language="de")) == []
    assert reject_reasons(german, "stop", None, Gates(language=None)) == []
    english = "A dog waits in the garden in front of the house and looks at the door."
    assert reject_reasons(english, "stop", None, Gates(language="de")) == ["language"]
    check_gates(Gates(language="de"), store_images=False)
    with pytest.raises(UserError, match=r"gates.language = 'klingon': expected one of"):
        check_gates(Gates(language="klingon"), store_images=True)


def test_a_similarity_that_could_not_be_computed_is_refused_before_anything_is_done() -> None:
    check_gates(Gates(similarity_model="clip-mini"), store_images=True)
    with pytest.raises(UserError, match="store_images is false"):
        check_gates(Gates(similarity_model="clip-mini"), store_images=False)
    with pytest.raises(UserError, match="clip-tiny"):
        check_gates(Gates(similarity_model="clip-tiny"), store_images=True)


@pytest.mark.parametrize("wrong", [{"max_repeated_4grams": 1.5}, {"max_duplicate_share": 0.0}])
def test_thresholds_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Gates(**wrong)


@given(st.text())
def test_any_text_has_a_verdict_and_is_stable(text: str) -> None:
    assert isinstance(reject_reasons(clean(text), "stop", text, GATES), list)
    assert 0 <= repeated_4grams(text) <= 1
    assert "\n" not in clean(text)


def rows(captions: list[str | None], **columns: list[Any]) -> pa.Table:
    n = len(captions)
    return pa.table(
        {
            "alt_text": pa.array([None] * n, pa.string()),
            "caption_raw": captions,
            "finish_reason": ["stop" if caption is not None else None for caption in captions],
            "n_output_tokens": pa.array([4 if caption is not None else None for caption in captions], pa.int32()),
            "status": ["success" if caption is not None else "failed_image" for caption in captions],
            "error_message": [None if caption is not None else "bytes are no image" for caption in captions],
            **columns,
        }
    )


CAPTIONS = ["The image shows a red ball on grass.", None, "A dog runs over a wide field."]


def test_gates_set_verdicts_and_leave_the_rest() -> None:
    table = rows(CAPTIONS, aesthetic=[5.0, 6.0, 7.0])
    judged = apply_gates(table, GATES)
    assert judged["caption"].to_pylist() == ["A red ball on grass.", None, "A dog runs over a wide field."]
    assert judged["n_words"].to_pylist() == [5, None, 7]
    assert judged["keep"].to_pylist() == [True, False, True]
    assert judged["reject_reasons"].to_pylist() == [[], ["failed_image"], []]
    assert judged.select(table.column_names).equals(table)
    assert apply_gates(judged, GATES).equals(judged)


def test_every_instruction_has_its_verdict_and_the_first_decides() -> None:
    further: dict[str, list[Any]] = {
        "short_caption_raw": ["Ball.", None, "A dog in a field."],
        "short_finish_reason": ["stop", None, "stop"],
        "short_n_output_tokens": [1, None, 4],
    }
    judged = apply_gates(rows(CAPTIONS, **further), GATES)
    assert judged["short_reject_reasons"].to_pylist() == [["too_short"], ["failed_image"], []]
    assert judged["short_n_words"].to_pylist() == [1, None, 5]
    assert judged["keep"].to_pylist() == [True, False, True]


def test_similarity_objects_and_duplicates_are_judged_where_they_are() -> None:
    table = rows(
        CAPTIONS,
        caption_similarity=[0.1, None, 0.3],
        objects_named=[["ball", "grass"], None, ["dog", "field", "fence", "tree"]],
        objects_denied=[["ball"], None, ["tree"]],
    )
    gates = Gates(min_similarity=0.2, max_denied_share=0.3)
    judged = apply_gates(table, gates, frozenset({"A dog runs over a wide field."}))
    reasons = judged["reject_reasons"].to_pylist()
    assert reasons == [["low_similarity", "denied_objects"], ["failed_image"], ["duplicate"]]
    counts = outcome_counts(judged)
    assert counts["kept"] == 0
    assert counts["errors"] == {"failed_image: bytes are no image": 1}
    assert (counts["objects_asked"], counts["objects_denied"], counts["output_tokens"]) == (6, 2, 8)


def test_an_empty_table_has_verdicts() -> None:
    empty = rows(CAPTIONS).slice(0, 0)
    assert outcome_counts(apply_gates(empty, GATES))["kept"] == 0


def test_the_stamp_tells_thresholds_apart() -> None:
    assert gates_stamp(GATES) == gates_stamp(Gates())
    assert gates_stamp(GATES) != gates_stamp(Gates(min_words=4))
    assert gates_stamp(GATES) != gates_stamp(GATES, "0123")
