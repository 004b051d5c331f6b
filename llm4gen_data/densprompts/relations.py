"""How things may stand to each other, and the words for it."""

from __future__ import annotations

# {ref} is the other thing by name; {obj} and {poss} are its pronouns.
# Mirrored relations (left/right, behind/in front of, above/under) have equally many wordings, so that the text of a
# counterfactual twin differs in the relation alone.
SPATIAL: dict[str, tuple[str, ...]] = {
    "left of": ("to the left of {ref}", "left of {ref}", "just to the left of {ref}", "directly left of {ref}"),
    "right of": ("to the right of {ref}", "right of {ref}", "just to the right of {ref}", "directly right of {ref}"),
    "beside": ("beside {ref}", "next to {ref}", "right beside {ref}", "right next to {ref}", "alongside {ref}"),
    "near": ("near {ref}", "close to {ref}", "not far from {ref}", "a short way from {ref}"),
    "behind": ("behind {ref}", "a little way behind {ref}", "just behind {ref}", "directly behind {ref}"),
    "in front of": (
        "in front of {ref}",
        "a little way in front of {ref}",
        "just in front of {ref}",
        "directly in front of {ref}",
    ),
    "on": ("on {ref}", "on top of {ref}", "atop {ref}"),
    "under": ("under {ref}", "beneath {ref}", "underneath {ref}"),
    "above": ("above {ref}", "over {ref}", "right above {ref}"),
}
SPATIAL_PRONOUN: dict[str, tuple[str, ...]] = {
    "left of": ("to {poss} left", "on {poss} left", "just to {poss} left"),
    "right of": ("to {poss} right", "on {poss} right", "just to {poss} right"),
    "beside": ("beside {obj}", "next to {obj}", "right beside {obj}", "alongside {obj}"),
    "near": ("near {obj}", "close to {obj}", "not far from {obj}"),
    "behind": ("behind {obj}", "just behind {obj}", "right behind {obj}"),
    "in front of": ("in front of {obj}", "just in front of {obj}", "right in front of {obj}"),
    "on": ("on {obj}", "on top of {obj}"),
    "under": ("under {obj}", "beneath {obj}", "underneath {obj}"),
    "above": ("above {obj}", "over {obj}", "right above {obj}"),
}
# The sides of people and animals are not the picture's, so only names are used for those.
SIDED = ("left of", "right of")

# Relation -> base form of the verb whose object is the other thing.
INTERACTIONS = {
    "looking at": "look at",
    "pointing at": "point at",
    "walking toward": "walk toward",
    "reaching for": "reach for",
    "leaning toward": "lean toward",
    "staring at": "stare at",
    "sniffing at": "sniff at",
    "turning toward": "turn toward",
    "bending over": "bend over",
}
PERSON_INTERACTIONS = (
    "looking at",
    "pointing at",
    "walking toward",
    "turning toward",
    "reaching for",
    "leaning toward",
    "bending over",
)
ANIMAL_INTERACTIONS = ("looking at", "staring at", "sniffing at", "turning toward", "walking toward")

COMPARISONS = {
    "larger than": ("larger than", "bigger than"),
    "smaller than": ("smaller than", "smaller than"),
    "taller than": ("taller than",),
    "more numerous than": ("outnumber", "more numerous than"),
    "same color as": ("same color as",),
}
WEARING, HOLDING = "wearing", "holding"
