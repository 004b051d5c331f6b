"""Sentence plans: filled field by field, and only where there is something to say."""

import random
import re
import string
from dataclasses import replace

import pytest

from llm4gen_data.densprompts.coreference import other_names
from llm4gen_data.densprompts.spec import Entity, Relation, Spec
from llm4gen_data.densprompts.writers import introductions, openings, scene, sentences
from llm4gen_data.densprompts.writers.draft import Draft
from llm4gen_data.densprompts.writers.plans import fields_of, possible, render, tell

TABLES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": table
    for module in (openings, introductions, sentences, scene)
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, tuple) and all(isinstance(plan, str) and "{" in plan for plan in table)
}

FIELDS = re.compile(
    r"(?:np|ref|subj|where|there|is|does|doing|verb|nouns|poss|that|v|color|material|part|apart)2?"
    r"|setting|ground|place|light|style|bare_style|style_detail|view|detail|list|than"
)


def draft(*entities: Entity, relations: tuple[Relation, ...] = (), **values: object) -> Draft:
    spec = Spec("animals", "color", "short", "in a walled garden", "garden", entities, relations)
    spec = replace(spec, **values)  # type: ignore[arg-type]
    return Draft(spec, random.Random(0), other_names(spec), list(spec.details))


FOX = Entity("fox", 1, "it", posture="stand", action="sniff the air", place="by the gate")
HENS = Entity("hen", 3, "they", posture="sit")


@pytest.mark.parametrize("name", TABLES)
def test_plans_have_known_fields_and_no_stop(name: str) -> None:
    for plan in TABLES[name]:
        assert all(FIELDS.fullmatch(field) for field in fields_of(plan)), plan
        assert not plan.endswith((".", " ")), plan
        assert "  " not in plan
        assert list(string.Formatter().parse(plan))


def test_there_are_many_plans() -> None:
    assert len({plan for table in TABLES.values() for plan in table}) >= 250


def test_fields_are_filled_in_their_order() -> None:
    made = draft(FOX, details=("steam fogs the panes",))
    text = render(made, "{where}, {np} {is} {doing} while {detail}", 0)
    assert text == "by the gate, a fox is sniffing the air while steam fogs the panes"
    assert made.details == []
    assert made.is_placed(0)
    assert not made.acts(0)


def test_several_take_plural_verbs() -> None:
    assert (
        render(draft(HENS), "{np} {verb} here and {v:have} {poss} nest", 0)
        == "three hens sit here and have their nest"
    )


def test_only_what_is_left_to_say_is_possible() -> None:
    made = draft(FOX, HENS, relations=(Relation(1, "left of", 0),), light="pale moonlight")
    plans = ("{np} {does}", "{detail}", "{light} falls", "{style}", "{np} {verb} {where}")
    assert possible(made, plans, 0) == ["{np} {does}", "{light} falls", "{np} {verb} {where}"]
    assert tell(made, plans[:1])
    assert possible(made, plans, 0) == ["{light} falls", "{np} {verb} {where}"]
    assert render(made, "{light} falls", 0) == "pale moonlight falls"
    assert possible(made, plans, 0) == ["{np} {verb} {where}"]
    assert not tell(made, plans[:1])


def test_who_sleeps_is_not_said_to_stand() -> None:
    made = draft(replace(FOX, action="sleep curled up"))
    assert possible(made, ("{np} {verb} {where}", "{np} {does}"), 0) == ["{np} {does}"]


def test_who_walks_to_a_thing_is_not_placed_beside_it() -> None:
    relations = (Relation(1, "near", 0), Relation(1, "looking at", 0))
    made = draft(FOX, HENS, relations=relations)
    render(made, "{np}", 0)
    assert possible(made, ("{np} {does} {where}", "{np} {does}"), 1) == ["{np} {does}"]


def test_a_pronoun_means_what_was_told_last() -> None:
    made = draft(FOX, HENS, Entity("kettle", 1, "it", posture="stand"), relations=(Relation(1, "near", 0),))
    made.say(render(made, "{np} {verb} there", 0), "", topic=0)
    wheres = set()
    for seed in range(30):
        made.rng = random.Random(seed)
        wheres.add(render(made, "{where}", 1))
    assert {"near it", "near the fox"} <= wheres
    assert made.last == 0
    made.details = ["steam fogs the panes"]
    for seed in range(30):
        made.rng, made.details, made.last, made.named = random.Random(seed), ["steam rises"], 0, []
        made.said.clear()
        assert not render(made, "{detail}; {where}", 1).endswith(" it")
