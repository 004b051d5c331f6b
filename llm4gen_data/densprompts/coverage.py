"""The coverage report of a built prompt set: every quota, how varied its language is, how near it comes to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm4gen_data.densprompts.diversity import DPG_BENCH
from llm4gen_data.densprompts.neighbors import MAX_SIMILARITY
from llm4gen_data.densprompts.taxonomy import SKILLS, skills_of

LENGTHS_PICTURE, CLOUD_PICTURE = "figures/lengths.png", "figures/words.png"
N_PLANS = 10
NEWLINE = "\n"  # Python 3.11 has no backslash inside an f-string expression


def coverage(content: Mapping[str, Any], shares: Mapping[str, int]) -> str:
    """coverage.md: tables of `content`, what the manifest says; `shares` are how many of each category were due."""
    figures = content["figures"]
    return f"""# Coverage

{content["n_rows"]:,} prompts. Every number of this page is also in `manifest.json` under `figures`.

## Length

![words in a prompt]({LENGTHS_PICTURE})

{table(("words", "prompts"), figures["histogram"].items())}

{tokens_line(figures)}

## Quotas

{_quotas(figures, shares)}

Cells are prompts drawn for a skill; a dash stands where a category's things do not lend themselves to it. Claims of a
skill also occur in prompts drawn for others:

{table(("skill", "prompts drawn for it", "share of all prompts with such a claim"), _skill_rows(figures))}

{table(("things in a prompt", "prompts"), figures["n_entities"].items())}

{table(("length", "prompts"), figures["lengths"].items())}

## Colors

{table(("basic color", "share of prompts with the word"), _percent(figures["color_shares"]))}

## Questions and twins

{table(("questions by kind", "n"), figures["question_kinds"].items())}

{table(("questions by skill", "n"), figures["question_skills"].items())}

{table(("twins", "n"), figures["twin_kinds"].items())}

## Language

![the words in most prompts]({CLOUD_PICTURE})

{figures["distinct_nouns"]:,} different things in {figures["distinct_settings"]:,} different settings.

{diversity_table(figures["diversity"])}

{_plans(figures["plans"])}

## Near-duplicates and leakage

Largest Jaccard similarity of 5-word shingles between a prompt and those before it: median
{figures["similarity"]["median"]:.3f}, largest {figures["similarity"]["max"]:.3f}; {MAX_SIMILARITY} or more is refused.

{leakage_table(content.get("leakage", ()))}

## Refused while building

{table(("reason", "drafts"), content["rejects"].items()) if content["rejects"] else "Nothing."}
"""


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; whole numbers get thousands separators."""
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    return NEWLINE.join(f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *cells])


def diversity_table(diversity: Mapping[str, Any]) -> str:
    """The set's diversity beside DPG-Bench's."""
    names = {
        "distinct_words": "different words",
        "distinct_2": "distinct-2",
        "distinct_4": "distinct-4",
        "zlib_ratio": "zlib ratio",
    }
    figures = (diversity["mean"], diversity["worst"], DPG_BENCH)
    rows = [(name, *(f"{figure[key]:,g}" for figure in figures)) for key, name in names.items()]
    samples = f"{diversity['n_samples']} random samples of {diversity['sample_words']:,} words"
    if diversity["n_samples"] == 1:
        samples = f"all {diversity['sample_words']:,} words"
    return table((samples, "mean", "worst", "DPG-Bench (all of its 71,523)"), rows)


def leakage_table(leakage: Sequence[Mapping[str, Any]]) -> str:
    """How near the set comes to each public one; a line where it was compared with none."""
    if not leakage:
        return "Not compared with public sets (`--against`)."
    rows = [(r["set"], r["n_prompts"], f"{r['similarity_max']:.3f}", r["n_too_near"], r["n_quoted"]) for r in leakage]
    return table(
        ("public set", "prompts", "largest similarity", f"ours at {MAX_SIMILARITY} or more", "theirs quoted whole"),
        rows,
    )


def tokens_line(figures: Mapping[str, Any]) -> str:
    """The share of prompts that CLIP cuts."""
    tokens = figures["clip_tokens"]
    return (
        f"At least {tokens['share_over_77']:.1%} of the prompts are longer than the 77 tokens that CLIP reads (a "
        f"token for each word, digit and run of marks, of which CLIP's tokenizer never makes fewer; mean "
        f"{tokens['mean']:.0f})."
    )


def _quotas(figures: Mapping[str, Any], shares: Mapping[str, int]) -> str:
    rows = []
    for category, due in shares.items():
        cells = [
            str(figures["cells"].get(f"{category} / {skill}", 0)) if skill in skills_of(category) else "-"
            for skill in SKILLS
        ]
        rows.append((category, due, figures["categories"].get(category, 0), *cells))
    return table(("category", "due", "built", *SKILLS), rows)


def _skill_rows(figures: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    return [(s, figures["skills"].get(s, 0), f"{figures['skill_shares'][s]:.1%}") for s in SKILLS]


def _percent(shares: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{share:.1%}") for name, share in shares.items()]


def _plans(plans: Mapping[str, Any]) -> str:
    if not plans["n_plans"]:
        return "The writer has no sentence plans."
    common = [(f"`{plan}`", f"{share:.2%}") for plan, share in list(plans["shares"].items())[:N_PLANS]]
    return (
        f"{plans['n_sentences']:,} sentences by {plans['n_plans']:,} plans; the commonest:\n\n"
        f"{table(('plan', 'share of sentences'), common)}"
    )
