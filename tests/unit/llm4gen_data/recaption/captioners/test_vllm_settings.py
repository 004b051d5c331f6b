"""Arguments for vLLM's engine, without vLLM: versions differ in what they know."""

from typing import Any

import pytest

from llm4gen_data.errors import UsageError
from llm4gen_data.recaption.captioner import CaptionerSettings, Engine
from llm4gen_data.recaption.captioners.vllm_settings import engine_arguments, settle_environment

KNOWN = frozenset({"model", "max_num_seqs", "mm_processor_cache_gb", "max_model_len", "enforce_eager"})


def arguments(**engine: Any) -> dict[str, Any]:
    return engine_arguments(CaptionerSettings("owner/model", engine=Engine(**engine)), KNOWN)


def test_only_what_this_version_knows_is_given() -> None:
    assert arguments(max_num_seqs=7) == {"model": "owner/model", "max_num_seqs": 7, "mm_processor_cache_gb": 0}


def test_the_user_has_the_last_word() -> None:
    given = arguments(vllm={"mm_processor_cache_gb": 4, "enforce_eager": True})
    assert given["mm_processor_cache_gb"] == 4
    assert given["enforce_eager"] is True


def test_an_argument_that_vllm_does_not_have_is_named() -> None:
    with pytest.raises(UsageError, match=r"engine\.vllm\.max_seqs"):
        arguments(vllm={"max_seqs": 4})


def test_the_users_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    # what the call sets is taken back after the test
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_KVCACHE_SPACE", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, "kept")
    for name in ("LLM4GEN_VLLM_ENDS_WITH_PARENT", "TRANSFORMERS_VERBOSITY", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "1")
    settle_environment()
    import os

    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "kept"
