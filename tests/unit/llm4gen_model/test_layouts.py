"""`find_folder`: names that are no model, told by what they are."""

import re
from pathlib import Path

import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from llm4gen_data.errors import UserError
from llm4gen_data.runs import open_run
from llm4gen_model import layouts
from llm4gen_model.layouts import find_folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a hub that cannot be reached was asked for."""
    names: list[str] = []

    def snapshot_download(repo_id: str, allow_patterns: list[str]) -> str:
        names.append(repo_id)
        if repo_id.count("/") > 1:
            raise HFValidationError(repo_id)
        raise LocalEntryNotFoundError(repo_id)

    monkeypatch.setattr(layouts, "snapshot_download", snapshot_download)
    return names


def test_a_training_run_is_told_apart_from_its_model(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_run(Path("cam"), "train", {}, {}):
        pass
    for name in ("cam", "cam/", "cam/model"):
        with pytest.raises(UserError, match=r"^cam is a training run without cam/model yet; .* same command again"):
            find_folder(name)
    (tmp_path / "cam" / "model").mkdir()
    (tmp_path / "cam" / "model" / "llm4gen.json").write_text("{}")
    for name in ("cam", "cam/modell"):
        with pytest.raises(UserError, match=r"^cam is a training run; its model is cam/model$"):
            find_folder(name)
    assert find_folder("cam/model") == Path("cam/model")
    with open_run(Path("photos"), "scenes", {}, {}):
        pass
    with pytest.raises(UserError, match=r"^photos: is a run of 'scenes', expected a model$"):
        find_folder("photos")
    assert asked == []


def test_a_path_where_nothing_is_and_a_hub_id_are_told_apart(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("models/mine", "./models/mine", str(tmp_path / "nowhere" / "mine")):
        with pytest.raises(UserError, match=f"^{re.escape(name)}: no such folder$"):
            find_folder(name)
    assert find_folder("owner/name") is None
    assert find_folder("name") is None
    assert asked[-2:] == ["owner/name", "name"]
