import base64
import hashlib
import json
import re
from pathlib import Path

from benchmarks.config import BenchConfig
from benchmarks.run import run
from benchmarks.suites.suite import Suite, by_category
from llm4gen_data.records import Prompt
from tests.factories import picture
from tests.unit.benchmarks.factories import write_manifest

HERE = "tests.unit.benchmarks.report.test_page"
METRIC = "tests.unit.benchmarks.fake_metric:Brightness"


def split(prompt: Prompt) -> str:
    return "seen" if prompt.prompt_id < "p4" else "unseen"


SUITE = Suite(metrics=(METRIC,), prompts="none", n_prompts=8, group=by_category, split=split)


def report_of(tmp_path: Path, suite: str) -> tuple[str, Path]:
    prompts = [Prompt(f"p{i}", f"picture {i}", "x", 2, None) for i in range(8)]
    pictures = {name: [picture(shift + 3 * i) for i in range(8)] for shift, name in enumerate(("one", "two"))}
    folder = write_manifest(tmp_path / "images", prompts, pictures)
    run(BenchConfig(suite=suite, images=(folder,), metrics=(METRIC,), n_resamples=50), tmp_path / "out")
    return (tmp_path / "out" / "report.html").read_text(encoding="utf-8"), tmp_path / "out"


def test_seen_and_unseen_prompts_and_power_are_told(tmp_path: Path) -> None:
    page, _ = report_of(tmp_path, f"{HERE}:SUITE")
    assert '<h2 id="splits">Seen and unseen</h2>' in page
    assert "unseen - seen" in page
    assert "How small a difference this run can tell" in page
    assert "In the layout of the paper" not in page  # which has no table for this suite


def test_the_policy_names_the_page_s_own_script_and_style_and_no_other(tmp_path: Path) -> None:
    page, out = report_of(tmp_path, "densprompts")
    for tag in ("script", "style"):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in page or f"{tag}-src 'sha256-{digest}'" in page
    assert "unsafe-inline" not in page
    assert " style=" not in page
    assert not re.search(r"\son[a-z]+=", page)
    assert "LLM4GEN-SDXL" in page  # the published rows
    for name in ("tables/paper.json", "tables/paper.csv", "tables/paper.md", "tables/paper.tex", "tables/scores.tex"):
        assert (out / name).stat().st_size > 0, name
    paper = json.loads((out / "tables" / "paper.json").read_text(encoding="utf-8"))
    assert [row["model"] for row in paper["measured"]] == ["one", "two"]
