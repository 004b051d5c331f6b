"""The model card of a saved pipeline."""

from __future__ import annotations

from typing import Any

from llm4gen_data.runs import package_versions

CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
tags:
- text-to-image
- stable-diffusion
- llm4gen
---

# {name}

A text-to-image pipeline whose prompts a language model reads as well: its features go through a Cross-Adapter
Module, or another connector in its place, and stand behind the text encoder's tokens (LLM4GEN, arXiv 2407.00737).

| part | |
|---|---|
| pipeline | `{pipeline}` |
| UNet | {unet:,} parameters |
| connector | {connector} |
| language model | {llm} |
| how it is read | {settings} |
| long prompts | {long_prompts} |
| scheduler | {scheduler} |
| made with | {versions} |

```python
from llm4gen_model.pipeline import {pipeline}

pipeline = {pipeline}.from_pretrained("{name}")  # or the path of this folder
image = pipeline("a red cube on a table of old wood, lit from the left").images[0]
```

Without that import, but with llm4gen installed:
`DiffusionPipeline.from_pretrained(path, custom_pipeline=path + "/pipeline.py", trust_remote_code=True)`. For
image-to-image, inpainting, ControlNet or IP-Adapter give those pipelines
`**pipeline.prompt_encoder.encode([prompt]).as_kwargs()`.

The connector was trained with this language model and this UNet; beside another one its pictures get worse. Licence
and intended use are those of the models above; the languages and subjects that they do not know stay unknown.
"""


def model_card(pipeline: Any, name: str) -> str:
    """The card of an LLM4Gen pipeline, as Markdown with the hub's header; `name` is a repository or a folder."""
    config = pipeline.config
    settings = ", ".join(f"{key} {value!r}" for key, value in (config.llm_settings or {}).items() if key != "offload")
    return CARD.format(
        name=name,
        pipeline=type(pipeline).__name__,
        unet=pipeline.unet.num_parameters(),
        connector=_size(pipeline.cam),
        llm=f"{config.llm_name}: {_size(pipeline.llm)}",
        settings=settings or "not at all",
        long_prompts="cut to the text encoder's context" if config.long_prompts == "truncate" else "in chunks",
        scheduler=type(pipeline.scheduler).__name__,
        versions=", ".join(f"{key} {value}" for key, value in package_versions("torch", "diffusers").items()),
    )


def _size(module: Any) -> str:
    return "none" if module is None else f"{type(module).__name__}, {module.num_parameters():,} parameters"
