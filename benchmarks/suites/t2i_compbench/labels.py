"""The words of prompts against the names of detector classes: UniDet's exact rules, and the same with synonyms.

UniDet's 722 class names are often pairs ("mobile phone, cell phone"); the protocol compares whole names.
"""

from __future__ import annotations

from collections.abc import Sequence

# Words of the val prompts that are no exact class name of UniDet: in `official` they are never found in 2D.
NO_UNIDET_CLASS = frozenset(
    ("bag", "computer", "cow", "mouse", "painting", "pen", "phone", "picture", "sofa", "table", "wallet")
)

PERSONS = frozenset(("girl", "boy", "man", "woman"))

# Numeracy: what the protocol calls a name before it looks for it; "telivision" is the protocol's spelling.
ALIASES = {
    **dict.fromkeys(PERSONS, "person"),
    "ship": "boat",
    "telivision": "tv",
    "goldfish": "fish",
    "painting": "picture",
}

# `fixed`: other names under which detectors know a word of the prompts.
SYNONYMS: dict[str, frozenset[str]] = {
    "airplane": frozenset(("aeroplane", "plane")),
    "bag": frozenset(("handbag", "shoulder bag", "plastic bag", "paper bag", "luggage and bags")),
    "bicycle": frozenset(("bike",)),
    "boat": frozenset(("ship",)),
    "computer": frozenset(("laptop", "laptop computer", "desktop computer", "personal computer", "computer box")),
    "couch": frozenset(("sofa",)),
    "cow": frozenset(("cattle",)),
    "hamburger": frozenset(("burger",)),
    "mouse": frozenset(("computer mouse",)),
    "painting": frozenset(("picture", "picture frame", "framed picture")),
    "person": frozenset(("human", "people", "boy", "girl", "man", "woman")),
    "phone": frozenset(("cell phone", "mobile phone", "cellphone", "telephone", "corded telephone", "smartphone")),
    "picture": frozenset(("painting", "picture frame", "framed picture")),
    "pig": frozenset(("swine",)),
    "rabbit": frozenset(("bunny",)),
    "refrigerator": frozenset(("fridge",)),
    "sofa": frozenset(("couch", "sofa bed", "loveseat")),
    "suitcase": frozenset(("luggage",)),
    "table": frozenset(("dining table", "coffee table", "side table", "kitchen & dining room table")),
    "television": frozenset(("tv", "television set", "monitor/tv")),
    "tv": frozenset(("television", "television set", "monitor/tv")),
    "wallet": frozenset(("purse", "wallet/purse")),
}


def is_same_thing(word: str, label: str) -> bool:
    """Whether `label`, or one of its names between commas, is `word` or a synonym of it; case does not matter."""
    names = {part.strip().lower() for part in label.split(",")}
    word = word.lower()
    return word in names or not names.isdisjoint(SYNONYMS.get(word, frozenset()))


def best_of_each(words: tuple[str, str], labels: Sequence[str]) -> tuple[int | None, int | None]:
    """2D, official: for each word the first detection whose label is exactly that word.

    `labels` by falling score. The same word twice is the same detection twice.
    """
    found = [next((i for i, label in enumerate(labels) if label == word), None) for word in words]
    return found[0], found[1]


def last_seen_of_each(words: tuple[str, str], labels: Sequence[str]) -> tuple[int | None, int | None]:
    """3D, official: detections whose label contains the word, by falling score.

    Both there: for each the last one seen up to the moment at which both are found. One there: its first.
    """
    first: list[int | None] = [None, None]
    last: list[int | None] = [None, None]
    for i, label in enumerate(labels):
        for side, word in enumerate(words):
            if word in label:
                first[side] = i if first[side] is None else first[side]
                last[side] = i
        if None not in last:
            return last[0], last[1]
    return first[0], first[1]


def things_of_each(words: tuple[str, str], labels: Sequence[str]) -> tuple[int | None, int | None]:
    """`fixed`: for each word the best detection of that thing; the same thing twice takes the best two."""
    first = next((i for i, label in enumerate(labels) if is_same_thing(words[0], label)), None)
    same = words[0] == words[1]
    second = next(
        (i for i, label in enumerate(labels) if is_same_thing(words[1], label) and not (same and i == first)), None
    )
    return first, second
