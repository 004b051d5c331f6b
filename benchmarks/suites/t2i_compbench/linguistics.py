"""What the prompts of a category ask for, read once by spaCy and kept: scoring needs no parser.

The analysis holds raw facts (all noun chunks, nouns, numbers); what a version of the protocol takes of them is decided
when an image is scored, so that the same prompts serve every version and both modes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.suites.t2i_compbench import language
from benchmarks.suites.t2i_compbench.protocol import ATTRIBUTES, EIGHT, Split
from benchmarks.suites.t2i_compbench.rules import PARTS, Kind
from llm4gen_data.errors import UserError
from llm4gen_data.runs import read_json, write_json

SCHEMA_VERSION = 1
KEY = "t2i_compbench"
# What prompts of each category must tell; a complex one may tell a triplet as well.
NEEDED = {
    **dict.fromkeys(ATTRIBUTES, ("chunks",)),
    "spatial": ("triplet",),
    "3d_spatial": ("triplet",),
    "numeracy": ("counts",),
    "non_spatial": ("text",),
    "complex": ("chunks", "text", "kind"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What one prompt asks for; fields that its category does not need are None.

    `index` is the prompt's line in its file, from 0; `file_sha256` that file's, None for a file of the user's own;
    `parser` what read the prompt; `text` what CLIP is given.
    """

    category: str
    index: int
    parser: str
    file_sha256: str | None = None
    chunks: tuple[str, ...] | None = None
    triplet: language.SpatialTriplet | None = None
    counts: dict[str, int] | None = None
    text: str | None = None
    kind: Kind | None = None
    split: Split | None = None

    def to_spec(self) -> str:
        """As JSON for `Prompt.spec`."""
        return json.dumps({KEY: {"schema_version": SCHEMA_VERSION, **asdict(self)}}, ensure_ascii=False)


def facts_of(spec: str | None, prompt_id: str) -> Facts:
    """The facts in a prompt's spec. Raises UserError if it holds none, or others than this version writes."""
    try:
        values = json.loads(spec or "null")
    except ValueError:
        values = None
    found = values.get(KEY) if isinstance(values, dict) else None
    if not isinstance(found, dict):
        raise UserError(
            f"prompt {prompt_id!r} has no T2I-CompBench analysis in its spec; `llm4gen-bench prompts` writes prompts "
            "with it, for a file of your own with --file and --category"
        )
    known = {field.name for field in fields(Facts)}
    if found.get("schema_version") != SCHEMA_VERSION or found.keys() - {"schema_version"} != known:
        raise UserError(
            f"prompt {prompt_id!r}: its T2I-CompBench analysis is of another version of llm4gen; "
            "write the prompts again with `llm4gen-bench prompts`"
        )
    return _facts({key: value for key, value in found.items() if key != "schema_version"}, prompt_id)


def analyse(
    category: str, prompts: Sequence[str], kinds: Sequence[Kind] | None = None, file_sha256: str | None = None
) -> list[Facts]:
    """Read prompts of one category; `kinds` of complex ones. Needs spaCy.

    Raises UserError for an unknown category, without spaCy, or for a prompt that names no object where it must.
    """
    if category not in EIGHT:
        raise UserError(f"category {category!r} is unknown: expected one of {', '.join(EIGHT)}")
    parser = language.parser_versions()
    return [
        Facts(
            category,
            index,
            parser,
            file_sha256,
            kind=None if category != "complex" else kinds[index] if kinds else "spatialaction",
            **_read(category, prompt),
        )
        for index, prompt in enumerate(prompts)
    ]


def kept_analysis(
    folder: Path, category: str, prompts: Sequence[str], kinds: Sequence[Kind] | None, file_sha256: str
) -> list[Facts]:
    """The analysis of a prompt file kept in `folder`, made and kept if it is not there yet.

    Raises UserError if it must be made and spaCy is not installed.
    """
    asked = json.dumps([SCHEMA_VERSION, category, file_sha256, list(prompts), list(kinds or [])])
    path = folder / f"linguistics-{category}-{sha256(asked.encode()).hexdigest()[:16]}.json"
    if path.exists():
        return [_facts(row, f"{category}, line {row.get('index')}") for row in read_json(path)["prompts"]]
    facts = analyse(category, prompts, kinds, file_sha256)
    rows = [asdict(fact) for fact in facts]
    write_json(path, {"parser": language.parser_versions(), "file_sha256": file_sha256, "prompts": rows})
    return facts


def _read(category: str, prompt: str) -> dict[str, Any]:
    if category in ATTRIBUTES:
        return {"chunks": tuple(language.noun_chunks(prompt))}
    if category == "spatial":
        return {"triplet": language.spatial_triplet(prompt)}
    if category == "3d_spatial":
        return {"triplet": language.spatial_3d_triplet(prompt)}
    if category == "numeracy":
        return {"counts": language.numeracy_objects(prompt)}
    if category == "non_spatial":
        return {"text": prompt}
    return {
        "chunks": tuple(language.noun_chunks(prompt)),
        "triplet": language.complex_spatial_triplet(prompt),
        "text": language.without_adjectives(prompt),
    }


def _facts(values: dict[str, Any], where: str) -> Facts:
    """From JSON. Raises UserError for values of the wrong kind."""
    try:
        chunks, triplet = values["chunks"], values["triplet"]
        facts = Facts(
            **{
                **values,
                "chunks": None if chunks is None else tuple(str(chunk) for chunk in chunks),
                "triplet": None if triplet is None else language.SpatialTriplet(*triplet),
            }
        )
        numbers = [facts.index, *(facts.counts or {}).values()]
        words = [facts.text, *(facts.triplet or ()), *(facts.counts or {})]
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError("whole numbers expected")
        if not all(word is None or isinstance(word, str) for word in words):
            raise TypeError("text expected")
        if facts.kind not in (None, *PARTS):
            raise TypeError(f"kind is one of {', '.join(PARTS)}")
        absent = [name for name in NEEDED[facts.category] if getattr(facts, name) is None]
        if absent:
            raise TypeError(f"no {absent[0]}")
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: its T2I-CompBench analysis cannot be read: {error}") from error
    return facts
