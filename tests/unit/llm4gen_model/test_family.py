import json
import math
import struct
from pathlib import Path

import pytest

from llm4gen_data.errors import UserError
from llm4gen_model import family


def write_model(folder: Path, header: bytes) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["TinyModel"]}))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def test_parameters_are_counted_from_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"a": {"shape": [3, 4]}, "b": {"shape": [5]}, "__metadata__": {"format": "pt"}}
    write_model(tmp_path / "tiny", json.dumps(tensors).encode())
    monkeypatch.setattr(family, "BUNDLED", tmp_path)
    (model,) = family.bundled_models()
    assert (model.name, model.architecture, model.n_parameters) == ("tiny", "TinyModel", 17)


def test_a_damaged_weight_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "tiny", b"{not json")
    monkeypatch.setattr(family, "BUNDLED", tmp_path)
    with pytest.raises(UserError, match=r"model\.safetensors: not a safetensors file"):
        family.bundled_models()


def test_the_bundled_family_is_small_and_every_model_has_a_card() -> None:
    models = family.bundled_models()
    assert "vlm-mini" in [model.name for model in models]
    assert sum(model.n_bytes for model in models) <= 20e6
    for model in models:
        assert (model.path / "README.md").is_file()
        # the header agrees with the library that will load it
        from safetensors import safe_open

        shapes = []
        for path in model.path.rglob("*.safetensors"):
            with safe_open(path, framework="numpy") as weights:
                shapes += [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
        n_parameters = sum(math.prod(shape) for shape in shapes)
        assert model.n_parameters == n_parameters
