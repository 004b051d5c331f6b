"""What vLLM loads into each of its processes (entry point `vllm.general_plugins`): they end when ours does.

vLLM's engine process outlives a parent that was killed with -9, and keeps its GPU's memory for ever.
"""

from __future__ import annotations

import os

from llm4gen_data import orphans

# Set by the captioner, so that other users of vLLM in the same environment notice nothing.
ENABLED = "LLM4GEN_VLLM_ENDS_WITH_PARENT"


def end_with_parent() -> None:
    """In a process started by a captioner's engine: end when its parent does."""
    if os.environ.get(ENABLED):
        orphans.end_with_parent()
