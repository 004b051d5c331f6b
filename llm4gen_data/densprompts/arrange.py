"""Give things a plausible place: where they stand, what is worn or held, who looks at what, what is larger."""

from __future__ import annotations

from llm4gen_data.densprompts import relations as rel
from llm4gen_data.densprompts.sketch import Sketch
from llm4gen_data.densprompts.spec import Entity, Relation
from llm4gen_data.densprompts.vocabulary import Noun

BIG_KINDS = ("building", "landform", "vehicle")
BIG_GROUPS = ("trees", "cold trees", "warm trees", "tropical trees")
LEVELS = ("floor", "surface", "water")
# Where mountains are, in settings under the sky.
FAR_PLACES = ["in the background", "in the distance", "on the horizon"]
OPEN_AIR = ("outdoor", "magic", "space")
ALIVE = ("person", "animal")
# Of these the larger one is also the taller one.
TALL_KINDS = ("plant", "building")


def anchor(sketch: Sketch, noun: Noun) -> bool:
    """Add a thing with a place or a relation to an earlier one; False if neither is plausible."""
    rng = sketch.rng
    options = _spatial_options(sketch, noun)
    places = sketch.places_left.get(_place_kind(sketch, noun), [])
    if noun.where == "far" and sketch.setting.light in OPEN_AIR:
        places = [place for place in FAR_PLACES if all(entity.place != place for entity in sketch.entities)]
    by_relation = 0.75 if sketch.skill == "spatial" else 0.6
    if options and (not places or rng.random() < by_relation):
        index = sketch.add(noun)
        name, other = rng.choice(options)
        sketch.relations.append(Relation(index, name, other))
        if name == "on" and sketch.entities[index].posture == "hang":
            sketch.change(index, posture="lie")
    elif places:
        sketch.change(sketch.add(noun), place=places.pop())
    else:
        return False
    return True


def _place_kind(sketch: Sketch, noun: Noun) -> str:
    return "surface" if sketch.setting.surface and noun.where == "floor" else noun.where


def _is_big(noun: Noun) -> bool:
    return noun.kind in BIG_KINDS or noun.group in BIG_GROUPS


def _spatial_options(sketch: Sketch, noun: Noun) -> list[tuple[str, int]]:
    """(relation, index of an earlier thing) that make sense for a new thing."""
    owned = _owned(sketch)
    taken = {relation.object for relation in sketch.relations if relation.name in ("on", "under")}
    lifted = {relation.subject for relation in sketch.relations if relation.name == "on"}
    options: list[tuple[str, int]] = []
    for index, other in enumerate(sketch.nouns):
        if index in owned:
            continue
        level = _place_kind(sketch, noun)
        if level in LEVELS and level == _place_kind(sketch, other) and index not in lifted:
            options += [(name, index) for name in _level_relations(noun, other)]
        if sketch.entities[index].count == 1 and index not in taken and other.posture[0] != "hang":
            options += [(name, index) for name in _support_relations(noun, other)]
        options += [(name, index) for name in _far_relations(sketch, noun, other)]
    return options


def _owned(sketch: Sketch) -> set[int]:
    """What is worn or held."""
    return {relation.object for relation in sketch.relations if relation.name in (rel.WEARING, rel.HOLDING)}


def _level_relations(noun: Noun, other: Noun) -> list[str]:
    """Between things that are on the same floor, table or water."""
    if noun.where == "water":
        return ["left of", "right of", "near", "behind"]
    if _is_big(noun) and not _is_big(other):
        return ["behind", "behind", "left of", "right of"]
    if _is_big(other) and not _is_big(noun):
        return ["in front of", "beside", "near", "left of", "right of"]
    return ["left of", "right of", "beside", "near", "behind", "in front of"]


def _support_relations(noun: Noun, other: Noun) -> list[str]:
    """On a table, under a bench."""
    names = []
    small_animal = noun.small and noun.kind == "animal" and noun.where in ("floor", "perch")
    if other.supports and (noun.where == "surface" or small_animal):
        names += ["on"] * 3
    if other.legs and noun.small and noun.where == "floor":
        names += ["under"] * 2
    return names


def _far_relations(sketch: Sketch, noun: Noun, other: Noun) -> list[str]:
    """Between things at different heights or distances."""
    match noun.where, other.where:
        case "far", "floor" | "water":
            return ["behind"] * 2
        case ("far", "far") | ("wall", "wall"):
            return ["left of", "right of"]
        case "floor", "far":
            return ["in front of"]
        case "wall", "floor" if other.kind == "object" and not sketch.setting.surface:
            return ["above"]
        case "sky", "floor" if _is_big(other):
            return ["above"]
    return []


def add_worn_and_held(sketch: Sketch, index: int) -> int:
    """Give a single person something to wear or to hold; how many things were added."""
    entity, rng = sketch.entities[index], sketch.rng
    if sketch.nouns[index].kind != "person" or entity.count > 1:
        return 0
    added = 0
    if rng.random() < (0.75 if index == 0 else 0.35):
        added += _give(sketch, index, rel.WEARING, _clothes_for(sketch, entity))
    held = [n for group in sketch.setting.groups for n in sketch.lexicon.groups[group] if n.hand and sketch.fits(n)]
    if index == 0 and held and entity.action is None and rng.random() < 0.7:
        added += _give(sketch, index, rel.HOLDING, held)
    return 0 if added == 0 else added - 1  # one such thing comes on top


def _clothes_for(sketch: Sketch, entity: Entity) -> list[Noun]:
    clothes = sketch.lexicon.groups["clothing"]
    return [noun for noun in clothes if noun.pronoun in (None, entity.pronoun) and sketch.fits(noun)]


def _give(sketch: Sketch, person: int, relation: str, nouns: list[Noun]) -> int:
    if not nouns:
        return 0
    index = sketch.add(sketch.rng.choice(nouns))
    sketch.change(index, count=1, pronoun="it", posture=None)
    sketch.relations.append(Relation(person, relation, index))
    return 1


def add_interaction(sketch: Sketch) -> None:
    """Let a living thing look at, point at or walk toward another thing."""
    rng = sketch.rng
    owned = _owned(sketch)
    free = [i for i, n in enumerate(sketch.nouns) if n.kind in ALIVE and sketch.entities[i].action is None]
    free = free or [i for i, n in enumerate(sketch.nouns) if n.kind in ALIVE]
    if not free:
        return
    subject = rng.choice(free)
    objects = [
        i
        for i, noun in enumerate(sketch.nouns)
        if i != subject and i not in owned and noun.where not in ("sky", "wall") and noun.kind != "landform"
    ]
    if not objects:
        return
    person = sketch.nouns[subject].kind == "person"
    names: tuple[str, ...] = rel.PERSON_INTERACTIONS if person else rel.ANIMAL_INTERACTIONS
    if sketch.nouns[subject].where in ("water", "perch"):
        names = ("looking at", "turning toward")
    target = rng.choice(objects)
    other = sketch.nouns[target]
    if other.kind in ("building", "person") or other.group in BIG_GROUPS:
        names = tuple(name for name in names if name in ("looking at", "walking toward", "turning toward"))
    sketch.change(subject, action=None)
    sketch.relations.append(Relation(subject, rng.choice(names), target))


def add_comparison(sketch: Sketch) -> None:
    """Compare two things of one kind: by size, by number, or by color."""
    rng = sketch.rng
    owned = _owned(sketch)
    pairs = [
        (i, j)
        for i, a in enumerate(sketch.nouns)
        for j, b in enumerate(sketch.nouns)
        if i != j and a.kind == b.kind and a.where == b.where and not {i, j} & owned
    ]
    if not pairs:
        return
    i, j = rng.choice(pairs)
    a, b = sketch.entities[i], sketch.entities[j]
    if a.count > b.count > 1:
        sketch.relations.append(Relation(i, "more numerous than", j))
        return
    shared = sorted(set(sketch.nouns[i].colors) & set(sketch.nouns[j].colors))
    plain = {a.material, b.material} & sketch.lexicon.plain_materials
    if shared and not plain and rng.random() < 0.4:
        color = rng.choice(shared)
        sketch.change(i, color=None)
        sketch.change(j, color=color)
        sketch.relations.append(Relation(i, "same color as", j))
        return
    names = _size_comparisons(sketch, i, j)
    if names:
        sketch.change(i, size=None)
        sketch.change(j, size=None)
        sketch.relations.append(Relation(i, rng.choice(names), j))


def _size_comparisons(sketch: Sketch, i: int, j: int) -> list[str]:
    """How two things may compare by size: as they are in the world, either way where they are alike."""
    a, b = sketch.nouns[i], sketch.nouns[j]
    ranks = sketch.lexicon.size_ranks
    if a.group != b.group or a.name not in ranks or b.name not in ranks:
        return []
    difference = ranks[a.name] - ranks[b.name]
    names = [] if a.kind == "person" else ["larger than"] * (difference >= 0) + ["smaller than"] * (difference <= 0)
    upright = {sketch.entities[i].posture, sketch.entities[j].posture} <= {"stand", "rise", "grow"}
    if difference >= 0 and (a.kind == "person" or (upright and a.kind in TALL_KINDS)):
        names.append("taller than")
    return names
