"""Draw specifications: a setting, what is plausible in it, and how those things look and stand to each other."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from llm4gen_data.densprompts.arrange import add_comparison, add_interaction, add_worn_and_held, anchor
from llm4gen_data.densprompts.inflect import article
from llm4gen_data.densprompts.sketch import Sketch, content_words
from llm4gen_data.densprompts.spec import LENGTHS, Spec, skill_counts
from llm4gen_data.densprompts.vocabulary import Noun, Setting, lexicon

# Words of a prompt: what gives the middle (78 to 80) and the spread of the paper's histogram, as texts come out a
# little longer than asked for.
MEAN_WORDS, SPREAD_WORDS = 77, 17
# What a specification must hold to count as one about the skill.
NEEDED = {
    "color": 2,
    "shape": 1,
    "texture": 2,
    "count": 1,
    "size": 1,
    "spatial": 2,
    "action": 1,
    "comparison": 1,
    "complex": 1,
}
MAX_DETAILS = 4
MAX_THINGS = 6


def target_words(rng: random.Random) -> int:
    """How long a prompt should be, in words."""
    while True:
        words = round(rng.gauss(MEAN_WORDS, SPREAD_WORDS))
        if 42 <= words <= 138:
            return words


def bucket_of(n_words: int) -> str:
    """The bucket of LENGTHS that holds `n_words`."""
    return next(name for name, (low, high) in LENGTHS.items() if low <= n_words <= high)


def sample_spec(category: str, skill: str, n_words: int, rng: random.Random) -> Spec:
    """A specification about `skill` of about the size that `n_words` words can tell.

    It comes with more details than fit; `fit.py` drops those that make the prompt too long.
    """
    while True:
        spec = _sample(category, skill, n_words, rng)
        if spec is not None and skill_counts(spec)[skill] >= NEEDED[skill]:
            return spec


def _sample(category: str, skill: str, n_words: int, rng: random.Random) -> Spec | None:
    words = lexicon()
    setting = rng.choice([s for s in words.settings if category in s.categories])
    phrase = choose_alternatives(setting.phrase, rng)
    places = {where: rng.sample(list(phrases), len(phrases)) for where, phrases in setting.places.items()}
    # A noun that a place names ("by the stove") would make two of it.
    fixed = " ".join([phrase, setting.noun, *(place for group in places.values() for place in group)])
    sketch = Sketch(rng, words, setting, skill, set(content_words(fixed)), places_left=places)
    if not _add_things(sketch, category, n_words):
        return None
    if skill == "comparison" or rng.random() < 0.12:
        add_comparison(sketch)
    if skill == "action" or rng.random() < 0.15:
        add_interaction(sketch)
    named = {word for noun in sketch.nouns for word in content_words(noun.name)}
    details = [choose_alternatives(d, rng) for d in rng.sample(setting.details, len(setting.details))]
    details = [d for d in details if not content_words(d) & named][:MAX_DETAILS]
    style, style_detail, view = _style(category, setting, rng)
    return Spec(
        category=category,
        skill=skill,
        length=bucket_of(n_words),
        setting=phrase,
        place_noun=setting.noun,
        entities=tuple(sketch.entities),
        relations=tuple(sketch.relations),
        details=tuple(details),
        light=rng.choice(words.lights[setting.light]) if rng.random() < 0.6 else None,
        style=style,
        style_detail=style_detail,
        view=view,
    )


def choose_alternatives(text: str, rng: random.Random) -> str:
    """The text with one choice made of each "(a|b)", and "a" or "an" before it as the choice demands."""
    text = re.sub(r"\(([^()]*\|[^()]*)\)", lambda match: rng.choice(match[1].split("|")), text)
    return re.sub(r"\ban? ([\w-]+)", lambda match: f"{article(match[1])} {match[1]}", text)


def _add_things(sketch: Sketch, category: str, n_words: int) -> bool:
    """The main thing and others around it; False if too few found a place."""
    rng, words, setting = sketch.rng, sketch.lexicon, sketch.setting
    mains = list(setting.categories[category])
    main = _pick(sketch, mains)
    if main is None:
        return False
    index = sketch.add(main)
    if main.kind == "sign":
        sketch.change(index, text=rng.choice(words.texts))
    n_things = min(MAX_THINGS, max(2, round(rng.gauss(n_words / 18, 0.7))))
    n_things -= add_worn_and_held(sketch, index)
    misses = 0
    while len(sketch.entities) < n_things and misses < 12:
        # One of the main kind now and then: two dogs and a cat rather than always a dog and a vase.
        groups = (
            mains
            if rng.random() < (0.5 if sketch.skill == "comparison" else 0.2) and main.kind != "sign"
            else list(setting.groups)
        )
        noun = _pick(sketch, groups)
        if noun is None or not anchor(sketch, noun):
            misses += 1
        elif len(sketch.entities) < MAX_THINGS:
            add_worn_and_held(sketch, len(sketch.entities) - 1)
    return len(sketch.entities) >= 2


def _pick(sketch: Sketch, groups: Sequence[str]) -> Noun | None:
    group = sketch.rng.choice(groups)
    fitting = [noun for noun in sketch.lexicon.groups[group] if sketch.fits(noun)]
    return sketch.rng.choice(fitting) if fitting else None


def _style(category: str, setting: Setting, rng: random.Random) -> tuple[str | None, str | None, str | None]:
    """Style, a detail that shows it, and the point of view; each may be None."""
    words = lexicon()
    art_share = {"art and illustration": 1.0, "fantasy": 0.6}.get(category, 0.2)
    draw = rng.random()
    photographs = words.photographs
    if not setting.surface and category not in ("animals", "plants and gardens"):
        photographs = {name: details for name, details in photographs.items() if "close-up" not in name}
    if setting.light != "outdoor":
        photographs = {name: details for name, details in photographs.items() if "telephoto" not in name}
    styles = words.artworks if draw < art_share else photographs if draw < art_share + 0.35 else {}
    style = rng.choice(list(styles)) if styles else None
    detail = rng.choice(styles[style]) if style and rng.random() < 0.4 else None
    view = None
    if rng.random() < 0.15 and (style is None or "close-up" not in style):
        distant = ("seen from a distance", "seen through an open doorway")
        view = rng.choice([v for v in words.views if not (setting.surface and v in distant)])
    if view == "seen through an open doorway" and setting.light != "indoor":
        view = "seen at eye level"
    return style, detail, view
