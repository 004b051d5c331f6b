"""What a language model is to this project: one batched method that gives features, and what decides their values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.registry import resolve

if TYPE_CHECKING:
    import torch

LANGUAGE_MODELS = {
    "minilm": "llm4gen_model.llms.sentence:minilm",
    "minilm-random": "llm4gen_model.llms.random_weights:minilm_random",
    "scene-graph": "llm4gen_model.llms.scene_graph:scene_graph",
    "smollm2": "llm4gen_model.llms.decoder:smollm2",
}

LAST_LAYER = "last_hidden_state"  # how an identity calls the layer `last`
DTYPES = ("float32", "bfloat16", "float16")
QUANTIZATIONS = ("8bit", "4bit")


@dataclass(frozen=True, slots=True)
class LLMSettings:
    """How features are made; all but `offload` changes their values. Raises UsageError for values out of range."""

    max_tokens: int = 128
    """Tokens a text is cut to, special ones included."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """In which the model computes; features are float32."""
    layer: str | int = "last"
    """`last`: last hidden states, after the final norm. A number: `hidden_states[layer]` (0: embeddings, -2: last but
    one). `mean`: mean over all layers of each one's states, layer-normalised without weights (arXiv 2506.08210)."""
    prefix: str = ""
    """Put before every text, the empty one included: RankGen's "pre ", or an instruction."""
    pad: bool = False
    """Every text gives exactly `max_tokens` features, the states of masked padding included, as the release has it."""
    keep_end: bool = True
    """Whether a text that is cut keeps its end token; in the release it loses it."""
    quantize: Literal["8bit", "4bit"] | None = None
    """Weights of 8 or 4 bits through bitsandbytes."""
    offload: bool = False
    """Keep the model in main memory but while it encodes."""

    def __post_init__(self) -> None:
        """Check every value."""
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens {self.max_tokens}: expected at least 1")
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype {self.dtype!r} is unknown: expected one of {', '.join(DTYPES)}")
        if isinstance(self.layer, str) and self.layer not in ("last", "mean"):
            raise UsageError(f"layer {self.layer!r} is unknown: expected last, mean or a number")
        if self.quantize not in (None, *QUANTIZATIONS):
            raise UsageError(f"quantize {self.quantize!r} is unknown: expected one of {', '.join(QUANTIZATIONS)}")
        if self.quantize is not None and self.offload:
            raise UsageError("a quantised language model stays on its device: give quantize or offload, not both")


_SETTINGS = ("max_tokens", "dtype", "layer", "prefix", "pad", "keep_end", "quantize")


class LanguageModel(Protocol):
    """A frozen language model: `width` numbers a token, at most `max_tokens` tokens a text.

    With `pads`, features of every text are exactly `max_tokens` long, states of padding included.
    """

    name: str
    width: int
    max_tokens: int
    pads: bool

    def identity(self) -> dict[str, Any]:
        """Everything that changes features, as JSON values: cached features are only valid under an equal identity."""
        ...

    def encode(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Hidden states [n_i, width] of every text, float32 on the model's device, in the order given.

        Special tokens are in, padding is out (in with `pads`). A text longer than `max_tokens` is cut. What else
        is in `texts` changes features by rounding only.
        """
        ...

    def token_spans(self, text: str) -> list[tuple[int, int] | None]:
        """For each row of the text's features the characters [start, end) of `text` that it stands for.

        None for special, prefix and padding tokens.
        """
        ...


def load_llm(name: str, settings: LLMSettings | None = None, device: str = "cpu") -> LanguageModel:
    """The language model `name`: an entry of LANGUAGE_MODELS or of `llms.known`, a `module:attribute`, a folder or
    a hub id.

    Folders and hub ids may hold a decoder, a T5-like encoder (RankGen's too) or a BERT-like (sentence) encoder;
    remote code is never run. A `module:attribute` is called with `settings` and `device`. `settings` None: those
    of `settings_for(name)`. Raises UserError for a model that cannot be had or is unfit.
    """
    settings = settings_for(name) if settings is None else settings
    if name in LANGUAGE_MODELS or ":" in name:
        factory = resolve("language model", name, LANGUAGE_MODELS)
        model: LanguageModel = factory(settings, device)
        return model
    from llm4gen_model.llms.pretrained import load_pretrained

    return load_pretrained(name, settings, device)


def settings_for(name: str) -> LLMSettings:
    """The settings that the model `name` is meant to be used with; defaults where nothing is known of it."""
    from llm4gen_model.llms.known import KNOWN_MODELS

    return KNOWN_MODELS[name].settings if name in KNOWN_MODELS else LLMSettings()


def settings_of(identity: Mapping[str, Any]) -> LLMSettings:
    """The settings that features of this identity were made with; what it does not say is the default."""
    layer = identity.get("layer", LAST_LAYER)
    values = {name: identity[name] for name in _SETTINGS if name in identity}
    return LLMSettings(**{**values, "layer": "last" if layer == LAST_LAYER else layer})


def require_same_llm(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Raise UserError if features of identity `found` are not what `expected` describes; warn of another precision.

    What `expected` does not say is a setting's default, or is not compared. The name says nothing about values.
    """
    settings, trained = settings_of(found), settings_of(expected)
    stated = {key for key in expected if key not in ("name", "layer", *_SETTINGS)}
    pairs = {key: (found.get(key), expected[key]) for key in sorted(stated)}
    pairs |= {key: (getattr(settings, key), getattr(trained, key)) for key in _SETTINGS}
    differing = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    rough = {key: differing.pop(key) for key in ("dtype", "quantize") if key in differing}
    changes = "; ".join(f"{key} is {now!r}, was {then!r}" for key, (now, then) in (differing or rough).items())
    if differing:
        raise UserError(f"{where}: made with another language model ({changes})")
    if rough:
        warnings.warn(
            f"{where}: the language model computes in another precision than in training ({changes}): "
            "pictures will differ",
            stacklevel=2,
        )


def pad_features(features: Sequence[torch.Tensor], n_tokens: int) -> torch.Tensor:
    """Features [n_i, width] as one tensor [B, n_tokens, width], zeros behind each text.

    Raises UserError for no features at all, or for a text of more than `n_tokens` tokens.
    """
    import torch
    from torch.nn import functional as F

    longest = max((len(tokens) for tokens in features), default=0)
    if not 0 < longest <= n_tokens:
        raise UserError(f"features of {longest} tokens cannot be padded to {n_tokens}")
    return torch.stack([F.pad(tokens, (0, 0, 0, n_tokens - len(tokens))) for tokens in features])
