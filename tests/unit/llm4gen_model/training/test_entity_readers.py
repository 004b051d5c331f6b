import pytest

from llm4gen_data.errors import UserError
from llm4gen_model.training import entity_readers
from llm4gen_model.training.entity_readers import Reader, scenes_reader, spacy_reader


@pytest.fixture(scope="module")
def spacy() -> Reader:
    pytest.importorskip("spacy")
    try:
        return spacy_reader()
    except UserError as error:
        pytest.skip(str(error))


def words(reader: Reader, text: str) -> set[tuple[str, str]]:
    (pairs,) = reader.read([text])
    return {(text[slice(*entity)], text[slice(*attribute)]) for entity, attribute in pairs}


def test_spacy_reads_adjectives_nouns_before_nouns_and_predicates(spacy: Reader) -> None:
    ball = "A small red and white ball lies beside a light-blue wooden chair."
    assert words(spacy, ball) == {
        ("ball", "small"),
        ("ball", "red"),
        ("ball", "white"),
        ("chair", "light-blue"),
        ("chair", "wooden"),
    }
    assert words(spacy, "The steel bridge is very old.") == {("bridge", "steel"), ("bridge", "very old")}
    assert words(spacy, "She runs.") == set()
    assert spacy.read(["", "a red cat"]) == [[], [((6, 9), (2, 5))]]
    assert spacy.identity["reader"] == "spacy"
    assert spacy.identity["version"]


def test_scenes_are_read_by_their_grammar() -> None:
    assert words(scenes_reader(), "The star is pale, and stripes run across it.") == {("star", "stripes")}


def test_a_missing_spacy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity_readers, "load_pipeline", lambda: None)
    with pytest.raises(UserError, match=r"pip install 'llm4gen\[spacy\]'"):
        spacy_reader()
