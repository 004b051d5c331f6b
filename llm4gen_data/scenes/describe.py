"""Captions of a scene in three lengths, all of them true: one clause, a sentence or two, 50 to 95 words."""

import random

from llm4gen_data.scenes import phrases
from llm4gen_data.scenes.dense import compose
from llm4gen_data.scenes.sample import Scene
from llm4gen_data.scenes.wording import Unit, Words, capitalized, enumeration, unit_relations, units_of


def short_caption(scene: Scene, rng: random.Random) -> str:
    """One clause that names all objects with their colours, sometimes how two of them stand to each other."""
    units, words = _shuffled_units(scene, rng), Words(rng)
    mentions = [words.noun_phrase(unit, ["color"]) for unit in units]
    related = unit_relations(scene, units).get((0, 1))
    if related and len(units) == 2 and rng.random() < 0.5:
        relation = rng.choice(phrases.FRONTED_RELATIONS[rng.choice(related)])
        mentions = [f"{mentions[0]} {relation} {mentions[1]}"]
    lead = rng.choice(("", "", "", "a picture of ", "a drawing of "))
    return lead + enumeration(mentions)


def medium_caption(scene: Scene, rng: random.Random) -> str:
    """One or two sentences with all attributes, and a relation or the background."""
    units, words = _shuffled_units(scene, rng), Words(rng)
    mentions = [words.noun_phrase(unit, ["size", "color", "texture"]) for unit in units]
    ground = rng.choice(phrases.GROUNDS[scene.background])
    listed = enumeration(mentions)
    several = len(scene.objects) > 1
    related = unit_relations(scene, units).get((0, 1))
    if related and rng.random() < 0.5:
        relation = rng.choice(related)
        first, second = (_reference(unit, units, words) for unit in units[:2])
        verb = phrases.PLACE_VERBS[0][units[0].n > 1]
        second_sentence = f"{first} {verb} {rng.choice(phrases.RELATION_PHRASES[relation])} {second}"
        lead = rng.choice(
            (f"the picture shows {listed}", f"there {'are' if units[0].n > 1 else 'is'} {listed}", listed)
        )
        return f"{capitalized(lead)}. {capitalized(second_sentence)}."
    pattern = rng.choice(
        (
            "{listed} on {ground}.",
            "a picture of {listed}. The setting is {ground}.",
            "{listed} {appear} on {ground}.",
            "on {ground} one sees {listed}.",
        )
    )
    return capitalized(pattern.format(listed=listed, ground=ground, appear="appear" if several else "appears"))


def dense_caption(scene: Scene, rng: random.Random, *, held_out_synonyms: bool = False) -> str:
    """50 to 95 words: all objects and attributes, relations, background; wording and order vary widely.

    With `held_out_synonyms` about half of the naming words are such as no training caption holds.
    """
    return compose(scene, rng, held_out_synonyms=held_out_synonyms).text


def _shuffled_units(scene: Scene, rng: random.Random) -> list[Unit]:
    units = units_of(scene)
    return rng.sample(units, len(units))


def _reference(unit: Unit, units: list[Unit], words: Words) -> str:
    same_shape = sum(other.object.shape == unit.object.shape for other in units)
    return words.noun_phrase(unit, ["color"] if same_shape > 1 else [], definite=True)
