"""The published versions of the set: each is what the grammar writes by default in the release that names it."""

from __future__ import annotations

# Version -> sha256 of its `prompts.jsonl`, the canonical form.
VERSIONS = {
    "DensePrompts v1": "f99e2fb118472b2c45e14672ca4b9f5aa1885c6a1ef35d58e40ba69f398d0ff2",
}
CURRENT = "DensePrompts v1"


def version_of(sha256: str) -> str | None:
    """The name of the version with this sha256; None for a set of one's own."""
    return next((name for name, known in VERSIONS.items() if known == sha256), None)
