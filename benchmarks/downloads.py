"""Where files that were fetched or worked out once are kept."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "LLM4GEN_CACHE"


def cache_folder(part: str) -> Path:
    """The folder `part` of $LLM4GEN_CACHE, or of ~/.cache/llm4gen; made if it is not there."""
    root = os.environ.get(CACHE_VARIABLE)
    folder = (Path(root) if root else Path.home() / ".cache" / "llm4gen") / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder
