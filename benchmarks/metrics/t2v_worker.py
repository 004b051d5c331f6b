"""Runs in the interpreter of t2v_metrics: a request a line of JSON on stdin, an answer a line on stdout.

It imports nothing of ours. First `{"model": ..., "device": ...}`, answered with `{"ready": ..., "version": ...}`; then
`{"images": [path, ...], "texts": [text, ...]}`, a text an image, answered with `{"scores": [...]}`. An answer may be
`{"error": one line}` instead.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

# t2v_metrics imports all its models to offer one of them; these packages only others need.
MAY_BE_MISSING = ("flash_attn", "hpsv2", "llava", "pytorchvideo", "torchcodec", "wandb")
# These look for some of them to see whether they may use them, and must not find a placeholder.
LOADED_BEFORE = ("xformers.ops", "transformers", "diffusers", "timm")


class Missing:
    """Stands for anything of a package that is not installed; whoever uses it is told which."""

    package = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ImportError(f"this model of t2v_metrics needs the package {self.package!r}")


class _Placeholder(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Missing,), {"package": self.__name__.partition(".")[0]})


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class PlaceholderFinder(importlib.abc.MetaPathFinder):
    """Finds packages of MAY_BE_MISSING after every other finder has failed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """A placeholder, or None for packages that must be there."""
        root = fullname.partition(".")[0]
        parent = sys.modules.get(fullname.rpartition(".")[0])
        if root not in MAY_BE_MISSING or (parent is not None and not isinstance(parent, _Placeholder)):
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(), is_package=True)


def serve(model: str, device: str, answer: Any) -> None:
    """Load the model, then answer requests until stdin ends."""
    import t2v_metrics  # type: ignore[import-not-found, unused-ignore]
    import torch

    scorer = t2v_metrics.VQAScore(model=model, device=device)
    answer({"ready": model, "version": importlib.metadata.version("t2v_metrics"), "torch": torch.__version__})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with torch.inference_mode():
                # Version 3.0 looks at one pair after another in any case.
                pairs = zip(request["images"], request["texts"], strict=True)
                scores = [float(scorer(images=[image], texts=[text])[0][0]) for image, text in pairs]
            answer({"scores": scores})
        except Exception as error:  # whatever a model raises goes to the other side
            answer({"error": _line(error)})


def main() -> None:
    """Answer until stdin ends."""
    # What libraries print must not get between the answers.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path = [path for path in sys.path if path != str(Path(__file__).resolve().parent)]  # a t2v_metrics too
    for name in LOADED_BEFORE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.meta_path.append(PlaceholderFinder())

    def answer(value: dict[str, Any]) -> None:
        channel.write(json.dumps(value) + "\n")
        channel.flush()

    try:
        asked = json.loads(sys.stdin.readline())
        if asked.get("model") is None:
            import t2v_metrics

            version = importlib.metadata.version("t2v_metrics")
            answer({"version": version, "models": t2v_metrics.list_all_vqascore_models()})
        else:
            serve(asked["model"], asked["device"], answer)
    except Exception as error:
        answer({"error": _line(error)})
        sys.exit(1)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


if __name__ == "__main__":
    main()
