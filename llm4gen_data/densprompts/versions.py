"""The published versions of the set: each is what the grammar writes by default in the release that names it."""

from __future__ import annotations

# Version -> sha256 of its `prompts.jsonl`, the canonical form.
VERSIONS = {
    "DensePrompts v1": "0e879055ad998376d349d59924b8a7fb48977bf7793885cc4570397f9d8002e3",
}
CURRENT = "DensePrompts v1"


def version_of(sha256: str) -> str | None:
    """The name of the version with this sha256; None for a set of one's own."""
    return next((name for name, known in VERSIONS.items() if known == sha256), None)
