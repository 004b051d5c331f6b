"""The sentences after the first: bring things in, say what is left of them, light, style."""

from __future__ import annotations

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.spec import Relation
from llm4gen_data.densprompts.vocabulary import lexicon
from llm4gen_data.densprompts.writers.draft import Draft

INTRODUCTIONS = (
    "{np} {verb} {place}",
    "{np} {verb} {place}",
    "{np} {verb} {place}",
    "there {is} {np} {place}",
    "{place} {is} {np}",
    "{np} can be seen {place}",
    "{np} {is} visible {place}",
)
INVERTED = ("{place} {verb} {np}", "{place} {verb} {np}", "{place} {verb} {np}")
# For what people put somewhere.
PLACED = (
    "{np} {has} been placed {place}",
    "{np} {has} been left {place}",
    "someone has put {np} {place}",
    "{place}, someone has left {np}",
)
ACTIVE = ("{place}, {np} {action}", "{np} {action} {place}", "{place}, there {is} {np} {doing}")
TRAILING = (", with {np} {place}", ", and {np} {verb} {place}", ", while {np} {verb} {place}", "; {place} {verb} {np}")
KNOWN_PLACES = ("{ref} {verb} {place}", "{ref} {is} {place}", "{place} {verb} {ref}", "{ref} {verb} {place}")
WORN = ("{subject} {wear} {np}", "{subject} {is} dressed in {np}", "{subject} {have} {np} on")
HELD = (
    "{subject} {hold} {np}",
    "{subject} {hold} {np} in both hands",
    "{subject} {carry} {np}",
    "{np} rests in {poss} hands",
)
COLORED = ("{subject} {is} {color}", "{subject} {is} {color} in color", "{ref} {is} {color}")
MADE_OF = ("{subject} {is} made of {material}", "{ref} {is} made of {material}")
BOTH = ("{subject} {is} made of {color} {material}", "{subject} {is} {color} and made of {material}")
MORE = ("{subject} outnumber {ref}", "there are more {nouns} than {other_nouns}")
LARGER = (
    "{subject} {is} {than} {ref}",
    "{subject} {is} clearly {than} {ref}",
    "{subject} {is} a little {than} {ref}",
    "{subject} {is} noticeably {than} {ref}",
    "{subject} {look} {than} {ref}",
)
SAME_COLOR = ("{subject} {is} the same color as {ref}", "{subject} {have} the same color as {ref}")
STYLE_PHOTO = ("the scene is captured in {style}", "this is {style}", "the picture is {style}")
STYLE_ART = (
    "the picture is {style}",
    "all of this is shown as {style}",
    "the whole scene takes the form of {style}",
    "this is {style}",
    "the scene appears as {style}",
)
VIEWS = ("the scene is {view}", "everything is {view}")
# A sentence of more words takes no further clause.
MAX_WORDS_BEFORE_CLAUSE = 16


def bring_in(draft: Draft, i: int) -> None:
    """Introduce entity `i` where it is; if it is known already, say where it is."""
    if i in draft.told:
        if not _is_placed(draft, i):
            _place_known(draft, i)
        return
    entity, rng = draft.entity(i), draft.rng
    verb = draft.verb(i, entity.posture or "be there")
    may_trail = draft.may_extend and _is_simple(draft.sentences[-1])
    keys = {"is": draft.is_(i), "has": draft.verb(i, "have"), "verb": verb, "place": draft.place(i)}
    keys["np"] = draft.noun_phrase(i)
    acts = entity.action is not None and rng.random() < 0.6
    if entity.action is not None:
        keys |= {"action": draft.verb(i, entity.action), "doing": draft.doing(i, entity.action)}
    if acts:
        draft.told[i].add("action")
        draft.say(draft.choose(ACTIVE).format(**keys), topic=i)
        draft.may_extend = True
    elif may_trail and rng.random() < 0.3:
        draft.extend(draft.choose(TRAILING).format(**keys), topic=i)
    else:
        patterns = INTRODUCTIONS + (PLACED if _is_portable(draft, i) else ())
        patterns += () if verb.startswith(("is ", "are ")) else INVERTED
        draft.say(draft.choose(patterns).format(**keys), topic=i)
        draft.may_extend = True


def _is_simple(sentence: str) -> bool:
    """Whether a sentence can take a clause more: short, and of one clause so far."""
    return len(sentence.split()) <= MAX_WORDS_BEFORE_CLAUSE and "," not in sentence and ";" not in sentence


def _is_portable(draft: Draft, i: int) -> bool:
    noun = lexicon().nouns[draft.entity(i).noun]
    return noun.kind in ("object", "food") and noun.where == "surface" and draft.entity(i).posture != "float"


def _is_placed(draft: Draft, i: int) -> bool:
    """Whether it has been said where the entity is, as far as the specification tells."""
    if draft.entity(i).place is not None:
        return "place" in draft.told[i]
    return all(r in draft.said for r in draft.spec.relations if r.subject == i and r.name in rel.SPATIAL)


def _place_known(draft: Draft, i: int) -> None:
    keys = {"is": draft.is_(i), "verb": draft.verb(i, draft.entity(i).posture or "be there")}
    patterns = KNOWN_PLACES[:2] if keys["verb"].startswith(("is ", "are ")) else KNOWN_PLACES
    pattern = draft.choose(patterns)
    keys["place"] = draft.place(i)
    draft.told[i].add("place")
    draft.say(pattern.format(**keys, ref=draft.reference(i)), topic=i)


def say_owned(draft: Draft, person: int) -> None:
    """What a person wears and holds, as far as it has not been said."""
    for relation in draft.spec.relations:
        if relation.subject == person and relation.name in (rel.WEARING, rel.HOLDING) and relation not in draft.said:
            draft.said.add(relation)
            pattern = draft.choose(WORN if relation.name == rel.WEARING else HELD)
            keys = {verb: draft.verb(person, verb) for verb in ("wear", "have", "hold", "carry")}
            poss = {"she": "her", "he": "his", "they": "their"}.get(draft.entity(person).pronoun, "its")
            keys |= {"subject": draft.subject(person), "is": draft.is_(person), "poss": poss}
            draft.say(pattern.format(**keys, np=draft.noun_phrase(relation.object)), topic=person)


def say_missing(draft: Draft, i: int) -> None:
    """Color, material and action of entity `i` that have not been said."""
    entity, told = draft.entity(i), draft.told[i]
    color = entity.color if "color" not in told else None
    material = entity.material if "material" not in told else None
    if color is not None or material is not None:
        keys = {"is": draft.is_(i), "subject": draft.subject(i), "ref": draft.reference(i)}
    if color is not None and material is not None:
        draft.say(draft.choose(BOTH).format(**keys, color=color, material=material), topic=i)
    elif color is not None:
        draft.say(draft.choose(COLORED).format(**keys, color=color), topic=i)
    elif material is not None:
        draft.say(draft.choose(MADE_OF).format(**keys, material=material), topic=i)
    told |= {name for name, value in (("color", color), ("material", material)) if value is not None}
    if entity.action is not None and "action" not in told:
        told.add("action")
        if draft.rng.random() < 0.7:
            draft.say(f"{draft.subject(i)} {draft.verb(i, entity.action)}", topic=i)
        else:
            draft.say(f"{draft.subject(i)} {draft.is_(i)} {draft.doing(i, entity.action)}", topic=i)


def say_relation(draft: Draft, relation: Relation) -> None:
    """An interaction or a comparison of two known things."""
    draft.said.add(relation)
    a, b = relation.subject, relation.object
    subject, ref = draft.subject(a), draft.reference(b)
    if relation.name in rel.INTERACTIONS:
        verb = f"{rel.INTERACTIONS[relation.name]} {ref}"
        if draft.rng.random() < 0.6:
            draft.say(f"{subject} {draft.verb(a, verb)}", topic=a)
        else:
            draft.say(f"{subject} {draft.is_(a)} {draft.doing(a, verb)}", topic=a)
        return
    keys = {"subject": subject, "ref": ref, "is": draft.is_(a), "look": draft.verb(a, "look")}
    keys |= {"have": draft.verb(a, "have"), "nouns": draft.noun(a), "other_nouns": draft.noun(b)}
    if relation.name == "more numerous than":
        draft.say(draft.choose(MORE).format(**keys))
    elif relation.name == "same color as":
        draft.say(draft.choose(SAME_COLOR).format(**keys))
    else:
        than = draft.rng.choice(rel.COMPARISONS[relation.name])
        draft.say(draft.choose(LARGER).format(**keys, than=than))


def say_detail(draft: Draft) -> None:
    """The next detail of the setting, sometimes two in one sentence."""
    detail = draft.details.pop(0)
    if draft.details and draft.rng.random() < 0.4:
        detail += draft.rng.choice((", and ", ", while ", "; ")) + draft.details.pop(0)
    draft.say(detail)


def say_light(draft: Draft) -> None:
    """The light, unless it has been said."""
    if draft.spec.light is not None and not draft.light_said:
        draft.light_said = True
        sentence = draft.choose(lexicon().light_sentences)
        draft.say(sentence.format(light=draft.spec.light, place=draft.spec.place_noun))


def say_style(draft: Draft) -> None:
    """Style and point of view, unless they have been said, and what shows the style."""
    spec, rng = draft.spec, draft.rng
    view = None if draft.view_said else spec.view
    draft.view_said = True
    if view is not None and (spec.style is None or draft.style_said):
        draft.say(draft.choose(VIEWS).format(view=view))
    if spec.style is None:
        return
    detail = None if draft.style_detail_said else spec.style_detail
    draft.style_detail_said = True
    if draft.style_said:
        if detail is not None:
            draft.say(detail)
        return
    draft.style_said = True
    sentence = draft.choose(STYLE_PHOTO if spec.style in lexicon().photographs else STYLE_ART)
    sentence = sentence.format(style=spec.style)
    if view is not None:
        sentence += f", {view}"
    if detail is not None:
        sentence += rng.choice((", and ", "; ", ". ")) + detail
    first, stop, second = sentence.partition(". ")
    draft.say(first)
    if stop:
        draft.say(second)
