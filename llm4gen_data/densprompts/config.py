"""The configuration of `llm4gen-data build-densprompts`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llm4gen_data.densprompts.taxonomy import DEFAULT_N, own_quotas, quotas, require_categories
from llm4gen_data.errors import UsageError
from llm4gen_data.recaption.captioner import CaptionerSettings, Engine, Sampling


@dataclass(frozen=True, slots=True)
class LlmConfig:
    """How a language model writes: through the server at `engine.base_url` if there is one, else by vLLM here.

    `model` is a folder, a hub id, or the server's name for it; `preset` a key of `writers.instructions.PRESETS`.
    A prompt that cannot be had from one specification is asked for from others, `tries` in all. With `structured`
    the answer is held to a JSON schema; False is for servers that know no `response_format`.
    """

    model: str | None = None
    revision: str | None = None
    preset: str = "spec"
    tries: int = 3
    structured: bool = True
    max_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    engine: Engine = field(default_factory=Engine)

    def settings(self) -> CaptionerSettings:
        """As the engines of captioning are told. Raises UsageError without a model."""
        if self.model is None:
            raise UsageError("--writer llm needs --model: a folder, a hub id, or the endpoint's name for the model")
        sampling = Sampling(self.max_tokens, self.temperature, self.top_p, self.repetition_penalty)
        return CaptionerSettings(self.model, self.revision, sampling=sampling, engine=self.engine)


@dataclass(frozen=True, slots=True)
class DensePromptsConfig:
    """What is built: `n` prompts over all categories, over `categories`, or by `quotas` (category -> number)."""

    n: int | None = None
    seed: int = 0
    writer: Literal["grammar", "llm"] = "grammar"
    categories: tuple[str, ...] = ()
    quotas: dict[str, int] | None = None
    against: tuple[str, ...] = ()
    llm: LlmConfig = field(default_factory=LlmConfig)

    def shares(self) -> dict[str, int]:
        """How many prompts of each category. Raises UsageError for unknown categories, wrong sums and n below 1."""
        if self.n is not None and self.n < 1:
            raise UsageError(f"n = {self.n}: expected 1 or more")
        if self.quotas is None:
            return quotas(DEFAULT_N if self.n is None else self.n, self.categories)
        if self.categories:
            raise UsageError("categories and quotas cannot be given together: quotas name the categories")
        return own_quotas(self.quotas, sum(self.quotas.values()) if self.n is None else self.n, "quotas")


def read_quotas(path: Path) -> dict[str, int]:
    """A YAML file of `category: number`, one a line. Raises UsageError naming the file and what is wrong in it."""
    import yaml

    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict) or not table:
        raise UsageError(f"{path}: expected a mapping of category: number, found {type(table).__name__}")
    require_categories(map(str, table), str(path))
    for name, number in table.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise UsageError(f"{path}: {name} = {number!r}: expected a whole number, 0 or more")
    return table
