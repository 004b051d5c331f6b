"""The house rules that a machine can check: import direction, light start, the README's tree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("llm4gen_data", "llm4gen_model", "benchmarks", "pipelines")
HEAVY = ("torch", "vllm", "transformers", "diffusers", "pandas", "numpy", "pydantic", "pyarrow", "matplotlib", "PIL")
GROUPS = {"llm4gen-data": "llm4gen_data.cli", "llm4gen-model": "llm4gen_model.cli", "llm4gen-bench": "benchmarks.cli"}


def imported_packages(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_downwards_only(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    for file in files:
        assert not imported_packages(file) & (above | {"tests"}), file


def test_packages_hold_nothing_but_a_docstring_in_init() -> None:
    for layer in LAYERS:
        for file in (ROOT / layer).rglob("__init__.py"):
            body = ast.parse(file.read_text(encoding="utf-8")).body
            assert len(body) == 1, file
            assert isinstance(body[0], ast.Expr), file


def sub_commands() -> list[tuple[str, ...]]:
    """Every command line of the three groups, with its sub-commands."""
    import importlib

    lines = []
    for module in GROUPS.values():
        group: click.Group = importlib.import_module(module).commands
        lines += [(module,), *((module, name) for name in group.commands)]
    return lines


@pytest.mark.parametrize("line", sub_commands(), ids=" ".join)
def test_help_imports_nothing_heavy(line: tuple[str, ...]) -> None:
    module, *rest = line
    program = f"""
import sys
from {module} import commands
try:
    commands({[*rest, "--help"]!r})
except SystemExit as end:
    assert end.code == 0, end.code
print("heavy:", sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "Usage:" in result.stdout
    assert result.stdout.splitlines()[-1] == "heavy: []"


def test_every_option_has_a_help_text() -> None:
    import importlib

    for module in GROUPS.values():
        for command in importlib.import_module(module).commands.commands.values():
            assert command.help, command.name
            for parameter in command.params:
                assert isinstance(parameter, click.Argument) or parameter.help, f"{command.name} {parameter.name}"


def test_the_annotated_tree_in_the_readme_is_the_tree() -> None:
    block = re.search(r"```text\n(llm4gen_data/.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    listed: set[str] = set()
    parents: list[str] = []
    for line in block[1].splitlines():
        name = line.split("#")[0].rstrip()
        if not name.strip():
            continue
        depth = (len(name) - len(name.lstrip())) // 2
        parents = [*parents[:depth], name.strip().rstrip("/")]
        listed.add("/".join(parents))
    for path in listed:
        assert (ROOT / path).exists(), f"{path} is in the README's tree, not in the tree"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for layer in (*LAYERS, "docs"):
        for path in (path for path in tracked if path.startswith(f"{layer}/") and not path.endswith("__init__.py")):
            covered = path in listed or any(
                path.startswith(f"{folder}/") and not any(other.startswith(f"{folder}/") for other in listed)
                for folder in listed
            )
            assert covered, f"{path} is in the tree, not in the README's tree"
