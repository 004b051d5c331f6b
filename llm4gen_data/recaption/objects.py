"""The object check: which things a caption names, and what the captioner says when it is asked about each."""

from __future__ import annotations

import re
from functools import cache

from llm4gen_data.recaption.instructions import QUESTION_SUFFIX

# Beside the lexicon of DensePrompts (1,086 nouns) and the shapes of the scenes: what photographs are full of, in
# singular. A caption's nouns outside these lists are not asked about.
EVERYDAY_NOUNS = frozenset(
    """
    person man woman boy girl child baby dog cat puppy kitten bird horse cow sheep goat pig elephant bear zebra
    giraffe lion tiger monkey rabbit mouse duck chicken fish butterfly car truck bus train tram boat ship bicycle
    bike motorcycle airplane plane helicopter traffic_light fire_hydrant stop_sign parking_meter bench street road
    sidewalk bridge building house tower church castle roof window door fence wall floor ceiling stair tree bush
    flower leaf grass plant mountain hill rock river lake sea ocean beach wave waterfall sky cloud sun moon
    crescent_moon star rainbow snow backpack umbrella handbag bag tie suitcase hat cap helmet shirt jacket coat
    dress skirt shoe boot glove scarf wristwatch necklace frisbee ski snowboard ball football basketball kite
    baseball_bat skateboard surfboard tennis_racket bottle wine_glass cup mug fork knife spoon bowl plate pan pot
    table chair couch sofa bed desk shelf drawer cabinet curtain carpet rug pillow blanket lamp candle mirror
    picture_frame clock vase book newspaper pen pencil paper scissors teddy_bear toy doll toothbrush hair_dryer
    television tv laptop computer screen keyboard remote_control phone cell_phone camera microwave oven toaster
    sink refrigerator toilet bathtub banana apple lemon grape strawberry sandwich carrot broccoli hot_dog pizza
    donut doughnut cake bread cheese egg salad soup sign flag logo balloon statue fountain guitar piano drum violin
    microphone
    """.split()  # noqa: SIM905
)
IRREGULAR_PLURALS = {"people": "person", "men": "man", "women": "woman", "children": "child", "leaves": "leaf"}
IRREGULAR_PLURALS |= {"knives": "knife", "shelves": "shelf", "mice": "mouse", "scissors": "scissors", "skis": "ski"}
# Of the lexicon: as often verbs, adjectives, adverbs or colours as things ("stands out well").
OTHER_THAN_THINGS = frozenset(
    """
    can cook guard guide light orange park rose violet iron well saw key mobile lime lilac peach plum swing ruin seal
    judge swallow rake label jet model play watch bank hedge
    """.split()  # noqa: SIM905
)
NEGATIONS = frozenset({"no", "not", "without", "never", "neither", "nor"})
# A negation reaches over an article and an adjective or two: "no visible people".
NEGATION_REACH = 3

YES = re.compile(r"\W*yes\b", re.IGNORECASE)
NO = re.compile(r"\W*no(?:t|pe)?\b", re.IGNORECASE)


def named_objects(caption: str, max_objects: int = 8) -> list[str]:
    """The first things a caption names, each once, in singular; "without a dog" names none."""
    nouns, most_words = _nouns()
    words = re.findall(r"[a-z]+(?:[-'][a-z]+)*|[^\w\s]", caption.casefold())
    found: dict[str, None] = {}
    position = 0
    while position < len(words) and len(found) < max_objects:
        for n_words in range(min(most_words, len(words) - position), 0, -1):
            noun = nouns.get(" ".join(words[position : position + n_words]))
            if noun is not None:
                if not NEGATIONS.intersection(words[max(0, position - NEGATION_REACH) : position]):
                    found[noun] = None
                position += n_words
                break
        else:
            position += 1
    return list(found)


def object_question(noun: str) -> str:
    """What the captioner is asked about a thing that its caption named."""
    from llm4gen_data.densprompts.inflect import article

    return f"Is there {article(noun)} {noun} in the picture?{QUESTION_SUFFIX}"


def is_denied(answer: str) -> bool | None:
    """Whether the captioner denies the thing; None for an answer that is neither yes nor no."""
    if NO.match(answer):
        return True
    return False if YES.match(answer) else None


@cache
def _nouns() -> tuple[dict[str, str], int]:
    """Every form of every noun with its singular, and how many words the longest has."""
    from llm4gen_data.densprompts.inflect import plural
    from llm4gen_data.densprompts.vocabulary import lexicon
    from llm4gen_data.scenes.vocabulary import SHAPES

    everyday = {noun.replace("_", " ") for noun in EVERYDAY_NOUNS}
    singulars = ({*lexicon().nouns, *SHAPES, *everyday}) - OTHER_THAN_THINGS
    forms = {plural(noun): noun for noun in singulars} | IRREGULAR_PLURALS
    forms |= {noun: noun for noun in singulars}
    return forms, max(len(form.split()) for form in forms)
