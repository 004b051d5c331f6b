"""LLM4GEN for SDXL as a custom pipeline of diffusers; the package llm4gen has to be installed."""

# The name is the same in every such file: diffusers runs them in one module, which may hold one pipeline only.

from llm4gen_model.pipeline import LLM4GenXLPipeline as Pipeline

__all__ = ["Pipeline"]
