"""Language: what no prompt may hold, whatever it is about."""

import pytest

from llm4gen_data.densprompts.language import check_language, proper_names, refused_words
from llm4gen_data.densprompts.vocabulary import lexicon


def reasons(text: str) -> set[str]:
    return {problem.reason for problem in check_language(text)}


@pytest.mark.parametrize(
    "text",
    [
        "Beside it, it is dark. What he had had was gone.",
        'A sign reads "OPEN: we are here". Inside it are two cups.',
        'A poster says "Mind the step."',
        "The tray holds the last of the unripe plums; one of them is green.",
        "There are a stove and two chairs.",
        "A forget-me-not grows there.",
        "Where is a cat like this one seen? On a quiet lane.",
    ],
)
def test_sound_sentences_pass(text: str) -> None:
    assert check_language(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A apple lies there.", "article"),
        ("A cup of of tea stands there.", "doubled word"),
        ("it is dark.", "capital"),
        ("It is dark", "stop"),
        ("It is dark , and cold.", "punctuation"),
        ("It is dark,and cold.", "punctuation"),
        ('A sign reads "OPEN and swings.', "punctuation"),
        ("It are dark.", "agreement"),
        ("There is two cups.", "agreement"),
        ("They has gone.", "agreement"),
        ("These cups is red.", "agreement"),
        ("My cup is red.", "first person"),
        ("I see a cup.", "first person"),
        ("1. A cup is red.", "list"),
        ("A cup is red.\nIt is small.", "list"),
        ("A **cup** is red.", "list"),
        ("An image of a prompt about a cup.", "speaks of the prompt"),
        ("Here is a picture with a cup.", "speaks of the prompt"),
        ("Sure, here is it.", "speaks of the prompt"),
        ("A naked statue stands there.", "unsafe"),
        ("Two iPhones lie on a desk.", "brands"),
        ("A can of Coca-Cola stands there.", "brands"),
        ("A poster of Taylor Swift hangs there.", "persons"),
    ],
)
def test_each_fault_has_its_reason(text: str, reason: str) -> None:
    assert reasons(text) == {reason}


def test_names_are_capitals_that_the_specification_does_not_know() -> None:
    text = 'In a Victorian hall, Jonathan Miller stands by the Danube. "FRESH Bread" is on sale.'
    assert proper_names(text, "a Victorian hall") == ["Jonathan", "Miller", "Danube"]
    assert proper_names("Two Chihuahuas sit there.", '{"noun":"Chihuahua"}') == []
    assert proper_names(text, "a Victorian hall by the Danube where Jonathan Miller stands") == []


def test_the_lexicon_holds_no_refused_word() -> None:
    words = lexicon()
    texts = list(words.nouns)
    for noun in words.nouns.values():
        texts += [*noun.looks, *noun.actions, *noun.parts, *noun.materials]
    texts += [text for setting in words.settings for text in (setting.phrase, *setting.details)]
    texts += [*words.texts, *words.artworks, *words.photographs]
    assert {problem.what for text in texts for problem in refused_words(text)} == set()
