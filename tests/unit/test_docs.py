"""README and docs/ say nothing that is not there: links, anchors, commands, options, pages of the site."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GROUPS = {"llm4gen-data": "llm4gen_data.cli", "llm4gen-model": "llm4gen_model.cli", "llm4gen-bench": "benchmarks.cli"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
MAX_FIGURES_BYTES = 1_000_000

FENCE = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1\s*?$", flags=re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", flags=re.M)
INLINE_CODE = re.compile(r"`([^`]+)`")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    return FENCE.sub("", text_of(page))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings, which are those of the site too."""
    anchors: set[str] = set()
    for heading in HEADING.findall(prose_of(page)):
        text = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        anchors.add(slug if slug not in anchors else f"{slug}-{sum(a.startswith(slug) for a in anchors)}")
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in (a or b for a, b in LINK.findall(INLINE_CODE.sub("", prose_of(page)))):
        if re.match(r"[a-z]+:", link):
            continue  # the web's
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}: no such file"
        assert target.is_relative_to(DOCS) or not page.is_relative_to(DOCS), f"{page.name}: {link}: not on the site"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name}: {link}: no such heading"


def command_tree() -> dict[tuple[str, ...], click.Command]:
    """Every command by its words: ("llm4gen-bench", "study", "make")."""

    def walk(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                yield from walk((*words, name), child)

    groups = {name: importlib.import_module(module).commands for name, module in GROUPS.items()}
    return {words: command for name, group in groups.items() for words, command in walk((name,), group)}


TREE = command_tree()


def options_of(command: click.Command) -> set[str]:
    with_help = click.Context(command, help_option_names=["-h", "--help"])
    return {name for parameter in command.get_params(with_help) for name in parameter.opts + parameter.secondary_opts}


def command_lines(page: Path) -> Iterator[str]:
    """What the page shows to be typed: each command of ours with its arguments, in fences and in the text."""
    shells = [body for _, language, body in FENCE.findall(text_of(page)) if language not in ("python", "mermaid")]
    lines = [line for body in shells for line in body.replace("\\\n", " ").splitlines()]
    lines += [code.replace("\n", " ") for code in INLINE_CODE.findall(prose_of(page))]
    for line in lines:
        for piece in re.split(r"&&|\|\||[;|]", line):
            if found := re.search(r"(?:^|[\s/])(llm4gen-(?:data|model|bench)\b.*)", piece):
                yield re.sub(r"[\[\]()]", " ", found[1])


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quote that an alternative in the text leaves open
        return line.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    for line in command_lines(page):
        words = words_of(line)
        command: tuple[str, ...] = (words.pop(0),)
        while words and isinstance(TREE[command], click.Group) and re.fullmatch(r"[a-z][a-z0-9-]+", words[0]):
            assert (*command, words[0]) in TREE, f"{page.name}: {line}: no such command"
            command = (*command, words.pop(0))
        named = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert named <= options_of(TREE[command]), f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_named_alone_are_those_of_some_command(page: Path) -> None:
    known = {name for command in TREE.values() for name in options_of(command)}
    shells = " ".join(body for _, _, body in FENCE.findall(text_of(page)))  # other programs' options stand there
    for code in INLINE_CODE.findall(prose_of(page)):
        if option := re.match(r"--[a-z][a-z0-9_-]*", code):
            assert option[0] in known or option[0] in shells, f"{page.name}: `{code}`"


def test_the_python_reference_names_what_is_there() -> None:
    names = [name for page in PAGES for name in re.findall(r"^::: ([\w.]+\.\w+)$", text_of(page), flags=re.M)]
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        source = ROOT / f"{module.replace('.', '/')}.py"
        assert source.is_file(), name
        defined = {getattr(node, "name", "") for node in ast.parse(source.read_text(encoding="utf-8")).body}
        assert attribute in defined, name


class SiteLoader(yaml.SafeLoader):
    """Reads mkdocs.yml without importing what its tags name."""


SiteLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def pages_of(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for child in entry.values():
            yield from pages_of(child)
    elif isinstance(entry, list):
        for child in entry:
            yield from pages_of(child)


def test_the_site_leads_to_every_page_once() -> None:
    site = yaml.load(text_of(ROOT / "mkdocs.yml"), SiteLoader)
    named = sorted(pages_of(site["nav"]))
    assert named == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_figures_are_used_and_small() -> None:
    figures = [path for path in (DOCS / "figures").iterdir() if path.is_file()]
    used = {Path(a or b).name for page in PAGES for a, b in LINK.findall(prose_of(page))}
    assert {path.name for path in figures} <= used
    assert sum(path.stat().st_size for path in figures) < MAX_FIGURES_BYTES
