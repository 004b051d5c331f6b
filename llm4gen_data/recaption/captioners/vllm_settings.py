"""What vLLM is started with: the settings for captioning on few cores and on GPUs, and its versions' differences."""

from __future__ import annotations

import os
from typing import Any

from llm4gen_data.errors import UsageError
from llm4gen_data.recaption.captioner import CaptionerSettings, inference_dtype, model_path
from llm4gen_data.recaption.captioners.vllm_plugin import ENABLED
from llm4gen_data.recaption.preparing import FEW_CORES


def settle_environment() -> None:
    """Set what vLLM and its processes read at import, unless the user has; nothing is reported home."""
    import torch

    wanted = {
        ENABLED: "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        # the engine process is stopped, not waited for; its shared memory is cleaned up by Python's tracker, loudly
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore:resource_tracker:UserWarning",
    }
    if not torch.cuda.is_available():
        wanted["VLLM_CPU_KVCACHE_SPACE"] = "1"
        if len(os.sched_getaffinity(0)) <= FEW_CORES:
            # The model runs in the engine's process, not in a third one, on one core; the others read and prepare
            # images. The engine is ready sooner and twice as fast as with vLLM's defaults.
            wanted["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            wanted["OMP_NUM_THREADS"] = "1"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def engine_arguments(settings: CaptionerSettings, known: frozenset[str]) -> dict[str, Any]:
    """Arguments of vLLM's engine: ours as far as this version has them (`known`), then the user's `engine.vllm`.

    Raises UsageError for an argument in `engine.vllm` that this version does not have.
    """
    import torch

    engine = settings.engine
    ours = {
        "model": model_path(settings.model),
        "revision": settings.revision,
        "dtype": inference_dtype(engine),
        "max_model_len": engine.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        # Attention on CPU costs whole blocks of tokens, and only whole blocks are reused: vLLM's 128 are too many.
        "block_size": None if torch.cuda.is_available() else 32,
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        # every image is seen once, so a cache of prepared images only costs memory
        "mm_processor_cache_gb": 0,
        "enable_log_requests": False,
        "disable_log_requests": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    unknown = sorted(set(engine.vllm) - known)
    if unknown:
        from vllm import __version__

        raise UsageError(f"engine.vllm.{unknown[0]}: vLLM {__version__} has no such engine argument")
    given = {name: value for name, value in ours.items() if name in known and value is not None}
    return {**given, **engine.vllm}
