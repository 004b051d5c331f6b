"""The lexicon: what may be in a picture, what it may look like and do, and where pictures play."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from llm4gen_data.densprompts.taxonomy import QUOTAS
from llm4gen_data.errors import UserError

NOUN_FILES = (
    "people",
    "trades",
    "professions",
    "tame_animals",
    "wild_animals",
    "birds",
    "sea_animals",
    "dishes",
    "bakery",
    "produce",
    "kitchenware",
    "furniture",
    "walls",
    "decor",
    "desk",
    "tools",
    "toys",
    "products",
    "buildings",
    "streets",
    "country",
    "plants",
    "greenery",
    "landforms",
    "vehicles",
    "gear",
    "fantasy",
    "art",
)
SETTING_FILES = (
    "settings_indoor",
    "settings_rooms",
    "settings_shops",
    "settings_outdoor",
    "settings_towns",
    "settings_country",
    "settings_wonder",
)
OTHER_FILES = ("words", "styles", "sizes", "refused")
KINDS = frozenset(["person", "animal", "plant", "food", "object", "sign", "building", "vehicle", "landform", "sky"])
PLACES = frozenset(["floor", "surface", "wall", "water", "sky", "far", "perch", "worn"])
_FOLDER: Traversable = files("llm4gen_data.densprompts") / "lexicon"


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing and what is plausible of it.

    `kind`: person, animal, plant, food, object, sign, building, vehicle, landform or sky. `where` is the kind of
    place it needs: floor, surface, wall, water, sky, far (mountains), perch (twigs, posts), or worn. `posture`: how it
    is there. `parts` are what one sees of it, each a phrase that goes after "with": "a chipped spout", "two brass
    handles"; they name no color.
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
    parts: tuple[str, ...] = ()
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
    """Everything the grammar knows; `groups` and `nouns` hold the same nouns, by group and by name.

    `size_ranks`: by name, how large a thing is among those of its group; things without a rank are not compared.
    """

    nouns: Mapping[str, Noun]
    groups: Mapping[str, tuple[Noun, ...]]
    settings: tuple[Setting, ...]
    size_ranks: Mapping[str, int]
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
    """The lexicon of this package."""
    return read_lexicon(_FOLDER)


def read_lexicon(folder: Traversable) -> Lexicon:
    """The lexicon in a folder of YAML files.

    Raises UserError, naming file and entry, for a duplicate, an unknown key, group, palette or material, or a list
    that is empty where something must stand.
    """
    words, styles = _read(folder, "words"), _read(folder, "styles")
    groups: dict[str, tuple[Noun, ...]] = {}
    nouns: dict[str, Noun] = {}
    for file in NOUN_FILES:
        for group, table in _read(folder, file).items():
            if group in groups:
                raise UserError(f"lexicon {file}.yaml: the group {group!r} is also in another file")
            groups[group] = tuple(_nouns(file, group, table, words))
            for noun in groups[group]:
                if noun.name in nouns:
                    raise UserError(f"lexicon {file}.yaml: {noun.name!r} is also in group {nouns[noun.name].group!r}")
                nouns[noun.name] = noun
    settings: dict[str, Setting] = {}
    for file in SETTING_FILES:
        for name, table in _read(folder, file).items():
            if name in settings:
                raise UserError(f"lexicon {file}.yaml: the setting {name!r} is also in another file")
            settings[name] = _setting(file, name, table, groups.keys(), styles["lights"].keys())
    return Lexicon(
        nouns=nouns,
        groups=groups,
        settings=tuple(settings.values()),
        size_ranks=_size_ranks(_read(folder, "sizes"), groups),
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


def _size_ranks(table: dict[str, Any], groups: Mapping[str, tuple[Noun, ...]]) -> dict[str, int]:
    """Noun -> rank in its group; the things of a group that are alike all have rank 0."""
    rows = {group: [[noun.name for noun in groups.get(group, ())]] for group in table["alike"]} | table["ranked"]
    ranks: dict[str, int] = {}
    for group, classes in rows.items():
        if group not in groups:
            raise UserError(f"lexicon sizes.yaml: there is no group {group!r}")
        for rank, names in enumerate(classes):
            for name in names:
                if name not in {noun.name for noun in groups[group]} or name in ranks:
                    why = "stands there twice" if name in ranks else "is not in that group"
                    raise UserError(f"lexicon sizes.yaml: {name!r} of {group!r} {why}")
                ranks[name] = rank
    return ranks


def lexicon_sha256() -> str:
    """The sha256 over all lexicon files, in hex."""
    digest = hashlib.sha256()
    for name in (*NOUN_FILES, *SETTING_FILES, *OTHER_FILES):
        digest.update((_FOLDER / f"{name}.yaml").read_bytes())
    return digest.hexdigest()


# libyaml's loader where there is one: it is ten times as fast.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML in which a key may stand only once; the plain loader would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise UserError(f"line {key.start_mark.line + 1}: {key.value!r} stands there twice")
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _read(folder: Traversable, name: str) -> dict[str, Any]:
    try:
        table: dict[str, Any] = yaml.load((folder / f"{name}.yaml").read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"lexicon {name}.yaml: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"lexicon {name}.yaml: {error}") from error
    return table


def _nouns(file: str, group: str, table: dict[str, Any], words: Mapping[str, Any]) -> list[Noun]:
    if not table.get("nouns"):
        raise UserError(f"lexicon {file}.yaml: the group {group!r} has no nouns")
    shared = {key: value for key, value in table.items() if key != "nouns"}
    made = []
    for name, own in table["nouns"].items():
        where = f"lexicon {file}.yaml: {name!r}"
        values = {**shared, **(own or {})}
        unknown = values.keys() - _NOUN_KEYS
        if unknown:
            raise UserError(f"{where} has unknown keys: {', '.join(sorted(unknown))}")
        if isinstance(values.get("colors"), str):
            if values["colors"] not in words["palettes"]:
                raise UserError(f"{where} has colors {values['colors']!r}, expected a list or a palette of words.yaml")
            values["colors"] = words["palettes"][values["colors"]]
        for key, value in values.items():
            # A noun's empty list says that it has none of what its group has.
            if value == [] and (not shared.get(key) or key == "posture"):
                raise UserError(f"{where} has an empty list of {key}")
        made.append(_noun(where, name, group, values, words["materials"]))
    return made


def _noun(where: str, name: str, group: str, values: dict[str, Any], materials: Mapping[str, str]) -> Noun:
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    try:
        noun = Noun(**{"name": name, "group": group, **values, **lists})
    except TypeError as error:
        raise UserError(f"{where} lacks one of kind, where and posture") from error
    if noun.kind not in KINDS:
        raise UserError(f"{where} has kind {noun.kind!r}, expected one of {', '.join(sorted(KINDS))}")
    if noun.where not in PLACES:
        raise UserError(f"{where} has where {noun.where!r}, expected one of {', '.join(sorted(PLACES))}")
    for material in noun.materials:
        if material not in materials:
            raise UserError(f"{where} has material {material!r}, which is not in words.yaml")
    if not (noun.colors or noun.materials or noun.looks or noun.sizes or noun.shapes):
        raise UserError(f"{where} has no colors, materials, looks, sizes or shapes: nothing could be said of it")
    return noun


def _setting(file: str, name: str, table: dict[str, Any], groups: Collection[str], lights: Collection[str]) -> Setting:
    where = f"lexicon {file}.yaml: setting {name!r}"
    unknown, missing = table.keys() - _SETTING_KEYS, _SETTING_KEYS - table.keys() - {"surface"}
    if unknown or missing:
        wrong = f"unknown keys: {', '.join(sorted(unknown))}" if unknown else f"no {', '.join(sorted(missing))}"
        raise UserError(f"{where} has {wrong}")
    lists = {key: table[key] for key in ("groups", "details")} | table["categories"] | table["places"]
    for key, values in lists.items():
        if not values:
            raise UserError(f"{where} has an empty list of {key}")
    for group in [*table["groups"], *(group for mains in table["categories"].values() for group in mains)]:
        if group not in groups:
            raise UserError(f"{where} names the group {group!r}, which is not there")
    for category in table["categories"]:
        if category not in QUOTAS:
            raise UserError(f"{where} names the category {category!r}, expected one of {', '.join(QUOTAS)}")
    for kind in table["places"]:
        if kind not in PLACES:
            raise UserError(f"{where} has places {kind!r}, expected one of {', '.join(sorted(PLACES))}")
    if table["light"] not in lights:
        raise UserError(f"{where} has light {table['light']!r}, expected one of {', '.join(lights)}")
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


def _tuples(table: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(value) for key, value in table.items()}


_NOUN_KEYS = frozenset(field.name for field in fields(Noun)) - {"name", "group"}
_SETTING_KEYS = frozenset(field.name for field in fields(Setting)) - {"name"}
