"""Yes/no questions about a prompt's picture, from its specification, each with the questions it depends on.

In the manner of Davidsonian scene graphs: one fact a question; an attribute is only asked about if the thing is there.
The right answer to all of them is yes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import NUMBER_WORDS, article, participle, plural, possessed
from llm4gen_data.densprompts.spec import ATTRIBUTES, Entity, Relation, Spec

KINDS = ("existence", "part", "count", "attribute", "action", "relation", "text", "scene")
# What a picture must get right for a yes.
SKILLS = (
    "existence",
    "color",
    "shape",
    "texture",
    "count",
    "size",
    "spatial",
    "action",
    "comparison",
    "text",
    "scene",
)
_ATTRIBUTE_SKILLS = {"look": "texture", "material": "texture"}  # the others go by their own names
# The words for a relation in a question; those that are not here are their own.
_RELATION_WORDS = {
    "left of": "to the left of",
    "right of": "to the right of",
    "same color as": "the same color as",
    rel.HOLDING: "holding",
    rel.WEARING: "wearing",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a prompt; `question_id` is unique within it, `parent_ids` are earlier ones of it.

    `fact` is the graph's tuple, "kind - detail (things)", `answer` is what a right picture answers, `skill` is one of
    SKILLS.
    """

    question_id: str
    question: str
    answer: str
    kind: str
    fact: str
    parent_ids: tuple[str, ...]
    skill: str


@dataclass
class _Sheet:
    asked: list[Question] = field(default_factory=list)

    def ask(self, question: str, kind: str, skill: str, fact: str, *parents: str) -> str:
        question_id = f"q{len(self.asked) + 1:02d}"
        self.asked.append(Question(question_id, question, "yes", kind, fact, parents, skill))
        return question_id


def questions(spec: Spec) -> list[Question]:
    """One question for every fact of the specification, things first."""
    sheet = _Sheet()
    parents = []
    for entity in spec.entities:
        name = _name(entity)
        asked = f"Are there {name}" if entity.count > 1 else f"Is there {article(name)} {name}"
        parents.append(sheet.ask(f"{asked} in the picture?", "existence", "existence", f"entity - whole ({name})"))
    for entity, parent in zip(spec.entities, parents, strict=True):
        _ask_about(sheet, entity, parent)
    for relation in spec.relations:
        _ask_relation(sheet, spec, relation, parents)
    _ask_scene(sheet, spec)
    return sheet.asked


def _name(entity: Entity) -> str:
    return plural(entity.noun) if entity.count > 1 else entity.noun


def _ask_about(sheet: _Sheet, entity: Entity, parent: str) -> None:
    name, is_ = _name(entity), "Are" if entity.count > 1 else "Is"
    if entity.count > 1:
        asked = f"Are there exactly {NUMBER_WORDS[entity.count]} {name}?"
        sheet.ask(asked, "count", "count", f"count ({name}, =={entity.count})", parent)
    for attribute in ATTRIBUTES:
        value = getattr(entity, attribute)
        if value is not None:
            predicate = f"made of {value}" if attribute == "material" else value
            skill = _ATTRIBUTE_SKILLS.get(attribute, attribute)
            fact = f"attribute - {'texture' if attribute == 'look' else attribute} ({name}, {value})"
            sheet.ask(f"{is_} the {name} {predicate}?", "attribute", skill, fact, parent)
    if entity.part is not None:
        do = "Do" if entity.count > 1 else "Does"
        sheet.ask(
            f"{do} the {name} have {entity.part}?",
            "part",
            "existence",
            f"entity - part ({name}, {entity.part})",
            parent,
        )
    if entity.action is not None:
        doing = participle(possessed(entity.action, entity.pronoun))
        sheet.ask(f"{is_} the {name} {doing}?", "action", "action", f"action ({name}, {doing})", parent)
    if entity.place is not None:
        fact = f"relation - place ({name}, {entity.place})"
        sheet.ask(f"{is_} the {name} {entity.place}?", "relation", "spatial", fact, parent)
    if entity.text is not None:
        sheet.ask(f'Does the {name} read "{entity.text}"?', "text", "text", f"text ({name}, {entity.text})", parent)


def _ask_relation(sheet: _Sheet, spec: Spec, relation: Relation, parents: list[str]) -> None:
    subject, other = spec.entities[relation.subject], spec.entities[relation.object]
    first, second = _name(subject), _name(other)
    both = (parents[relation.subject], parents[relation.object])
    fact = f"({first}, {relation.name}, {second})"
    if relation.name == "more numerous than":
        sheet.ask(
            f"Are there more {first} than {second}?", "relation", "comparison", f"relation - comparison {fact}", *both
        )
        return
    is_ = "Are" if subject.count > 1 else "Is"
    article_ = "a" if relation.name in (rel.HOLDING, rel.WEARING) else "the"
    if article_ == "a" and other.count == 1:
        article_ = article(second)
    words = _RELATION_WORDS.get(relation.name, relation.name)
    kind = "action" if relation.name in rel.INTERACTIONS else "relation"
    skill = "action"  # also for what is worn and held
    if relation.name in rel.COMPARISONS or relation.name in rel.SPATIAL:
        skill = "spatial" if relation.name in rel.SPATIAL else "comparison"
    sheet.ask(f"{is_} the {first} {words} {article_} {second}?", kind, skill, f"relation - {skill} {fact}", *both)


def _ask_scene(sheet: _Sheet, spec: Spec) -> None:
    sheet.ask(f"Is the scene set {spec.setting}?", "scene", "scene", f"global - setting ({spec.setting})")
    for detail in spec.details:
        sheet.ask(f"Is it true that {detail}?", "scene", "scene", f"global - detail ({detail})")
    if spec.light is not None:
        sheet.ask(f"Is the scene lit by {spec.light}?", "scene", "scene", f"global - light ({spec.light})")
    if spec.style is not None:
        parent = sheet.ask(f"Is the picture {spec.style}?", "scene", "scene", f"global - style ({spec.style})")
        if spec.style_detail is not None:
            fact = f"global - style detail ({spec.style_detail})"
            sheet.ask(f"Is it true that {spec.style_detail}?", "scene", "scene", fact, parent)
    if spec.view is not None:
        sheet.ask(f"Is the scene {spec.view}?", "scene", "scene", f"global - view ({spec.view})")
