"""The lexicon holds together, and a broken one is refused in one line."""

import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from llm4gen_data.densprompts.inflect import article, participle
from llm4gen_data.densprompts.taxonomy import QUOTAS
from llm4gen_data.densprompts.vocabulary import NOUN_FILES, SETTING_FILES, lexicon, lexicon_sha256, read_lexicon
from llm4gen_data.errors import UserError

BASIC_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lexicon of one group and one setting, to break."""
    folder = tmp_path_factory.mktemp("lexicon")
    shipped = Path(str(files("llm4gen_data.densprompts") / "lexicon"))
    for name in ("words", "styles"):
        shutil.copy(shipped / f"{name}.yaml", folder)
    for name in (*NOUN_FILES, *SETTING_FILES):
        (folder / f"{name}.yaml").write_text("{}\n")
    (folder / "sizes.yaml").write_text("alike: []\nranked: {}\n")
    return folder


GROUP = """
boxes:
  kind: object
  where: surface
  posture: [stand]
  colors: [red]
  nouns:
    hatbox: {materials: [wood]}
    toolbox: {colors: []%s}
"""
SETTING = """
attic:
  light: indoor
  phrase: in an attic
  noun: attic
  categories: {interiors: [boxes]}
  groups: [boxes]
  places: {surface: [on a shelf]}
  details: [dust lies on everything]
"""


def _write(folder: Path, group: str = GROUP % ", looks: [dented]", setting: str = SETTING) -> None:
    (folder / "people.yaml").write_text(group)
    (folder / "settings_indoor.yaml").write_text(setting)


def test_every_noun_can_be_placed_and_described() -> None:
    words = lexicon()
    heads = {name.partition(" of ")[0].rpartition(" ")[2] for name in words.nouns}
    assert len(heads) >= 2500
    assert sum(not noun.parts for noun in words.nouns.values()) <= 10
    for noun in words.nouns.values():
        assert noun.posture, noun
        assert 1 <= noun.max_count <= 6, noun
        assert noun.pronoun in (None, "she", "he"), noun


def test_parts_follow_with_and_name_no_color() -> None:
    for noun in lexicon().nouns.values():
        for part in noun.parts:
            assert not re.search(rf"\b(?:{'|'.join(BASIC_COLORS)}|it|its)\b", part), (noun.name, part)
            if found := re.match(r"(an?) (\S+)", part):
                assert found[1] == article(found[2]), (noun.name, part)


def test_no_look_says_what_an_action_says() -> None:
    for noun in lexicon().nouns.values():
        # "giggling children who giggle" would be asked for twice.
        assert not set(noun.looks) & {participle(action) for action in noun.actions}, noun


def test_every_group_is_used_and_every_category_has_settings() -> None:
    words = lexicon()
    assert len(words.settings) >= 136
    used = {group for s in words.settings for groups in (s.groups, *s.categories.values()) for group in groups}
    assert set(words.groups) - used == {"clothing"}
    for category in QUOTAS:
        assert sum(category in setting.categories for setting in words.settings) >= 20, category
    assert {setting.light for setting in words.settings} == set(words.lights)


def test_details_are_clauses_without_capital_or_stop() -> None:
    for setting in lexicon().settings:
        assert len(setting.details) >= 5, setting.name
        for detail in setting.details:
            assert re.match(r"(?:[a-z]|Earth|the Earth|Latin)", detail), detail
            assert not detail.endswith("."), detail
        assert re.match(r"(?:in|on|at|above|along) ", setting.phrase) or setting.phrase.startswith("in front of ")


def test_basic_colors_lead_every_broad_palette() -> None:
    broad = [noun.colors for noun in lexicon().nouns.values() if len(noun.colors) >= 12]
    assert len(broad) > 200
    for colors in broad:
        assert sum(color in BASIC_COLORS for color in colors) * 2 >= len(colors) - 4, colors


def test_written_texts_are_distinct() -> None:
    texts = lexicon().texts
    assert len(set(texts)) == len(texts)
    assert all(text == text.upper() for text in texts)


def test_the_hash_is_stable() -> None:
    assert lexicon_sha256() == lexicon_sha256()
    assert len(lexicon_sha256()) == 64


def test_a_nouns_empty_list_cancels_its_groups(folder: Path) -> None:
    _write(folder)
    words = read_lexicon(folder)
    assert words.nouns["hatbox"].colors == ("red",)
    assert words.nouns["toolbox"].colors == ()
    assert [setting.name for setting in words.settings] == ["attic"]


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("}\n    hatbox: {", "people.yaml: line 10: 'hatbox' stands there twice"),
        (", taste: [sweet]", "people.yaml: 'toolbox' has unknown keys: taste"),
        (", looks: []", "people.yaml: 'toolbox' has an empty list of looks"),
        (", posture: []", "people.yaml: 'toolbox' has an empty list of posture"),
        (", colors: rainbow", "people.yaml: line 9: 'colors' stands there twice"),
        (", materials: [cheese]", "people.yaml: 'toolbox' has material 'cheese', which is not in words.yaml"),
        (", kind: mineral", "people.yaml: 'toolbox' has kind 'mineral', expected one of animal, "),
        (", where: ceiling", "people.yaml: 'toolbox' has where 'ceiling', expected one of far, "),
        (", looks: [[", "people.yaml: while parsing"),
        ("", "people.yaml: 'toolbox' has no colors, materials, looks, sizes or shapes"),
    ],
)
def test_a_broken_noun_is_refused(folder: Path, addition: str, message: str) -> None:
    _write(folder, group=GROUP % addition)
    with pytest.raises(UserError) as error:
        read_lexicon(folder)
    assert f"lexicon {message}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("groups: [boxes]", "groups: [crates]", "names the group 'crates', which is not there"),
        ("groups: [boxes]", "groups: []", "has an empty list of groups"),
        ("details: [dust lies on everything]", "details: []", "has an empty list of details"),
        ("interiors:", "indoors:", "names the category 'indoors', expected one of people, "),
        ("light: indoor", "light: gloomy", "has light 'gloomy', expected one of indoor, "),
        ("surface: [on a shelf]", "shelf: [on a shelf]", "has places 'shelf', expected one of far, "),
        ("  noun: attic\n", "", "has no noun"),
        ("  noun: attic\n", "  noun: attic\n  smell: dusty\n", "has unknown keys: smell"),
    ],
)
def test_a_broken_setting_is_refused(folder: Path, good: str, bad: str, message: str) -> None:
    _write(folder, group=GROUP % ", looks: [dented]", setting=SETTING.replace(good, bad))
    with pytest.raises(UserError) as error:
        read_lexicon(folder)
    assert f"lexicon settings_indoor.yaml: setting 'attic' {message}" in str(error.value)


def test_a_noun_in_two_groups_and_an_unknown_palette_are_refused(folder: Path) -> None:
    good = GROUP % ", looks: [dented]"
    _write(folder, group=good + good.replace("boxes:", "more boxes:"))
    with pytest.raises(UserError, match=r"people\.yaml: 'hatbox' is also in group 'boxes'"):
        read_lexicon(folder)
    _write(folder, group=good.replace("colors: [red]", "colors: rainbow"))
    with pytest.raises(UserError, match=r"'hatbox' has colors 'rainbow', expected a list or a palette of words\.yaml"):
        read_lexicon(folder)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("alike: [crates]\nranked: {}\n", "there is no group 'crates'"),
        ("alike: []\nranked: {boxes: [[crate]]}\n", "'crate' of 'boxes' is not in that group"),
        ("alike: []\nranked: {boxes: [[hatbox], [hatbox]]}\n", "'hatbox' of 'boxes' stands there twice"),
    ],
)
def test_wrong_sizes_are_refused(folder: Path, tmp_path: Path, sizes: str, message: str) -> None:
    own = shutil.copytree(folder, tmp_path / "lexicon")
    _write(own)
    (own / "sizes.yaml").write_text(sizes)
    with pytest.raises(UserError) as error:
        read_lexicon(own)
    assert str(error.value) == f"lexicon sizes.yaml: {message}"


def test_things_of_a_group_are_ranked_by_size() -> None:
    ranks = lexicon().size_ranks
    assert ranks["beehive"] < ranks["wind turbine"]
    assert ranks["oak tree"] == ranks["elm"]
    assert "footbridge" not in ranks
