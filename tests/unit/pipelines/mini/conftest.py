from pathlib import Path

import pytest

from pipelines.mini.vlm_data import render_scenes


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight rendered training scenes with their targets."""
    folder = tmp_path_factory.mktemp("scenes")
    render_scenes(folder, 8, 1)
    return folder
