import pytest

from llm4gen_data.errors import UsageError
from llm4gen_model.attention.words import MAX_WORDS, Word, find_words, token_rows


def test_words_of_content_are_found_once_each_with_all_their_places() -> None:
    words = find_words("A red cube stands left of the cube's blue twin")
    assert [word.text for word in words] == ["red", "cube", "blue", "twin"]
    assert words[1].spans == ((6, 10), (30, 34))


def test_of_a_long_prompt_the_first_and_the_last_words_are_shown() -> None:
    numbered = [f"thing{number}x" for number in range(40)]
    words = [word.text for word in find_words(" ".join(numbered))]
    assert words == [*numbered[: MAX_WORDS // 2], *numbered[-MAX_WORDS // 2 :]]


def test_words_and_phrases_may_be_named() -> None:
    (phrase, part) = find_words("a Red cube, redder than red", ["red cube", "red"])
    assert phrase == Word("red cube", ((2, 10),))
    assert part.spans == ((2, 5), (24, 27))
    for missing in ("cub", "", "blue"):
        with pytest.raises(UsageError, match="the prompt does not hold it"):
            find_words("a red cube", [missing])


def test_tokens_of_a_word_are_those_that_overlap_it() -> None:
    spans = [None, (0, 1), (2, 4), (4, 5), (6, 10), None, None]
    assert token_rows(Word("red", ((2, 5),)), spans) == [2, 3]
    assert token_rows(Word("red cube", ((2, 10),)), spans) == [2, 3, 4]
    assert token_rows(Word("late", ((30, 34),)), spans) == []
