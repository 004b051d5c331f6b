"""First sentences: each function says one that brings in the main thing, and where it is."""

from __future__ import annotations

from collections.abc import Callable

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.inflect import enumeration
from llm4gen_data.densprompts.spec import Relation
from llm4gen_data.densprompts.writers.draft import Draft

INVENTORIES = (
    "{list} share {ground}",
    "{list} are brought together {setting}",
    "{setting}, {list} make up the scene",
    "{list} are arranged {setting}",
    "{setting} one finds {list}",
    "{setting}, one sees {list}",
)
ATTENTION = (
    "the first thing to notice {setting} is {np}",
    "{setting}, {np} {draws} the eye",
    "{np} {is} the center of attention {setting}",
    "the main subject is {np} {setting}",
)
HERE = ("here, {np} {does}", "in the middle of it all, {np} {does}", "{np} {does} there", "amid all this, {np} {does}")
SCENE_WHERE = (
    "the scene is set {setting}, where {np} {does}",
    "everything takes place {setting}, where {np} {does}",
    "the view opens on {ground}, where {np} {does}",
)
WITH_LIST = (
    "{ground}, with {list}",
    "{list} {setting}",
    "{setting}: {list}",
    "{ground}, and in the midst of it {list}",
)
LIGHT_OVER = ("falls over", "spreads over", "settles over", "falls across")
STYLE_SHOWS = ("{style} shows {np} {doing} {setting}", "{style} depicts {np} {doing} {setting}")


def open_draft(draft: Draft) -> None:
    """Say one of the openings that the specification allows."""
    spec = draft.spec
    openings: list[Callable[[Draft], None]] = []
    openings += [plain, plain, plain, plain, setting_first, setting_first, setting_first, inverted]
    openings += [attention, detail_first, detail_first, there_is, scene_where, scene_where, with_list, with_list]
    if _relation_to_main(draft) is not None:
        openings += [by_relation] * 3
    if spec.light is not None:
        openings += [light_first, light_first, in_light, in_light]
    if spec.view is not None:
        openings += [view_first] * 5
    if spec.style is not None:
        openings += [style_shows, style_shows, style_where, style_where, in_style, style_of]
        if spec.category == "art and illustration":
            openings = [style_shows, style_where, in_style, style_of, plain, setting_first]
    if len(spec.entities) > 2:
        openings += [inventory, inventory]
    draft.rng.choice(openings)(draft)
    draft.may_extend = draft.last is not None


def does(draft: Draft) -> str:
    """What the main thing does there, or how it stands there."""
    entity = draft.entity(0)
    if entity.action is not None and draft.rng.random() < 0.85:
        draft.told[0].add("action")
        return draft.verb(0, entity.action)
    return draft.verb(0, entity.posture or "be there")


def doing(draft: Draft) -> str:
    """The same as a participle."""
    entity = draft.entity(0)
    if entity.action is not None and draft.rng.random() < 0.85:
        draft.told[0].add("action")
        return draft.doing(0, entity.action)
    return draft.doing(0, entity.posture or "be there")


def ground(draft: Draft) -> str:
    """The setting without its preposition: "a small kitchen"."""
    return draft.spec.setting.partition(" ")[2]


def plain(draft: Draft) -> None:
    """ "A shaggy dog sleeps in a small kitchen"."""
    draft.say(f"{draft.noun_phrase(0)} {does(draft)} {draft.spec.setting}", topic=0)


def setting_first(draft: Draft) -> None:
    """ "In a small kitchen, a shaggy dog sleeps"."""
    if draft.entity(0).action is None:
        inverted(draft)
        return
    phrase = draft.noun_phrase(0)
    draft.told[0].add("action")
    draft.say(f"{draft.spec.setting}, {phrase} {draft.verb(0, str(draft.entity(0).action))}", topic=0)


def inverted(draft: Draft) -> None:
    """ "In a small kitchen lies a shaggy dog"; what it does comes later."""
    posture = str(draft.entity(0).posture)
    if posture.startswith("be "):
        draft.say(f"{draft.spec.setting}, {draft.noun_phrase(0)} {draft.verb(0, posture)}", topic=0)
    else:
        draft.say(f"{draft.spec.setting} {draft.verb(0, posture)} {draft.noun_phrase(0)}", topic=0)


def there_is(draft: Draft) -> None:
    """ "In a small kitchen, there is a shaggy dog sleeping"."""
    draft.say(f"{draft.spec.setting}, there {draft.is_(0)} {draft.noun_phrase(0)}", topic=0)


def attention(draft: Draft) -> None:
    """ "The first thing to notice in a small kitchen is a shaggy dog"."""
    keys = {"setting": draft.spec.setting, "is": draft.is_(0), "draws": draft.verb(0, "draw"), "np": ""}
    pattern = draft.choose(ATTENTION)
    draft.say(pattern.format(**keys | {"np": draft.noun_phrase(0)}), topic=0)


def detail_first(draft: Draft) -> None:
    """ "In a small kitchen, steam fogs the window. Here, a shaggy dog sleeps"."""
    if not draft.details:
        setting_first(draft)
        return
    draft.say(f"{draft.spec.setting}, {draft.details.pop(0)}")
    pattern = draft.choose(HERE)
    phrase = draft.noun_phrase(0)
    draft.say(pattern.format(np=phrase, does=does(draft)), topic=0)


def light_first(draft: Draft) -> None:
    """ "Soft morning light falls over a small kitchen, where a shaggy dog sleeps"."""
    draft.light_said = True
    falls = draft.choose(LIGHT_OVER)
    phrase = draft.noun_phrase(0)
    draft.say(f"{draft.spec.light} {falls} {ground(draft)}, where {phrase} {does(draft)}", topic=0)


def in_light(draft: Draft) -> None:
    """ "In soft morning light, a shaggy dog sleeps in a small kitchen"."""
    draft.light_said = True
    preposition = draft.rng.choice(("in", "under"))
    phrase = draft.noun_phrase(0)
    draft.say(f"{preposition} {draft.spec.light}, {phrase} {does(draft)} {draft.spec.setting}", topic=0)


def view_first(draft: Draft) -> None:
    """ "Seen from above, a shaggy dog sleeps in a small kitchen"."""
    draft.view_said = True
    phrase = draft.noun_phrase(0)
    draft.say(f"{draft.spec.view}, {phrase} {does(draft)} {draft.spec.setting}", topic=0)


def style_shows(draft: Draft) -> None:
    """ "An oil painting shows a shaggy dog sleeping in a small kitchen"."""
    draft.style_said = True
    phrase = draft.noun_phrase(0)
    pattern = draft.choose(STYLE_SHOWS)
    style = str(draft.spec.style)
    draft.say(pattern.format(style=style, np=phrase, doing=doing(draft), setting=draft.spec.setting), topic=0)


def style_where(draft: Draft) -> None:
    """ "An oil painting of a small kitchen, where a shaggy dog sleeps"."""
    draft.style_said = True
    phrase = draft.noun_phrase(0)
    shows = draft.rng.choice(("of", "shows"))
    draft.say(f"{draft.spec.style} {shows} {ground(draft)}, where {phrase} {does(draft)}", topic=0)


def in_style(draft: Draft) -> None:
    """ "In this oil painting, a shaggy dog sleeps in a small kitchen"."""
    draft.style_said = True
    style = str(draft.spec.style).partition(" ")[2]
    phrase = draft.noun_phrase(0)
    draft.say(f"in this {style}, {phrase} {does(draft)} {draft.spec.setting}", topic=0)


def style_of(draft: Draft) -> None:
    """ "An oil painting of a shaggy dog sleeping in a small kitchen"."""
    draft.style_said = True
    phrase = draft.noun_phrase(0)
    draft.say(f"{draft.spec.style} of {phrase} {doing(draft)} {draft.spec.setting}", topic=0)


def scene_where(draft: Draft) -> None:
    """ "The scene is set in a small kitchen, where a shaggy dog sleeps"."""
    pattern = draft.choose(SCENE_WHERE)
    phrase = draft.noun_phrase(0)
    keys = {"np": phrase, "does": does(draft), "ground": ground(draft), "setting": draft.spec.setting}
    draft.say(pattern.format(**keys), topic=0)


def with_list(draft: Draft) -> None:
    """ "A small kitchen with tiled walls, and in it a shaggy dog and a blue vase"; how they stand comes later."""
    members = _members(draft)[: draft.rng.choice((2, 2, 3))]
    phrases = [draft.noun_phrase(i) for i in members]
    pattern = draft.choose(WITH_LIST)
    keys = {"list": enumeration(phrases), "ground": ground(draft), "setting": draft.spec.setting}
    draft.say(pattern.format(**keys), topic=members[0] if len(members) == 1 else None)


def by_relation(draft: Draft) -> None:
    """ "Behind a shaggy dog in a small kitchen stands a blue vase"."""
    relation = _relation_to_main(draft)
    if relation is None:
        plain(draft)
        return
    draft.said.add(relation)
    where = draft.rng.choice(rel.SPATIAL[relation.name]).format(ref=draft.noun_phrase(0))
    other = relation.subject
    phrase = draft.noun_phrase(other)
    verb = draft.verb(other, str(draft.entity(other).posture))
    if verb.startswith(("is ", "are ")):
        draft.say(f"{where} {draft.spec.setting}, {phrase} {verb}", topic=other)
    else:
        draft.say(f"{where} {draft.spec.setting} {verb} {phrase}", topic=other)


def _relation_to_main(draft: Draft) -> Relation | None:
    """A relation by which another thing can be brought in together with the main one."""
    for relation in draft.spec.relations:
        if relation.object == 0 and relation.name in rel.SPATIAL:
            return relation
    return None


def _members(draft: Draft) -> list[int]:
    owned = {r.object for r in draft.spec.relations if r.name in (rel.WEARING, rel.HOLDING)}
    return [i for i in range(len(draft.spec.entities)) if i not in owned]


def inventory(draft: Draft) -> None:
    """ "A shaggy dog, a blue vase and two chairs share a small kitchen"; how they stand comes later."""
    members = _members(draft)[:4]
    if len(members) < 3:
        plain(draft)
        return
    phrases = [draft.noun_phrase(i) for i in members]
    pattern = draft.choose(INVENTORIES)
    draft.say(pattern.format(list=enumeration(phrases), ground=ground(draft), setting=draft.spec.setting))
