"""What the prompts are about, what they test, and how many there are of each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from llm4gen_data.errors import UsageError

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

SKILLS = ("color", "shape", "texture", "count", "size", "spatial", "action", "comparison", "complex")
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


def quotas(n: int, categories: Sequence[str] = ()) -> dict[str, int]:
    """How many of `n` prompts fall to each category, by the method of largest remainders.

    With `categories`, to those alone, in the same proportions. Raises UsageError for a category that is not there.
    """
    require_categories(categories, "--categories")
    return apportion(n, {name: share for name, share in QUOTAS.items() if not categories or name in categories})


def own_quotas(table: Mapping[str, int], n: int, origin: str) -> dict[str, int]:
    """A user's quotas, checked; `origin` names where they come from.

    Raises UsageError for an unknown category, a number below 0, or numbers that do not sum to `n`.
    """
    require_categories(table, origin)
    for name, share in table.items():
        if share < 0:
            raise UsageError(f"{origin}: {name} = {share}: expected 0 or more")
    total = sum(table.values())
    if total != n or n == 0:
        raise UsageError(f"{origin}: the quotas sum to {total:,}, expected n = {max(n, 1):,}")
    return {name: table[name] for name in QUOTAS if table.get(name)}


def require_categories(names: Iterable[str], origin: str) -> None:
    """Raise UsageError naming the first that is no category."""
    for name in names:
        if name not in QUOTAS:
            close = get_close_matches(name, QUOTAS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(QUOTAS)}"
            raise UsageError(f"{origin}: unknown category {name!r}; {hint}")


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


def slots(shares: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    """(category, skill) of each prompt in an order drawn from `seed`; skills are dealt evenly within a category."""
    dealt = [
        (category, skill)
        for category, share in shares.items()
        for skill, count in apportion(share, dict.fromkeys(skills_of(category), 1)).items()
        for _ in range(count)
    ]
    random.Random(f"slots-{seed}").shuffle(dealt)
    return dealt
