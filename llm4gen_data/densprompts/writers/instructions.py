"""How a language model is asked for a prompt: presets, and a specification told as facts."""

from __future__ import annotations

from collections.abc import Sequence

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import NUMBER_WORDS, article, participle, plural, possessed
from llm4gen_data.densprompts.language import Problem
from llm4gen_data.densprompts.spec import ATTRIBUTES, LENGTHS, Entity, Spec
from llm4gen_data.densprompts.vocabulary import lexicon
from llm4gen_data.errors import UsageError

# The paper's instruction to GPT-4 (Fig. 4), to the letter; what follows it in `messages` is ours.
PAPER = (
    "Use 40~140 words to generate some detailed descriptions of the images based on the examples provided below, "
    "for example: {examples}"
)
SPEC = (
    "You write prompts for text-to-image models. Describe one picture in {low} to {high} words of fluent English "
    "prose, as if you saw it. Say every fact below and add no other things, colors, or numbers. Name things, places "
    "and attributes by exactly the words given, and write numbers as words. No lists, no headings, no first person, "
    "and do not mention that it is a picture to be made."
)
REWRITE = (
    "Rewrite the description of a picture that you are given so that it reads as if a person had written it, in {low} "
    "to {high} words of fluent English prose. Keep every thing, attribute, number, place and relation, in the same "
    "words, and add no others."
)
PRESETS = {"paper": PAPER, "spec": SPEC, "rewrite": REWRITE}
REPAIR = "Write the description again, whole. What was wrong with it: {problems}."
# What problems of check.py are called to the model; others go by their own names.
_REQUESTS = {
    "entity": "it must mention: {what}",
    "count": "it must say how many: {what}",
    "attribute": "it must say: {what}",
    "action": "it must say what is being done: {what}",
    "place": "it must say where: {what}",
    "relation": "it must say: {what}",
    "text": 'it must show the words "{what}"',
    "scene": "it must say: {what}",
    "length": "its length is {what}",
}
MAX_PROBLEMS_TOLD = 12

Messages = list[dict[str, str]]


def messages(spec: Spec, preset: str, shown: Sequence[str] = ()) -> Messages:
    """The chat that asks for a prompt of `spec`.

    `shown` are the texts that the preset shows: for paper examples of the manner, for rewrite the text to rewrite.
    Raises UsageError for an unknown preset.
    """
    require_preset(preset)
    told = "\n".join(f"- {fact}" for fact in facts(spec))
    low, high = LENGTHS[spec.length]
    if preset == "paper":
        asked = PAPER.format(examples=", ".join(f'"{example}"' for example in shown))
        wanted = f"Describe this one image, in {low} to {high} words, by the same words for things and attributes:"
        return [{"role": "user", "content": f"{asked}\n\n{wanted}\n{told}"}]
    if preset == "rewrite":
        return [
            {"role": "system", "content": REWRITE.format(low=low, high=high)},
            {"role": "user", "content": shown[0]},
        ]
    return [
        {"role": "system", "content": SPEC.format(low=low, high=high)},
        {"role": "user", "content": f"Facts of the picture:\n{told}"},
    ]


def require_preset(preset: str) -> None:
    """Raise UsageError if there is no preset of this name."""
    if preset not in PRESETS:
        raise UsageError(f"preset {preset!r} is unknown: expected one of {', '.join(PRESETS)}")


def repair_messages(asked: Messages, answer: str, problems: Sequence[Problem]) -> Messages:
    """The same chat, gone on: the model's answer, and what is wrong with it."""
    told = [_REQUESTS.get(p.reason, "{reason}: {what}").format(reason=p.reason, what=p.what) for p in problems]
    again = REPAIR.format(problems="; ".join(told[:MAX_PROBLEMS_TOLD]))
    return [*asked, {"role": "assistant", "content": answer}, {"role": "user", "content": again}]


def facts(spec: Spec) -> list[str]:
    """Everything a specification says, a short phrase each: things, relations, then the scene."""
    told = [_thing(entity) for entity in spec.entities]
    told += [_relation(spec, r.subject, r.name, r.object) for r in spec.relations]
    told.append(f"setting: {spec.setting}")
    told += spec.details
    told += [f"{name}: {value}" for name, value in (("light", spec.light), ("style", spec.style)) if value is not None]
    return [*told, *(value for value in (spec.style_detail, spec.view) if value is not None)]


def _name(entity: Entity) -> str:
    return plural(entity.noun) if entity.count > 1 else entity.noun


def _thing(entity: Entity) -> str:
    words = []
    for attribute in ATTRIBUTES:
        value = getattr(entity, attribute)
        if value is not None:
            words.append(lexicon().materials[value] if attribute == "material" else value)
    phrase = " ".join([*words, _name(entity)])
    phrase = f"{NUMBER_WORDS[entity.count]} {phrase}" if entity.count > 1 else f"{article(phrase)} {phrase}"
    if entity.text is not None:
        phrase += f' that reads "{entity.text}"'
    if entity.part is not None:
        phrase += f", with {entity.part}"
    if entity.place is not None:
        phrase += f", {entity.place}"
    if entity.action is not None:
        phrase += f", {participle(possessed(entity.action, entity.pronoun))}"
    return phrase


def _relation(spec: Spec, subject: int, name: str, other: int) -> str:
    thing, reference = spec.entities[subject], spec.entities[other]
    first, second = _name(thing), _name(reference)
    if name == "more numerous than":
        return f"there are more {first} than {second}"
    is_ = "are" if thing.count > 1 else "is"
    if name in (rel.WEARING, rel.HOLDING):
        return f"the {first} {is_} {name} {article(second)} {second}"
    words = rel.SPATIAL[name][0].format(ref=f"the {second}") if name in rel.SPATIAL else f"{name} the {second}"
    return f"the {first} {is_} {words}" if name != "same color as" else f"the {first} {is_} the {words}"
