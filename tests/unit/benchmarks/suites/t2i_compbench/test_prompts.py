import json
from collections import Counter
from pathlib import Path

import httpx
import pytest

from benchmarks.downloads import CACHE_VARIABLE
from benchmarks.suites.t2i_compbench import language, prompts
from benchmarks.suites.t2i_compbench.command import write_prompts
from benchmarks.suites.t2i_compbench.linguistics import Facts, analyse, facts_of
from benchmarks.suites.t2i_compbench.protocol import (
    COMPLEX_KINDS,
    CURRENT,
    FILES,
    NEW_COLORS,
    OLD_COLORS,
    VERSIONS,
    parse_protocol,
)
from llm4gen_data.densprompts.audit.linguistic import load_pipeline
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.prompts import load_prompts
from tests.unit.benchmarks.suites.t2i_compbench.data import FOLDER, lines, needs_prompt_files

needs_spacy = pytest.mark.skipif(load_pipeline() is None, reason="no English spaCy model")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_protocol_names() -> None:
    version, mode = parse_protocol(CURRENT)
    assert (version.name, mode, version.colors) == ("2025-09", "official", NEW_COLORS)
    for name in ("t2i-compbench@2025-09", "t2i-compbench@1999-01/official", "other@2025-09/official"):
        with pytest.raises(UsageError, match="is unknown: expected t2i-compbench@VERSION/MODE"):
            parse_protocol(name)
    assert VERSIONS["2023-07"].max_phrases == 2
    assert len(VERSIONS["2024-01"].categories) == 6
    assert VERSIONS["2025-01"].files["color"] == OLD_COLORS


@needs_prompt_files
def test_every_pinned_file_is_the_public_one() -> None:
    for file in (*FILES.values(), OLD_COLORS, *COMPLEX_KINDS.values()):
        assert len(prompts.prompt_lines(file, FOLDER)) in (300, 58, 212)
    old, new = (prompts.prompt_lines(file) for file in (OLD_COLORS, NEW_COLORS))  # from the cache by now
    assert (len(set(old)), len(set(new))) == (295, 300)
    assert sum(a != b for a, b in zip(old, new, strict=True)) == 5


@needs_prompt_files
def test_complex_prompts_are_split_58_212_30() -> None:
    found = prompts.complex_kinds(
        lines("complex_val.txt"), lines("complex_val_spatial.txt"), lines("complex_val_action.txt")
    )
    assert Counter(found) == {"spatial": 58, "action": 212, "spatialaction": 30}


def test_complex_kinds_are_compared_up_to_the_full_stop() -> None:
    found = prompts.complex_kinds(["The Cat sat. It slept.", "A dog"], ["the cat sat."], ["other"])
    assert found == ["spatial", "spatialaction"]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shape_val.txt").write_text("a round square\n")
    with pytest.raises(UserError, match=r"shape_val.txt: its sha256 is .*, expected 37e1a276"):
        prompts.prompt_lines(FILES["shape"], tmp_path)
    with pytest.raises(UserError, match=r"texture_val.txt: no such file"):
        prompts.prompt_lines(FILES["texture"], tmp_path)


def test_without_network_the_line_names_source_hash_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(httpx, "get", refuse)
    with pytest.raises(UserError, match=r"https://.*shape_val.txt \(sha256 37e1a276.*cannot be fetched.*--from DIR"):
        prompts.prompt_lines(FILES["shape"])


@needs_prompt_files
def test_a_download_is_checked_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        content = (FOLDER / "shape_val.txt").read_bytes() if len(asked) > 1 else b"<html>sign in</html>"
        return httpx.Response(200, content=content, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", answer)
    with pytest.raises(UserError, match="not the file of the protocol"):
        prompts.prompt_lines(FILES["shape"])
    assert not (cache / "t2i_compbench" / "shape_val.txt").exists()
    assert len(prompts.prompt_lines(FILES["shape"])) == 300
    assert prompts.prompt_lines(FILES["shape"])[0] == "an oblong cucumber and a teardrop plum"
    assert len(asked) == 2


@needs_prompt_files
@needs_spacy
def test_the_analysis_is_made_once_and_needs_no_parser_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "prompts.parquet"
    line = write_prompts("t2i-compbench@2025-09", FOLDER, ("numeracy", "spatial"), None, out)
    assert "600 prompts (numeracy 300, spatial 300), read by spaCy" in line
    monkeypatch.setattr(language, "_pipeline", lambda: pytest.fail("parsed again"))
    again = prompts.version_prompts(VERSIONS["2025-09"], categories=("numeracy", "spatial"))
    assert load_prompts(str(out)) == again
    assert again[0].prompt_id == "numeracy-000"
    facts = facts_of(again[0].spec, "p")
    assert (facts.counts, facts.index) == ({"boy": 2}, 0)
    assert facts_of(again[300].spec, "p").triplet == ("giraffe", "next to", "lamp")
    few = prompts.version_prompts(VERSIONS["2025-09"], categories=("numeracy", "spatial"), n=5)
    assert [prompt.prompt_id for prompt in few] == [
        *("numeracy-000", "numeracy-001", "numeracy-002"),
        *("spatial-000", "spatial-001"),
    ]


@needs_spacy
def test_prompts_of_the_users_own_are_marked(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a cat near a dog\n", encoding="utf-8")
    out = tmp_path / "mine.parquet"
    write_prompts("t2i-compbench@2025-09", None, ("spatial",), tmp_path / "mine.txt", out)
    [prompt] = load_prompts(str(out))
    facts = facts_of(prompt.spec, prompt.prompt_id)
    assert (facts.triplet, facts.file_sha256, prompt.category) == (("cat", "near", "dog"), None, "spatial")
    with pytest.raises(UsageError, match="exactly one --category"):
        write_prompts("t2i-compbench@2025-09", None, (), tmp_path / "mine.txt", out)
    with pytest.raises(UserError, match="category 'sound' is unknown"):
        analyse("sound", ["a bang"])


def test_a_spec_that_is_none_is_refused_in_one_line() -> None:
    whole = json.loads(Facts("color", 0, "spaCy 3", chunks=("a cat",)).to_spec())
    assert facts_of(json.dumps(whole), "p").chunks == ("a cat",)
    for spec in (None, "{}", "[1]", "{", '{"t2i_compbench": 3}'):
        with pytest.raises(UserError, match="prompt 'p' has no T2I-CompBench analysis"):
            facts_of(spec, "p")
    for change in ({"schema_version": 9}, {"more": 1}):
        spec = json.dumps({"t2i_compbench": whole["t2i_compbench"] | change})
        with pytest.raises(UserError, match="another version of llm4gen"):
            facts_of(spec, "p")
    wrong: list[tuple[str, object]] = [("triplet", [1]), ("counts", {"dog": "two"}), ("counts", [1]), ("text", 3)]
    wrong += [("chunks", 5), ("chunks", None), ("kind", "other"), ("category", "other"), ("category", "complex")]
    wrong += [("index", "x")]
    for name, value in wrong:
        spec = json.dumps({"t2i_compbench": whole["t2i_compbench"] | {name: value}})
        with pytest.raises(UserError, match="cannot be read"):
            facts_of(spec, "p")


def test_unknown_category_of_a_version() -> None:
    with pytest.raises(UserError, match="category 'numeracy': version 2024-01 has color, shape"):
        prompts.version_prompts(VERSIONS["2024-01"], categories=("numeracy",))
