"""What the prompts are about, what they test, and how many there are of each."""

from __future__ import annotations

import random
from collections.abc import Mapping

# Category -> its share of the default 7,000.
QUOTAS = {
    "people": 900,
    "animals": 800,
    "food": 550,
    "interiors": 550,
    "streets and buildings": 600,
    "landscapes": 600,
    "vehicles": 500,
    "objects and products": 650,
    "plants and gardens": 450,
    "art and illustration": 500,
    "fantasy": 500,
    "text in the image": 400,
}
DEFAULT_N = sum(QUOTAS.values())

SKILLS = ("color", "shape", "texture", "count", "size", "spatial", "action", "comparison")
# Skills that a category's things do not lend themselves to: soup does not act, deer have no shape of note.
UNFIT_SKILLS = {
    "animals": {"shape"},
    "food": {"action"},
    "interiors": {"action"},
    "landscapes": {"shape", "action"},
    "streets and buildings": {"shape"},
    "vehicles": {"shape"},
    "objects and products": {"action"},
    "plants and gardens": {"action"},
    "art and illustration": {"action"},
    "fantasy": {"shape"},
    "text in the image": {"action", "shape"},
}


def quotas(n: int) -> dict[str, int]:
    """How many of `n` prompts fall to each category, by the method of largest remainders."""
    return apportion(n, QUOTAS)


def apportion(n: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in the proportion of `weights` that sum to `n`; ties go to what comes first."""
    total = sum(weights.values())
    shares = {name: n * weight // total for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: -(n * weights[name] % total))
    for name in by_remainder[: n - sum(shares.values())]:
        shares[name] += 1
    return shares


def skills_of(category: str) -> tuple[str, ...]:
    """The skills that prompts of a category may be about."""
    return tuple(skill for skill in SKILLS if skill not in UNFIT_SKILLS.get(category, ()))


def slots(n: int, seed: int) -> list[tuple[str, str]]:
    """(category, skill) of each of `n` prompts in an order drawn from `seed`; skills are dealt evenly by category."""
    dealt = [
        (category, skill)
        for category, share in quotas(n).items()
        for skill, count in apportion(share, dict.fromkeys(skills_of(category), 1)).items()
        for _ in range(count)
    ]
    random.Random(f"slots-{seed}").shuffle(dealt)
    return dealt
