"""By what other names a thing may be called once it is known: "the animal" for the fox, "the garage" for a garage."""

from __future__ import annotations

from functools import lru_cache

from llm4gen_data.densprompts.inflect import plural
from llm4gen_data.densprompts.sketch import content_words
from llm4gen_data.densprompts.spec import Entity, Spec
from llm4gen_data.densprompts.vocabulary import Noun, lexicon

# By what the group's name ends with, the first that fits.
_BY_GROUP = {
    "children": ("child",),
    "magic folk": (),
    "clothing": (),
    "birds": ("bird", "animal"),
    "poultry": ("bird", "animal"),
    "insects": ("animal", "creature"),  # snails and spiders are among them
    "trees": ("tree",),
    "boats": ("vessel",),
    "aircraft": ("aircraft",),
    "spacecraft": ("spacecraft",),
    "buildings": ("building",),
    "flowers": ("plant",),
    "toys": ("toy",),
    "sculptures": ("sculpture", "artwork"),
}
_BY_KIND = {"animal": ("animal", "creature"), "plant": ("plant",), "building": ("building",), "vehicle": ("vehicle",)}
_BY_PRONOUN = {"she": ("woman",), "he": ("man",)}


def other_names(spec: Spec) -> tuple[tuple[str, ...], ...]:
    """For each entity the nouns, in its number, that may stand for its own after "the".

    Only such as no other entity and no fixed phrase of the specification could be meant by.
    """
    nouns = lexicon().nouns
    classes = [_classes(entity, nouns[entity.noun]) for entity in spec.entities]
    texts = (spec.setting, spec.place_noun, *spec.details, *(e.place or "" for e in spec.entities))
    taken = content_words(" ".join([*texts, *(e.noun for e in spec.entities), *(e.part or "" for e in spec.entities)]))
    names = []
    for i, entity in enumerate(spec.entities):
        others = {name for j, group in enumerate(classes) if j != i for name in group}
        free = [name for name in classes[i] if name not in others and not content_words(name) & taken]
        names.append(tuple(plural(name) if entity.count > 1 else name for name in free))
    return tuple(names)


def _classes(entity: Entity, noun: Noun) -> tuple[str, ...]:
    names = _of_group(noun.group)
    if names is not None:
        return names
    return _BY_PRONOUN.get(entity.pronoun, ()) if noun.kind == "person" else _BY_KIND.get(noun.kind, ())


@lru_cache(maxsize=1024)
def _of_group(group: str) -> tuple[str, ...] | None:
    return next((names for end, names in _BY_GROUP.items() if group.endswith(end)), None)
