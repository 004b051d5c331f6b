import sys

import pytest

from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.registry import require_working_torchvision, resolve

TABLE = {"path": "os:path", "gone": "no_such_package.module:thing", "vllm": "vllm_is_not_here:thing"}


def test_names_and_references_resolve() -> None:
    import os

    assert resolve("kind", "path", TABLE) is os.path
    assert resolve("kind", "os:sep", TABLE) == os.sep


def test_a_typo_lists_the_choices() -> None:
    with pytest.raises(UsageError, match=r"kind 'pth' is unknown: expected one of gone, path, vllm.*mean 'path'"):
        resolve("kind", "pth", TABLE)


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(UserError, match=r"needs the package 'no_such_package': pip install no_such_package"):
        resolve("kind", "gone", TABLE)
    with pytest.raises(UsageError, match="nothing_like_this"):
        resolve("kind", "os:nothing_like_this", TABLE)


def test_a_torchvision_of_another_torch_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:

    def find_spec(name: str) -> object:
        return object()

    def broken_import(name: str, *rest: object) -> object:
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real_import(name, *rest)  # type: ignore[arg-type]

    import builtins
    import importlib.metadata
    import importlib.util

    real_import = builtins.__import__
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    monkeypatch.setattr(builtins, "__import__", broken_import)
    with pytest.raises(UserError, match=r"torchvision 9\.9 does not work with torch 9\.9 .*nms does not exist"):
        require_working_torchvision()
