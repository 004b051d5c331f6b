"""What may stand between a language model and the text condition: the Cross-Adapter Module and its peers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from llm4gen_data.errors import UserError
from llm4gen_data.registry import resolve

if TYPE_CHECKING:
    import torch

CONNECTORS = {
    "cam": "llm4gen_model.cam:CrossAdapterModule",
    "ella": "llm4gen_model.peers.ella:TimestepAwareSemanticConnector",
    "mlp": "llm4gen_model.peers.mlp:MLPConnector",
    "resampler": "llm4gen_model.peers.resampler:ResamplerConnector",
}

# `_class_name` in a saved config.json -> where the class is
CONNECTOR_CLASSES = {target.partition(":")[2]: target for target in CONNECTORS.values()}


class Connector(Protocol):
    """Puts M tokens made of a language model's features behind the text tokens; a ModelMixin and ConfigMixin.

    Its config has `text_dim`, `llm_dim`, `mask_padding` (False: padded positions of the language model are used as
    the release uses them) and `scale` (lambda where a call gives none). Where `uses_timestep` is True, the condition
    depends on the denoising step: `forward` then needs `timestep` [B], in the scheduler's units.
    """

    uses_timestep: bool
    config: Any
    dtype: torch.dtype
    device: torch.device

    def __call__(
        self,
        text_embeds: torch.Tensor,
        llm_embeds: torch.Tensor,
        scale: float | torch.Tensor | None = None,
        llm_mask: torch.Tensor | None = None,
        **timestep: torch.Tensor,
    ) -> torch.Tensor:
        """`text_embeds` [B, T, text_dim], `llm_embeds` [B, N, llm_dim] -> [B, T + M, text_dim], text untouched.

        `scale` multiplies the added tokens: a number, or a tensor [B, 1, 1] (None: the config's). `llm_mask` [B, N]
        is True where a token is real; it changes nothing unless the config has `mask_padding`.
        """
        ...

    def token_mask(self, llm_mask: torch.Tensor) -> torch.Tensor:
        """Which of the M added tokens stand for something [B, M], from `llm_mask` [B, N]; both bool."""
        ...

    def __getattr__(self, name: str) -> Any:
        """All else that a ModelMixin has."""
        ...


def is_one_to_one(connector: Connector) -> bool:
    """Whether a token stands behind the text for each of the language model's; latents of a resampler are nobody's."""
    import torch

    return not connector.token_mask(torch.zeros(1, 1, dtype=torch.bool)).any()


def connector_from_config(config: Mapping[str, Any], origin: str) -> Any:
    """The connector that a saved config describes, with fresh weights; a key it lacks has the constructor's default.

    Raises UserError, led by `origin`, for a class that is no connector and for a value that no constructor takes.
    """
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in CONNECTOR_CLASSES:
        raise UserError(f"{origin}: _class_name {name!r}: expected one of {', '.join(CONNECTOR_CLASSES)}")
    connector = resolve("connector", CONNECTOR_CLASSES[name], CONNECTORS)
    parameters = inspect.signature(connector.__init__).parameters
    options = {key: config[key] for key in parameters if key in config}
    for key, value in options.items():
        fits, expected = _EXPECTED[str(parameters[key].annotation)]
        if not fits(value):
            raise UserError(f"{origin}: {key} = {value!r}: expected {expected}")
    try:
        return connector(**options)
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error


_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "int": (lambda value: type(value) is int and value >= 1, "a whole number of at least 1"),
    "float": (lambda value: type(value) in (int, float) and math.isfinite(value), "a number"),
    "bool": (lambda value: type(value) is bool, "true or false"),
}
