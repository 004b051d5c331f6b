"""What a recaption run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption.captioner import CAPTIONERS, DEFAULT_MODEL, CaptionerSettings, Engine, Sampling
from llm4gen_data.recaption.gates import Gates
from llm4gen_data.recaption.instructions import Instruction, parse_instruction
from llm4gen_data.recaption.presets import PRESETS
from llm4gen_data.registry import resolve

RUNNERS = {
    "local": "llm4gen_data.recaption.runners.local:caption",
    "ray": "llm4gen_data.recaption.runners.ray_data:caption",
}


@dataclass(frozen=True, slots=True)
class RecaptionConfig:
    """What to caption and how.

    `source` is what `sources.source.open_source` takes; each of `instructions` is what
    `instructions.parse_instruction` takes, the first writes `caption`, a further one NAME `NAME_caption`, all are
    asked about an image together. `chat_format` holds `{instruction}` (None: the model's own template). Images are
    shrunk to at most `max_pixels`. With `object_check` the model is asked whether what it named is there. A shard
    holds `shard_rows` input rows. A run in which more than `max_failed_share` of the images could not be captioned
    is written in full and ends with exit code 1. `runner` and `n_workers` say where the work is done and do not
    change its outcome, no more than `engine` and `gates` (which `regate` may change later).
    """

    source: str
    captioner: str = "vllm"
    model: str = DEFAULT_MODEL
    revision: str | None = None
    instructions: tuple[str, ...] = ("paper",)
    chat_format: str | None = None
    max_pixels: int = 1024 * 1024
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)
    gates: Gates = field(default_factory=Gates)
    object_check: bool = False
    store_images: bool = True
    shard_rows: int = 1000
    max_failed_share: float = 0.1
    runner: str = "local"
    n_workers: int = 1

    def parsed_instructions(self) -> list[Instruction]:
        """The instructions by name. Raises UsageError for an unknown one, two of one name, or none."""
        parsed = [parse_instruction(value) for value in self.instructions]
        names = [instruction.name for instruction in parsed]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise UsageError(f"instructions = {', '.join(names) or 'none'}: expected at least one, each name once")
        return parsed

    def captioner_settings(self) -> CaptionerSettings:
        """What the captioner is made from."""
        return CaptionerSettings(self.model, self.revision, self.chat_format, self.sampling, self.engine)


def check(config: RecaptionConfig) -> None:
    """Raise UsageError or UserError for what can be seen to be wrong before anything is loaded."""
    resolve("captioner", config.captioner, CAPTIONERS)
    resolve("runner", config.runner, RUNNERS)
    if config.captioner in ("vllm", "transformers"):
        _refuse_unknown_name(config.model)
    config.parsed_instructions()
    for name in ("max_pixels", "shard_rows", "n_workers"):
        if getattr(config, name) < 1:
            raise UsageError(f"{name} = {getattr(config, name)}: expected at least 1")
    if config.sampling.max_tokens < 1:
        raise UsageError(f"sampling.max_tokens = {config.sampling.max_tokens}: expected at least 1")
    if config.chat_format is not None and "{instruction}" not in config.chat_format:
        raise UsageError(f"chat_format = {config.chat_format!r}: expected a text with {{instruction}} in it")


def _refuse_unknown_name(model: str) -> None:
    """Raise UserError for a name that is neither a preset, a folder, nor of the form owner/name."""
    if model in PRESETS or "/" in model or Path(model).is_dir():
        return
    close = get_close_matches(model, PRESETS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UserError(
        f"model {model!r} is unknown as a captioner: expected one of {', '.join(PRESETS)}, a folder, or a hub id{hint}"
    )
