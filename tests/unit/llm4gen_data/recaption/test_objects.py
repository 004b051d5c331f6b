import pytest

from llm4gen_data.recaption.objects import is_denied, named_objects, object_question


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("A small red circle is left of two blue squares.", ["circle", "square"]),
        (
            "Three women and a dog at a coffee table; a traffic light glows.",
            ["woman", "dog", "coffee table", "traffic light"],
        ),
        ("A street with no visible people and without cars, but a bench.", ["street", "bench"]),
        ("Leaves, more leaves, and an orange sky.", ["leaf", "sky"]),
        ("A red circle stands out well; a hat and a moth seal its rose frame.", ["circle", "hat", "moth"]),
        ("", []),
        ("\x00 \ud800 nothing", []),
    ],
)
def test_named_objects(caption: str, objects: list[str]) -> None:
    assert named_objects(caption) == objects


def test_no_more_objects_than_asked_for() -> None:
    assert named_objects("a dog, a cat, a horse and a cow", max_objects=2) == ["dog", "cat"]


def test_question_and_answers() -> None:
    assert object_question("elephant") == "Is there an elephant in the picture? Answer yes or no."
    assert [
        is_denied(answer) for answer in ("No.", " **no**, there is not", "Yes", "yes, two", "perhaps", "nothing", "")
    ] == [
        True,
        True,
        False,
        False,
        None,
        None,
        None,
    ]
