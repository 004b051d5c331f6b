"""Quality verdicts as columns: `caption` is cleaned, `caption_raw` never touched, no row is ever deleted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from llm4gen_data.config import to_plain
from llm4gen_data.recaption.language import other_language
from llm4gen_data.recaption.status import SUCCESS

# Raised when equal thresholds would give other verdicts than before: runs are then brought up to date.
GATES_VERSION = 1
# Kinds of errors that a marker tells; the counts by status are complete.
N_ERRORS = 20

_PICTURE = "(?:image|picture|photo|photograph|scene)"
_SHOWS = "(?:shows|depicts|features|displays|presents|captures|portrays|contains|is of|is)"
STOCK_OPENINGS = re.compile(
    r"^(?:<think>.*?(?:</think>|$)\s*)?"
    r"(?:sure[,!.]\s*|certainly[,!.]\s*)?"
    r"(?:here(?:'s| is) (?:an?|the|your) [^:.]{1,60}:\s*)?"
    r"(?:[*#\s]*(?:caption|description|detailed description|answer)[*\s]*:[*\s]*)?"
    rf"(?:(?:the|this) {_PICTURE} {_SHOWS}\s+"
    rf"|in (?:the|this) {_PICTURE},?(?: (?:we|you) can see| there (?:is|are))?\s+"
    rf"|(?:an?|the) {_PICTURE} (?:of|showing)\s+)?",
    re.IGNORECASE,
)
# at the start only: a caption may well quote such words
REFUSAL = re.compile(
    r"^(?:i'?m sorry|i am sorry|sorry,|i can(?:no|')t|i am (?:unable|not able)|i'?m (?:unable|not able)|as an ai"
    r"|unfortunately, i |i do(?:n't| not) (?:have|see) (?:access|the|an|any) (?:image|picture|photo)"
    r"|(?:there is )?no image (?:was |is |has been )?(?:provided|attached|visible))",
    re.IGNORECASE,
)
# What has no glyph and is no space to str.split, which sees to those.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
PUNCTUATION = " .,;:!?\"'"


@dataclass(frozen=True, slots=True)
class Gates:
    """Thresholds; words are `len(text.split())`, shares are 0 to 1, None switches a gate off.

    `max_repeated_4grams` is the share of 4-grams seen before in a caption. A caption is in another `language` (ISO
    639) where the recogniser is at least `min_language_confidence` sure of it. A caption alarms as a duplicate when
    more than `max_duplicate_share` of a run's captions, and at least `min_duplicates`, read the same. Similarity is
    computed where `similarity_model` names a CLIP-like model (bundled, folder or hub id), and judged where
    `min_similarity` is given. `max_denied_share` is of the objects asked about.
    """

    min_words: int = 3
    max_repeated_4grams: float = 0.3
    language: str | None = "en"
    min_language_confidence: float = 0.8
    max_duplicate_share: float = 0.001
    min_duplicates: int = 20
    similarity_model: str | None = None
    min_similarity: float | None = None
    max_denied_share: float = 0.3

    def __post_init__(self) -> None:
        for name in ("max_repeated_4grams", "min_language_confidence", "max_duplicate_share", "max_denied_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1")
        if self.max_duplicate_share < 1e-5:
            raise ValueError("max_duplicate_share: expected at least 0.00001, memory grows with its inverse")


def clean(caption_raw: str) -> str:
    """The caption without a stock opening such as "The image shows", capitalised again; one line, printable."""
    text = " ".join(caption_raw.split())
    if not text.isprintable():
        text = " ".join(UNPRINTABLE.sub("", text).split())
    rest = text[STOCK_OPENINGS.match(text).end() :]  # type: ignore[union-attr]  # matches always, at least nothing
    return rest[:1].upper() + rest[1:] if len(rest) < len(text) else text


def reject_reasons(caption: str, finish_reason: str | None, alt_text: str | None, gates: Gates) -> list[str]:
    """Why a cleaned caption should not be trained on, from its text alone; empty if nothing stands out."""
    words = caption.split()
    if not words:
        return ["empty", "cut_off"] if finish_reason == "length" else ["empty"]
    reasons = []
    if len(words) < gates.min_words:
        reasons.append("too_short")
    if finish_reason == "length":
        reasons.append("cut_off")
    if REFUSAL.match(caption):
        reasons.append("refusal")
    if repeated_4grams(caption) > gates.max_repeated_4grams:
        reasons.append("repetition")
    if gates.language is not None and other_language(caption, words, gates.language, gates.min_language_confidence):
        reasons.append("language")
    if alt_text and _bare(caption) == _bare(alt_text):
        reasons.append("alt_text_echo")
    return reasons


def repeated_4grams(text: str) -> float:
    """The share of word 4-grams that occurred before in the same text, 0 to 1; case does not count."""
    words = text.casefold().split()
    n_grams = len(words) - 3
    if n_grams < 2:
        return 0.0
    return 1 - len(set(zip(words, words[1:], words[2:], words[3:], strict=False))) / n_grams


def apply_gates(table: pa.Table, gates: Gates, repeated: frozenset[str] = frozenset()) -> pa.Table:
    """`table` with the verdict columns set from its raw ones, all else untouched.

    Sets `caption, n_words, keep, reject_reasons`, and `NAME_caption, NAME_n_words, NAME_reject_reasons` of every
    further instruction NAME. Reads `status`, `alt_text`, the raw columns, and where they are there
    `caption_similarity`, `objects_named` and `objects_denied`. `repeated` holds the cleaned captions that alarm as
    duplicates. A row with a status other than "success" has null captions and its status as reason.
    """
    status = table["status"].to_pylist()
    alt_texts = table["alt_text"].to_pylist()
    for prefix in ("", *(f"{name}_" for name in further_instructions(table.column_names))):
        captions: list[str | None] = []
        n_words: list[int | None] = []
        reasons: list[list[str]] = []
        raw, finish = table[f"{prefix}caption_raw"].to_pylist(), table[f"{prefix}finish_reason"].to_pylist()
        for i, text in enumerate(raw):
            if status[i] != SUCCESS or text is None:
                captions.append(None)
                n_words.append(None)
                reasons.append([status[i] if status[i] != SUCCESS else "empty"])
                continue
            caption = clean(text)
            captions.append(caption)
            n_words.append(len(caption.split()))
            reasons.append(reject_reasons(caption, finish[i], alt_texts[i], gates))
            if caption in repeated:
                reasons[i].append("duplicate")
        if not prefix:
            _judge_measurements(table, gates, reasons)
            table = _put(table, "keep", pa.array([not row for row in reasons], pa.bool_()), "error_message")
        table = _put(table, f"{prefix}caption", pa.array(captions, pa.string()), f"{prefix}caption_raw")
        table = _put(table, f"{prefix}n_words", pa.array(n_words, pa.int32()), f"{prefix}caption")
        after = f"{prefix}n_output_tokens" if prefix else "keep"
        table = _put(table, f"{prefix}reject_reasons", pa.array(reasons, pa.list_(pa.string())), after)
    return table


def further_instructions(columns: Sequence[str]) -> list[str]:
    """The names of the instructions beyond the first, from a table's columns."""
    names = [column.removesuffix("_caption_raw") for column in columns if column.endswith("_caption_raw")]
    return [name for name in names if f"{name}_finish_reason" in columns]


def gates_stamp(
    gates: Gates, repeated: str | None = None, similarity: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What verdicts depend on, as a shard's metadata and marker hold it under "gates".

    `repeated` stands for the duplicates that the shard holds, `similarity` for the model and policy of its
    similarities; both are None when a shard is first committed.
    """
    return {"version": GATES_VERSION, **to_plain(gates), "repeated": repeated, "similarity": similarity}


def outcome_counts(table: pa.Table) -> dict[str, Any]:
    """What a shard's marker says of its rows; those of a run are the sums."""
    failed = table.filter(pc.is_valid(table["error_message"]))
    errors = Counter(
        map(": ".join, zip(*(failed[name].to_pylist() for name in ("status", "error_message")), strict=True))
    )
    counts = {
        "status": _value_counts(table["status"]),
        "kept": pc.sum(table["keep"]).as_py() or 0,
        "reject_reasons": _value_counts(pc.list_flatten(table["reject_reasons"])),
        "errors": dict(errors.most_common(N_ERRORS)),
        "output_tokens": pc.sum(table["n_output_tokens"]).as_py() or 0,
    }
    if "objects_named" in table.column_names:
        for name, column in (("objects_asked", "objects_named"), ("objects_denied", "objects_denied")):
            counts[name] = pc.sum(pc.list_value_length(table[column])).as_py() or 0
    return counts


def _value_counts(values: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted((entry["values"], entry["counts"]) for entry in values.value_counts().to_pylist()))


def _judge_measurements(table: pa.Table, gates: Gates, reasons: list[list[str]]) -> None:
    """Add the reasons that come from other columns than the texts."""
    if gates.min_similarity is not None and "caption_similarity" in table.column_names:
        for row, similarity in zip(reasons, table["caption_similarity"].to_pylist(), strict=True):
            if similarity is not None and similarity < gates.min_similarity:
                row.append("low_similarity")
    if "objects_named" in table.column_names:
        named, denied = table["objects_named"].to_pylist(), table["objects_denied"].to_pylist()
        for row, asked, refused in zip(reasons, named, denied, strict=True):
            if asked and len(refused or ()) / len(asked) > gates.max_denied_share:
                row.append("denied_objects")


def _bare(text: str) -> str:
    """One line in lower case, without punctuation around it."""
    return " ".join(text.casefold().split()).strip(PUNCTUATION)


def _put(table: pa.Table, name: str, values: pa.Array, after: str) -> pa.Table:
    """Set a column where it is, or add it behind the column `after`."""
    if name in table.column_names:
        index = table.column_names.index(name)
        return table.set_column(index, table.schema.field(index), values)
    nullable = name not in ("keep", "reject_reasons")
    return table.add_column(
        table.column_names.index(after) + 1, pa.field(name, values.type, nullable=nullable), values
    )
