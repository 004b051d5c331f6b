"""English forms: plurals, articles, verbs. Irregular ones stand in the lexicon; the rest follows rules."""

from __future__ import annotations

import re

from llm4gen_data.densprompts.vocabulary import lexicon

NUMBER_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
PRONOUNS = {
    "it": ("it", "it", "its"),
    "they": ("they", "them", "their"),
    "she": ("she", "her", "her"),
    "he": ("he", "him", "his"),
}
_VOWEL_SOUND = re.compile(r"[ai]|e(?!u)|o(?!ne\b)|u(?!ni|se|su|ku|til)|hour|honest|heir", re.IGNORECASE)
# Of several animals each has its own: "wag its tail" becomes "wag their tails".
_BODY_PART = re.compile(
    r"\btheir ((?:own |front )?)(tail|head|mouth|face|trunk|neck|nose|mane|back|belly|horn|chin|chest|tongue|ear|eye"
    r"|beak|finger|brow|hat|sleeve|side)\b"
)


def article(phrase: str) -> str:
    """ "a" or "an", by the sound that `phrase` begins with."""
    return "an" if _VOWEL_SOUND.match(phrase) else "a"


def plural(noun: str) -> str:
    """The plural of a noun; of "cup of tea" the cup's, of "street lamp" the lamp's."""
    irregular = lexicon().plurals
    if noun in irregular:
        return irregular[noun]
    head, of, rest = noun.partition(" of ")
    first, space, last = head.rpartition(" ")
    last = irregular.get(last) or (last[:-3] + "men" if last.endswith("man") else _regular_plural(last))
    return f"{first}{space}{last}{of}{rest}"


def third_person(verb: str) -> str:
    """The first word of a verb phrase in the third person singular: "chop herbs" -> "chops herbs"."""
    first, space, rest = verb.partition(" ")
    return {"be": "is", "have": "has", "do": "does", "go": "goes"}.get(first, _regular_plural(first)) + space + rest


def plain_form(verb: str) -> str:
    """The form for several: "be parked" -> "are parked"."""
    return "are" + verb[2:] if verb.startswith("be ") else verb


def participle(verb: str) -> str:
    """The present participle, "chopping herbs"; of "be parked" it is "parked"."""
    if verb.startswith("be "):
        return verb[3:]
    first, space, rest = verb.partition(" ")
    irregular = lexicon().participles
    if first in irregular:
        form = irregular[first]
    elif re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", first):
        form = first + first[-1] + "ing"
    elif first.endswith("e") and not first.endswith(("ee", "ye", "oe")):
        form = first[:-1] + "ing"
    else:
        form = first + "ing"
    return form + space + rest


def possessed(action: str, pronoun: str) -> str:
    """The verb phrase with "its" turned to the one who acts: "wag its tail" -> "wag their tails"."""
    action = re.sub(r"\bits\b", PRONOUNS[pronoun][2], action)
    return _BODY_PART.sub(lambda match: f"their {match[1]}{_regular_plural(match[2])}", action)


def capitalized(sentence: str) -> str:
    """With a capital first letter, the rest untouched."""
    return sentence[0].upper() + sentence[1:]


def enumeration(parts: list[str]) -> str:
    """ "a", "a and b", "a, b, and c"."""
    return " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + ", and " + parts[-1]


def _regular_plural(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(?:s|x|z|ch|sh)$", word) else "s")
