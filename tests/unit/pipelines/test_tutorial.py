"""The program that types the tutorial in."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from llm4gen_data.errors import UserError
from pipelines import tutorial

PAGE = """# A page

```sh
echo one > file
cat file
```

```text
not typed in
```

```sh
printf 'two\\n' \\
  && cat file
```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(tutorial, "PAGE", page)
    return page


def test_blocks_run_in_order_in_one_folder_and_the_transcript_holds_what_they_printed(
    tmp_path: Path, page: Path
) -> None:
    result = CliRunner().invoke(tutorial.tutorial, ["--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    transcript = (tmp_path / "out" / "transcript.md").read_text(encoding="utf-8")
    assert "```text\none\n```" in transcript
    assert "```text\ntwo\none\n```" in transcript
    assert "not typed in" not in transcript


def test_a_failing_line_stops_it_and_is_shown(tmp_path: Path, page: Path) -> None:
    page.write_text("```sh\necho before; false\necho after\n```\n", encoding="utf-8")
    result = CliRunner().invoke(tutorial.tutorial, ["--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UserError)
    assert "exit code 1" in str(result.exception)
    assert "before\n" in str(result.exception)
    assert "after\n" not in str(result.exception).partition("echo after\n")[2]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, page: Path) -> None:
    result = CliRunner().invoke(tutorial.tutorial, ["--out", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "not empty" in str(result.exception)


def test_every_picture_of_the_documentation_is_made_by_it() -> None:
    made = {*tutorial.FIGURES, "report.png", "gallery.png", "study.png"}
    assert made == {path.name for path in (tutorial.PAGE.parent / "figures").iterdir()}
