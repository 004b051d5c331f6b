"""What a captioner is asked to do. A released wording is never edited: a new one raises the instruction's version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from llm4gen_data.errors import UsageError

ALT_TEXT_SLOT = "{alt_text}"
# LAION holds alt texts of whole pages; what follows the first sentences says little about the picture.
MAX_ALT_TEXT_CHARACTERS = 300

# Put behind a yes/no question, for models trained to answer in one word.
QUESTION_SUFFIX = " Answer yes or no."

NAME = re.compile(r"[a-z][a-z0-9_-]*")
# An alt text must not be able to write a placeholder or a turn of the chat, such as <image>, <|im_end|> or [INST].
MARKUP = re.compile(r"<[^<>]*>|\[/?[A-Z_]+\]")


@dataclass(frozen=True, slots=True)
class Instruction:
    """A worded request to a captioner; `text` may hold `{alt_text}`. Version 0: the user's own words."""

    name: str
    version: int
    text: str

    def ask(self, alt_text: str | None) -> str:
        """The request for one image; without an alt text, an instruction that wants one becomes the paper's."""
        if ALT_TEXT_SLOT not in self.text:
            return self.text
        said = plain_alt_text(alt_text or "")
        return self.text.replace(ALT_TEXT_SLOT, said) if said else INSTRUCTIONS["paper"].text


def plain_alt_text(alt_text: str) -> str:
    """An alt text fit to be quoted in a prompt: one line, no markup, no quotes, cut at a word, possibly empty."""
    words = " ".join(MARKUP.sub(" ", alt_text).translate({ord(mark): "'" for mark in '"“”„'}).split())
    text = "".join(character for character in words if character.isprintable())
    return text if len(text) <= MAX_ALT_TEXT_CHARACTERS else text[:MAX_ALT_TEXT_CHARACTERS].rsplit(" ", 1)[0]


INSTRUCTIONS = {
    instruction.name: instruction
    for instruction in (
        # The paper's own (LLM4GEN, LAION-refined), and what vlm-mini was trained on for dense captions.
        Instruction(
            "paper",
            1,
            "Detail this image using more than 50 words, specifying the main objects and their relationship.",
        ),
        Instruction(
            "alt-text",
            1,
            'The web page of this image describes it as: "{alt_text}". Detail the image using more than 50 words, '
            "specifying the main objects and their relationship. Use names and facts from the description only where "
            "the image agrees with them.",
        ),
        Instruction("short", 1, "Describe this image briefly."),
        Instruction("medium", 1, "Describe this image in two sentences."),
        # Version 1 was the paper's sentence.
        Instruction(
            "dense",
            2,
            "Describe this image in one paragraph of 60 to 120 words. Name every object with its colour, material, "
            "size and place, how the objects relate, and the background. Say only what is visible, and do not begin "
            'with "The image".',
        ),
    )
}


def parse_instruction(value: str) -> Instruction:
    """The instruction that a user's words stand for: a name of the table, `name=sentence`, or a sentence.

    Raises UsageError for an unknown name, a name of the table with other words, or a sentence without words.
    """
    value = value.strip()
    if value in INSTRUCTIONS:
        return INSTRUCTIONS[value]
    name, equals, text = (part.strip() for part in value.partition("="))
    if equals and NAME.fullmatch(name):
        if name in INSTRUCTIONS:
            raise UsageError(f"instruction {name!r} exists with other words: expected another name before the =")
        if " " not in text:
            raise UsageError(f"instruction {value!r}: expected a sentence behind the =")
        return Instruction(name, 0, text)
    if " " in value:
        return Instruction("custom", 0, value)
    close = get_close_matches(value, INSTRUCTIONS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    known = ", ".join(INSTRUCTIONS)
    raise UsageError(f"instruction {value!r} is unknown: expected one of {known}, a sentence, or name=sentence{hint}")
