import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from llm4gen_model.training import run, validation
from llm4gen_model.training.config import CamConfig, LLMConfig, TrainConfig
from tests.factories import language_model, pairs_parquet, sd15_pipeline


@pytest.fixture(autouse=True)
def _one_accelerator_a_test() -> Iterator[None]:
    """Accelerate keeps one state a process; another precision would be refused."""
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture(autouse=True)
def _heed_ctrl_c() -> Iterator[None]:
    """Whoever starts the tests in the background has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A run over twelve pairs with a tiny SD1.5-shaped base and a tiny language model."""
    pipeline = sd15_pipeline()
    pipeline.save_pretrained(tmp_path / "base", safe_serialization=True)

    def load_llm(name: str, *_: Any, **__: Any) -> Any:
        return language_model(seed=0 if name == "tiny" else 1)

    monkeypatch.setattr(run, "load_llm", load_llm)
    monkeypatch.setattr("llm4gen_model.llm.load_llm", load_llm)
    monkeypatch.setattr(validation, "write_report", lambda *_: None)  # its curves take longer than these steps
    return TrainConfig(
        data=pairs_parquet(tmp_path / "pairs.parquet", 12),
        out=tmp_path / "out",
        base=str(tmp_path / "base"),
        llm=LLMConfig(name="tiny", max_tokens=12),
        cam=CamConfig(num_heads=4),
        captions={"caption": 0.7, "alt_text": 0.3},
        resolution=16,
        train_batch_size=4,
        max_train_steps=8,
        learning_rate=1e-3,
        lr_warmup_steps=2,
        checkpointing_steps=2,
        logging_steps=3,
        validation_steps=5,
        num_validation_images=1,
        num_inference_steps=1,
        threads=1,
    )
