"""The sentences of a dense caption: each function adds some to a draft and notes what they state."""

from llm4gen_data.scenes import phrases
from llm4gen_data.scenes.draft import (
    Draft,
    ground,
    new_unit_keys,
    noun_phrase,
    place_of,
    pronouns,
    reference,
    relation_keys,
    subject_keys,
    things,
    verb_keys,
)
from llm4gen_data.scenes.sample import Relation
from llm4gen_data.scenes.vocabulary import BACKGROUNDS, FRAME_PX, OPPOSITE_RELATION
from llm4gen_data.scenes.wording import ATTRIBUTES, NUMBER_WORDS, article, enumeration


def open_with(draft: Draft, u: int) -> None:
    """The first sentence about the first unit."""
    keys = new_unit_keys(draft, u)
    patterns = list(phrases.OPENINGS)
    if "place" in keys:
        patterns += phrases.PLACED_OPENINGS
    if not draft.ground_said:
        patterns += phrases.BACKED_OPENINGS
    pattern = draft.choose(patterns)
    draft.ground_said |= "{ground}" in pattern
    draft.say(pattern, keys, topic=u)


def introduce(draft: Draft, u: int, anchor: int) -> None:
    """Bring in unit `u` by its relation to `anchor`."""
    rng = draft.rng
    relation = rng.choice(draft.related[u, anchor])
    draft.claim(u, relation, anchor)
    by_topic = draft.topic == anchor and rng.random() < 0.6
    keys = relation_keys(draft, relation, anchor) | new_unit_keys(draft, u)
    it, _, its = pronouns(draft, anchor)
    keys |= {"known": reference(draft, anchor), "known_it": it, "known_its": its}
    keys |= {f"known_{key}": form for key, form in verb_keys(draft, anchor).items() if key in ("is", "has", "verb")}
    topics = dict(phrases.TOPIC_INTRODUCTIONS if by_topic else phrases.INTRODUCTIONS)
    pattern = draft.choose(tuple(topics))
    draft.say(pattern, keys, topic=u if topics[pattern] == "new" else None)


def say_list(draft: Draft, order: list[int], patterns: tuple[str, ...]) -> None:
    """One sentence that names all units; afterwards "the former", "the first" and so on mean them."""
    share = draft.rng.choice(((), (), ("size",), ("color",), ("texture",)))
    mentions = [noun_phrase(draft, u, share) for u in order]
    pattern = draft.choose(patterns)
    draft.ground_said |= "{ground}" in pattern
    keys = {"list": enumeration(mentions), "things": things(draft), "ground": ground(draft)}
    draft.say(pattern, keys)
    if all(unit.n == 1 for unit in draft.units):
        draft.in_order = order
        draft.pair = (order[0], order[1]) if len(order) == 2 else None


def say_all_missing(draft: Draft, order: list[int]) -> None:
    """After a list: what is still unsaid of each unit, in contrast to each other."""
    rng = draft.rng
    if rng.random() < 0.35:
        say_shared(draft)
    if draft.in_order and len(order) > 2 and rng.random() < 0.6:
        say_ordinals(draft, order)
    elif len(order) > 1:
        for a, b in zip(order[::2], order[1::2], strict=False):
            say_pair(draft, a, b)
    for u in order:
        if rng.random() < 0.7:
            say_missing(draft, u)


def say_shared(draft: Draft) -> None:
    """An attribute that all units have in common, where there is one."""
    rng, units = draft.rng, draft.units
    shared = [a for a in ATTRIBUTES if len({getattr(u.object, a) for u in units}) == 1]
    shared = [a for a in shared if all(a not in draft.stated[u] for u in range(len(units)))]
    if not shared:
        return
    attribute = rng.choice(shared)
    total = len(draft.scene.objects)
    both = "both" if total == 2 else rng.choice(("all of them", f"all {NUMBER_WORDS[total]}"))
    what = draft.words.adjective(units[0], attribute)
    draft.say(draft.choose(phrases.SHARED), {"both": both, "what": what})
    for u in range(len(units)):
        draft.stated[u].add(attribute)


def say_ordinals(draft: Draft, order: list[int]) -> None:
    """ "The first is red, the second blue and dotted, and the last ..."."""
    names = ["the first", "the second", "the third", "the fourth"][: len(order)]
    names[-1] = draft.rng.choice((names[-1], "the last"))
    unsaid = [a for a in ATTRIBUTES if all(a not in draft.stated[u] for u in order)]
    unsaid = [a for a in unsaid if len({getattr(draft.units[u].object, a) for u in order}) > 1]
    if not unsaid:
        return
    told = draft.rng.sample(unsaid, draft.rng.randint(1, len(unsaid)))
    parts = [f"{name} is {predicate(draft, u, told)}" for name, u in zip(names, order, strict=True)]
    draft.say(enumeration(parts) if draft.rng.random() < 0.5 else "; ".join(parts), {})


def say_pair(draft: Draft, a: int, b: int) -> None:
    """Two units' attributes in contrast."""
    rng = draft.rng
    keys = {"ref_a": reference(draft, a), "ref_b": reference(draft, b)}
    both_colors = all("color" not in draft.stated[u] for u in (a, b))
    if both_colors and draft.units[a].object.color != draft.units[b].object.color and rng.random() < 0.4:
        for side, u in (("a", a), ("b", b)):
            keys[f"color_{side}"] = draft.words.adjective(draft.units[u], "color")
            draft.stated[u].add("color")
        draft.say(draft.choose(phrases.PAIR_COLORS), keys)
        return
    first, second = draft.units[a].object, draft.units[b].object
    differ = [
        attribute
        for attribute in ATTRIBUTES
        if attribute not in draft.stated[a] | draft.stated[b]
        and getattr(first, attribute) != getattr(second, attribute)
    ]
    if not differ:
        return
    contrasted = rng.sample(differ, rng.randint(1, len(differ)))
    for side, u in (("a", a), ("b", b)):
        keys[side] = predicate(draft, u, contrasted)
        keys[f"is_{side}"] = "is" if draft.units[u].n == 1 else "are"
    patterns = [p for p in phrases.PAIR_PREDICATES if "{ref_a}" in p or draft.pair == (a, b)]
    draft.say(draft.choose(patterns), keys)


def predicate(draft: Draft, u: int, attributes: list[str]) -> str:
    """ "small, red and striped" or "red with dark stripes"; the attributes count as said."""
    draft.stated[u].update(attributes)
    unit, words = draft.units[u], draft.words
    if {"texture", "color"} <= set(attributes) and draft.rng.random() < 0.4:
        rest = [words.adjective(unit, a) for a in attributes if a != "texture"]
        return enumeration(rest) + " " + words.with_texture(unit)
    return enumeration([words.adjective(unit, a) for a in attributes])


def say_missing(draft: Draft, u: int) -> None:
    """Everything not yet said of a unit, in one sentence or two."""
    rng = draft.rng
    while missing := [a for a in ATTRIBUTES if a not in draft.stated[u]]:
        said = [rng.choice(missing)] if rng.random() < 0.4 else missing
        keys = subject_keys(draft, u)
        unit = draft.units[u]
        if len(said) > 1:
            if "texture" in said and rng.random() < 0.45:
                rest = [a for a in said if a != "texture"]
                keys["what"] = enumeration([draft.words.adjective(unit, a) for a in rest])
                clause = draft.words.texture_clause(unit, pronouns(draft, u)[1])
                pattern = "{subject} {is} {what}, and " + clause
                draft.stated[u].update(said)
            else:
                keys["what"] = predicate(draft, u, said)
                pattern = draft.choose(phrases.PREDICATES)
        else:
            attribute = said[0]
            draft.stated[u].add(attribute)
            keys[attribute] = draft.words.adjective(unit, attribute)
            keys["clause"] = draft.words.texture_clause(unit, keys["them"])
            patterns = {
                "color": phrases.COLOR_PATTERNS,
                "size": phrases.SIZE_PATTERNS,
                "texture": phrases.SURFACE_PATTERNS,
            }[attribute]
            pattern = draft.choose(patterns).replace("a {texture}", article(keys.get("texture", "x")) + " {texture}")
        draft.say(pattern, keys, topic=u)


def say_relation(draft: Draft) -> None:
    """One more relation between known units, if one is left to say."""
    rng = draft.rng
    unsaid = [
        (a, r, b)
        for (a, b), found in draft.related.items()
        for r in found
        if Relation(draft.units[a].members[0], r, draft.units[b].members[0]) not in draft.claimed
        and Relation(draft.units[b].members[0], OPPOSITE_RELATION[r], draft.units[a].members[0]) not in draft.claimed
    ]
    if not unsaid:
        return
    a, relation, b = rng.choice(unsaid)
    pairs = phrases.PAIR_RELATIONS_SAID * 2 if draft.pair == (a, b) else ()
    tell_relation(draft, a, relation, b, (*phrases.RELATIONS_SAID, *pairs))


def tell_relation(draft: Draft, a: int, relation: str, b: int, patterns: tuple[str, ...]) -> None:
    """That unit `a` is `relation` unit `b`, both known, in one of the patterns."""
    keys = relation_keys(draft, relation, b) | verb_keys(draft, a)
    keys |= {"a": reference(draft, a), "b": reference(draft, b), "b_has": verb_keys(draft, b)["has"]}
    keys["place_word"] = draft.rng.choice(("its place", "its spot")) if draft.units[a].n == 1 else "their place"
    draft.claim(a, relation, b)
    draft.say(draft.choose(patterns), keys)


def say_background(draft: Draft) -> None:
    """A sentence about the background."""
    kind = BACKGROUNDS[draft.scene.background].kind
    patterns = phrases.BACKGROUND_CLAUSES["plain" if kind == "plain" else draft.scene.background]
    keys = {
        "ground": ground(draft),
        "tone": draft.scene.background,
        "everything": draft.rng.choice(("everything", "all of this")),
    }
    if not draft.sentences:  # nothing has been said yet that "all of this" could mean
        patterns = tuple(p for p in patterns if p.startswith(("the ", "a ")))
    draft.ground_said = True
    draft.say(draft.choose(patterns), keys)


def say_place(draft: Draft, u: int) -> None:
    """Where in the frame a known unit is, if that can be said."""
    place = place_of(draft, u)
    if place is not None:
        draft.say(draft.choose(phrases.PLACE_SENTENCES), subject_keys(draft, u) | {"place": place}, topic=u)


def say_shape(draft: Draft, u: int) -> None:
    """A remark on the shape of a single object."""
    unit = draft.units[u]
    if unit.n == 1:
        draft.say(draft.choose(phrases.SHAPE_REMARKS[unit.object.shape]), subject_keys(draft, u), topic=u)


def say_free_space(draft: Draft) -> None:
    """Which half of the frame holds nothing, if one does."""
    middle, objects = FRAME_PX / 2, draft.scene.objects
    free = {
        "left": all(o.x - o.radius > middle for o in objects),
        "right": all(o.x + o.radius < middle for o in objects),
        "upper": all(o.y - o.radius > middle for o in objects),
        "lower": all(o.y + o.radius < middle for o in objects),
    }
    halves = [half for half, is_free in free.items() if is_free]
    if halves:
        draft.say(draft.choose(phrases.FREE_SPACE), {"half": draft.rng.choice(halves)})


def say_alike(draft: Draft, u: int) -> None:
    """That the members of a group are alike."""
    draft.say(draft.choose(phrases.GROUP_CLOSERS), subject_keys(draft, u) | {"they": reference(draft, u)})
