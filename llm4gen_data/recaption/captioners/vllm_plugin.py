"""What vLLM loads into each of its processes (entry point `vllm.general_plugins`): they end when ours does.

vLLM's engine process outlives a parent that was killed with -9, and keeps its GPU's memory for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import threading

# Set by the captioner, so that other users of vLLM in the same environment notice nothing.
ENABLED = "LLM4GEN_VLLM_ENDS_WITH_PARENT"


def end_with_parent() -> None:
    """In a process started by a captioner's engine: watch the parent, and end at once when it is gone."""
    parent = multiprocessing.parent_process()
    if os.environ.get(ENABLED) and parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
