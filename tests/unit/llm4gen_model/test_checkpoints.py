import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from llm4gen_data.errors import UserError
from llm4gen_model.checkpoints import load_cam, load_released_cam
from tests import factories

FFN = "CrossFusionModule.0.FFN.0.weight"


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def state() -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = factories.cam(32).state_dict()
    return weights


@pytest.mark.parametrize("name", ["projector.pth", "projector.safetensors"])
def test_released_weights_load_and_give_the_same_output(tmp_path: Path, name: str) -> None:
    if name.endswith(".pth"):
        torch.save(state(), tmp_path / name)
    else:
        save_file(state(), tmp_path / name)
    cam = load_released_cam(tmp_path / name, num_heads=4)
    assert (cam.config.text_dim, cam.config.llm_dim) == (32, 20)
    text, llm = torch.randn(2, 4, 32), torch.randn(2, 3, 20)
    assert torch.equal(cam(text, llm), factories.cam(32)(text, llm))
    assert torch.equal(load_released_cam(state(), num_heads=4)(text, llm), cam(text, llm))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({**state(), "extra": Malicious(tmp_path / "made by code")}, tmp_path / "projector.pth")
    with pytest.raises(UserError, match=r"projector\.pth: refused: a pickle that holds code"):
        load_released_cam(tmp_path / "projector.pth")
    assert not (tmp_path / "made by code").exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop(FFN), f"lacks 1 of 20 tensors: {FFN}"),
        (
            lambda s: s.update(a=torch.zeros(1), b=torch.zeros(1)),
            "holds 2 tensors that no CrossAdapterModule has: a, b",
        ),
        (lambda s: s.update({FFN: torch.zeros(3, 4)}), rf"{FFN}: shape \[3, 4\], expected \[128, 32\]"),
        (lambda s: s[FFN].__setitem__((0, 0), float("nan")), f"{FFN}: holds values that are not finite"),
        (lambda s: s.update({FFN: torch.zeros(128, 32, dtype=torch.int64)}), f"{FFN}: expected a tensor of floats"),
        (lambda s: [s.pop(key) for key in list(s)], "not a CAM: expected a matrix .*found nothing"),
        (lambda s: s.update({"CrossFusionModule.0.llm_proj.weight": torch.zeros(3)}), "not a CAM"),
        (lambda s: s.update({"CrossFusionModule.0.llm_proj.weight": torch.zeros(30, 20)}), "cannot be split into 8"),
    ],
)
def test_weights_that_are_no_cam_are_told_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any], line: str
) -> None:
    weights = state()
    change(weights)
    torch.save(weights, tmp_path / "projector.pth")
    with pytest.raises(UserError, match=line) as error:
        load_released_cam(tmp_path / "projector.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_files_that_are_no_checkpoint_are_told_in_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: (no such file|refused|cannot be read|not a safetensors)") as error:
        load_released_cam(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_checkpoint_must_be_a_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: expected a state dict, found list"):
        load_released_cam(tmp_path / "a.pth")


def test_a_saved_cam_is_read_back(tmp_path: Path) -> None:
    cam = factories.cam(32)
    cam.save_pretrained(tmp_path)
    loaded = load_cam(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(cam.parameters(), loaded.parameters(), strict=True))
    assert loaded.config.num_heads == 4


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"text_dim": 64}, r"llm_proj\.weight: shape \[32, 20\], expected \[64, 20\]"),
        ({"llm_dim": "20"}, "llm_dim = '20': expected a whole number"),
        ({"num_heads": 0}, "num_heads = 0: expected a whole number"),
        (
            {"_class_name": "UNet2DConditionModel"},
            "_class_name .UNet2DConditionModel.: expected one of CrossAdapterModule",
        ),
    ],
)
def test_config_and_weights_must_agree(tmp_path: Path, config: dict[str, Any], line: str) -> None:
    factories.cam(32).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    with pytest.raises(UserError, match=line):
        load_cam(tmp_path)


def test_a_folder_without_a_cam_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CAM here"):
        load_cam(tmp_path / "nowhere")
    factories.cam(32).save_pretrained(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.safetensors: no such file"):
        load_cam(tmp_path)
