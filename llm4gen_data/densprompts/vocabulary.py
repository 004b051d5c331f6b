"""The lexicon: what may be in a picture, what it may look like and do, and where pictures play."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from llm4gen_data.errors import UserError

NOUN_FILES = ("people", "animals", "food", "household", "outdoors", "vehicles", "fantasy", "art")
SETTING_FILES = ("settings_indoor", "settings_outdoor")
OTHER_FILES = ("words", "styles")
_FOLDER = files("llm4gen_data.densprompts") / "lexicon"


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing and what is plausible of it.

    `kind`: person, animal, plant, food, object, sign, building, vehicle, landform or sky. `where` is the kind of
    place it needs: floor, surface, wall, water, sky, far (mountains), perch (twigs, posts), or worn. `posture`: how it
    is there.
    `small` things may be on what `supports`, things with `legs` have room below, `hand` things can be held.
    """

    name: str
    group: str
    kind: str
    where: str
    posture: tuple[str, ...]
    colors: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    pronoun: str | None = None
    max_count: int = 1
    small: bool = False
    supports: bool = False
    legs: bool = False
    hand: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a picture plays.

    `phrase` places it ("in a small kitchen"), `noun` refers to it, `light` is a key of the lights; `categories` are
    the groups that may be the main thing there, `groups` what else may be there, `places` phrases by `Noun.where`,
    `details` true remarks. In a `surface` setting all things stand on one surface. (a|b) in a text is a choice.
    """

    name: str
    light: str
    phrase: str
    noun: str
    categories: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...]
    places: Mapping[str, tuple[str, ...]]
    details: tuple[str, ...]
    surface: bool = False


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Everything the grammar knows; `groups` and `nouns` hold the same nouns, by group and by name."""

    nouns: Mapping[str, Noun]
    groups: Mapping[str, tuple[Noun, ...]]
    settings: tuple[Setting, ...]
    materials: Mapping[str, str]
    plain_materials: frozenset[str]
    lights: Mapping[str, tuple[str, ...]]
    light_sentences: tuple[str, ...]
    photographs: Mapping[str, tuple[str, ...]]
    artworks: Mapping[str, tuple[str, ...]]
    views: tuple[str, ...]
    texts: tuple[str, ...]
    plurals: Mapping[str, str]
    participles: Mapping[str, str]


@cache
def lexicon() -> Lexicon:
    """The lexicon of this package. Raises UserError if one of its files contradicts another."""
    words, styles = _read("words"), _read("styles")
    groups: dict[str, tuple[Noun, ...]] = {}
    nouns: dict[str, Noun] = {}
    for file in NOUN_FILES:
        for group, table in _read(file).items():
            groups[group] = tuple(_nouns(file, group, table, words["palettes"]))
            for noun in groups[group]:
                if noun.name in nouns:
                    raise UserError(f"lexicon {file}.yaml: {noun.name!r} is also in group {nouns[noun.name].group!r}")
                nouns[noun.name] = noun
    settings = [_setting(file, name, table) for file in SETTING_FILES for name, table in _read(file).items()]
    for setting in settings:
        for group in {*setting.groups, *(g for gs in setting.categories.values() for g in gs)}:
            if group not in groups:
                raise UserError(f"lexicon: setting {setting.name!r} names the group {group!r}, which is not there")
    return Lexicon(
        nouns=nouns,
        groups=groups,
        settings=tuple(settings),
        materials=words["materials"],
        plain_materials=frozenset(words["plain_materials"]),
        lights=_tuples(styles["lights"]),
        light_sentences=tuple(styles["light_sentences"]),
        photographs=_tuples(styles["photographs"]),
        artworks=_tuples(styles["artworks"]),
        views=tuple(styles["views"]),
        texts=tuple(styles["texts"]),
        plurals=words["plurals"],
        participles=words["participles"],
    )


def lexicon_sha256() -> str:
    """The sha256 over all lexicon files, in hex."""
    digest = hashlib.sha256()
    for name in (*NOUN_FILES, *SETTING_FILES, *OTHER_FILES):
        digest.update((_FOLDER / f"{name}.yaml").read_bytes())
    return digest.hexdigest()


def _read(name: str) -> dict[str, Any]:
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    # libyaml's loader where there is one: it is ten times as fast.
    table: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return table


def _nouns(file: str, group: str, table: dict[str, Any], palettes: Mapping[str, list[str]]) -> list[Noun]:
    known = {field.name for field in fields(Noun)}
    made = []
    for name, own in table["nouns"].items():
        values = {key: value for key, value in {**table, **(own or {})}.items() if key != "nouns"}
        unknown = values.keys() - known
        if unknown:
            raise UserError(f"lexicon {file}.yaml: {name!r} has unknown keys {', '.join(sorted(unknown))}")
        if isinstance(values.get("colors"), str):
            values["colors"] = palettes[values["colors"]]
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        made.append(Noun(**{"name": name, "group": group, **values, **lists}))
    return made


def _setting(file: str, name: str, table: dict[str, Any]) -> Setting:
    try:
        return Setting(
            name=name,
            light=table["light"],
            phrase=table["phrase"],
            noun=table["noun"],
            categories=_tuples(table["categories"]),
            groups=tuple(table["groups"]),
            places=_tuples(table["places"]),
            details=tuple(table["details"]),
            surface=table.get("surface", False),
        )
    except KeyError as error:
        raise UserError(f"lexicon {file}.yaml: setting {name!r} has no {error.args[0]!r}") from error


def _tuples(table: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(value) for key, value in table.items()}
