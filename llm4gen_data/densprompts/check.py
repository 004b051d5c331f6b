"""Hold a prompt against its specification: everything that it should say is there, and it is sound English.

The checks read the text alone. They know the words for things (`reader.py`), not how a writer put them together, so
any writer's text can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import PRONOUNS, participle, plain_form, possessed, third_person
from llm4gen_data.densprompts.language import Problem, check_language, proper_names
from llm4gen_data.densprompts.reader import Reader, attribute_words
from llm4gen_data.densprompts.spec import ATTRIBUTES, LENGTHS, Entity, Relation, Spec

# Words before what is worn or held; "a", "an" or nothing (for several) stands between.
WEARING_WORDS = ("in", "wearing", "wears", "has", "having")
HOLDING_WORDS = ("holds", "holding", "carries", "carrying")
IN_HANDS = tuple(f"in {whose} {hands}" for whose in ("her", "his", "their") for hands in ("hand", "hands"))


def check(prompt: str, spec: Spec) -> list[Problem]:
    """Everything that is wrong with a prompt; none if it may be kept."""
    return [
        *check_language(prompt),
        *_check_names(prompt, spec),
        *_check_length(prompt, spec),
        *_content(prompt, spec),
    ]


def _check_names(prompt: str, spec: Spec) -> list[Problem]:
    return [Problem("proper name", name) for name in proper_names(prompt, spec.to_json())]


def _check_length(prompt: str, spec: Spec) -> list[Problem]:
    low, high = LENGTHS[spec.length]
    n_words = len(prompt.split())
    return [] if low <= n_words <= high else [Problem("length", f"{n_words} words, expected {low} to {high}")]


def _content(prompt: str, spec: Spec) -> Iterator[Problem]:
    """What the specification says and the prompt does not."""
    reader = Reader(prompt, spec)
    for i, entity in enumerate(spec.entities):
        if reader.mentions[i]:
            yield from _missing_of(reader, i, entity)
        else:
            yield Problem("entity", entity.noun)
        if entity.text is not None and f'"{entity.text}"' not in prompt:
            yield Problem("text", entity.text)
    for relation in spec.relations:
        if not _relates(reader, relation):
            first, second = spec.entities[relation.subject].noun, spec.entities[relation.object].noun
            yield Problem("relation", f"{first} {relation.name} {second}")
    told = prompt.lower()
    style = None if spec.style is None else spec.style.partition(" ")[2]
    ground = spec.ground
    for claim in (ground, spec.light, style, spec.style_detail, spec.view, *spec.details):
        if claim is not None and claim.lower() not in told:
            yield Problem("scene", claim)


def _missing_of(reader: Reader, i: int, entity: Entity) -> Iterator[Problem]:
    if entity.count > 1 and not reader.counts(i):
        yield Problem("count", f"{entity.count} {entity.noun}")
    for attribute in ATTRIBUTES:
        value = getattr(entity, attribute)
        if value is not None and not reader.has(i, attribute_words(attribute, value)):
            yield Problem("attribute", f"{value} {entity.noun}")
    if entity.part is not None and not reader.together(i, None, [entity.part]):
        yield Problem("part", f"{entity.noun} with {entity.part}")
    if entity.action is not None and not reader.together(i, None, _verb_forms(entity, entity.action)):
        yield Problem("action", f"{entity.noun}: {entity.action}")
    if entity.place is not None and not reader.together(i, None, [entity.place]):
        yield Problem("place", f"{entity.noun} {entity.place}")
    wrong = reader.disagrees(i)
    if wrong is not None:
        yield Problem("agreement", wrong)


def _verb_forms(entity: Entity, verb: str) -> list[str]:
    verb = possessed(verb, entity.pronoun)
    return [plain_form(verb) if entity.count > 1 else third_person(verb), participle(verb)]


def _relates(reader: Reader, relation: Relation) -> bool:
    """Whether the text says the relation, in any of its wordings."""
    a, b = relation.subject, relation.object
    if relation.name in rel.SPATIAL:
        _, obj, poss = PRONOUNS[reader.spec.entities[b].pronoun]
        by_pronoun = [phrase.format(obj=obj, poss=poss) for phrase in rel.SPATIAL_PRONOUN[relation.name]]
        by_name = [
            phrase.format(ref=ref).strip() for phrase in rel.SPATIAL[relation.name] for ref in ("the", "a", "an", "")
        ]
        return reader.leads_to(a, b, by_name) or reader.together(a, b, by_pronoun)
    if relation.name in rel.INTERACTIONS:
        forms = _verb_forms(reader.spec.entities[a], rel.INTERACTIONS[relation.name])
        return reader.leads_to(a, b, [f"{form} {ref}" for form in forms for ref in ("the", "a", "an")])
    if relation.name in (rel.WEARING, rel.HOLDING):
        words = WEARING_WORDS if relation.name == rel.WEARING else HOLDING_WORDS
        had = reader.leads_to(a, b, [f"{word} {article}".strip() for word in words for article in ("a", "an", "")])
        return had or (relation.name == rel.HOLDING and reader.together(a, b, list(IN_HANDS)))
    if relation.name == "more numerous than":
        more = " ".join(["more", *reader.nouns[a], "than"])
        return reader.leads_to(a, b, ["outnumber the", "outnumber", more])
    return reader.leads_to(a, b, [f"{phrase} the" for phrase in rel.COMPARISONS[relation.name]])
