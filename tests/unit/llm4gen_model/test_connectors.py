from pathlib import Path
from typing import Any

import pytest
import torch

from llm4gen_data.errors import UserError
from llm4gen_data.registry import resolve
from llm4gen_data.runs import read_json
from llm4gen_model.connectors import CONNECTOR_CLASSES, CONNECTORS, connector_from_config
from tests import factories

N_TEXT, N_LLM = 7, 6
MASK = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])


def embeds() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, N_TEXT, 32, generator=generator), torch.randn(2, N_LLM, 20, generator=generator)


def run(connector: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    if connector.uses_timestep:
        kwargs["timestep"] = torch.tensor([981, 1])
    with torch.no_grad():
        return connector(*args, **kwargs)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "options", "n_parameters"),
    [
        ("ella", {}, 66_820_608),  # 66.82M, and the following: ELLA's ablation
        ("resampler", {}, 44_159_232),
        ("resampler", {"num_layers": 1}, 8_712_192),
        ("mlp", {}, 2_164_224),
        ("ella", {"text_dim": 2048}, 466_546_688),  # 0.47B for SDXL
    ],
)
def test_sizes_are_the_published_ones(name: str, options: dict[str, int], n_parameters: int) -> None:
    with torch.device("meta"):
        connector = resolve("connector", name, CONNECTORS)(**options)
    assert sum(parameter.numel() for parameter in connector.parameters()) == n_parameters


@pytest.mark.parametrize("name", CONNECTORS)
def test_new_tokens_stand_behind_the_text_and_scale_multiplies_them(name: str) -> None:
    connector, (text, llm) = factories.connector(name), embeds()
    output = run(connector, text, llm)
    n_added = connector.token_mask(MASK).shape[1]
    assert output.shape == (2, N_TEXT + n_added, 32)
    assert torch.equal(output[:, :N_TEXT], text)
    assert output[:, N_TEXT:].abs().min() > 0
    assert torch.equal(run(connector, text, llm, 0.5)[:, N_TEXT:], 0.5 * output[:, N_TEXT:])
    by_text = run(connector, text, llm, torch.tensor([[[0.5]], [[2.0]]]))[:, N_TEXT:]
    assert torch.equal(by_text, torch.tensor([0.5, 2.0])[:, None, None] * output[:, N_TEXT:])
    halved = factories.connector(name, scale=0.5)
    assert torch.equal(run(halved, text, llm), run(connector, text, llm, 0.5))
    assert torch.equal(run(halved, text, llm, 1.0), output)


@pytest.mark.parametrize("name", CONNECTORS)
def test_padding_is_masked_only_where_the_config_says_so(name: str) -> None:
    text, llm = embeds()
    other = torch.where(MASK.unsqueeze(-1), llm, torch.full_like(llm, 9.0))
    as_released = factories.connector(name)
    assert torch.equal(run(as_released, text, llm, llm_mask=MASK), run(as_released, text, llm))

    masked = factories.connector(name, mask_padding=True)
    output = run(masked, text, llm, llm_mask=MASK)
    torch.testing.assert_close(run(masked, text, other, llm_mask=MASK), output)
    torch.testing.assert_close(output[1], run(masked, text, llm)[1])
    token_mask = masked.token_mask(MASK)
    assert token_mask.dtype == torch.bool
    assert (output[:, N_TEXT:][~token_mask] == 0).all()
    assert not torch.allclose(run(as_released, text, other), run(as_released, text, llm))


@pytest.mark.parametrize("name", CONNECTORS)
def test_saved_and_built_from_its_config_it_is_the_same(name: str, tmp_path: Path) -> None:
    connector = factories.connector(name, mask_padding=True, scale=0.7)
    connector.save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    assert config["_class_name"] in CONNECTOR_CLASSES
    built = connector_from_config(config, "config.json")
    built.load_state_dict(connector.state_dict())
    text, llm = embeds()
    assert torch.equal(run(built, text, llm, llm_mask=MASK), run(connector, text, llm, llm_mask=MASK))


def test_a_config_of_an_older_version_has_the_released_choices() -> None:
    older = {"_class_name": "CrossAdapterModule", "text_dim": 96, "llm_dim": 384, "num_heads": 4, "_name_or_path": "x"}
    cam = connector_from_config(older, "config.json")
    assert (cam.config.mask_padding, cam.config.scale) == (False, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "_class_name 'UNet2DConditionModel': expected one of Cross"),
        ({"_class_name": ["CrossAdapterModule"]}, "_class_name"),
        ({"llm_dim": 0}, "llm_dim = 0: expected a whole number of at least 1"),
        ({"num_layers": True}, "num_layers = True: expected a whole number"),
        ({"scale": float("nan")}, "scale = nan: expected a number"),
        ({"mask_padding": "no"}, "mask_padding = 'no': expected true or false"),
        ({"num_heads": 5}, "text_dim 32 cannot be split into 5 heads"),
    ],
)
def test_a_bad_config_is_refused(change: dict[str, Any], message: str) -> None:
    config = {"_class_name": "ResamplerConnector", "text_dim": 32, "llm_dim": 20, "num_heads": 4, **change}
    with pytest.raises(UserError, match=r"^here: ") as raised:
        connector_from_config(config, "here")
    assert message in str(raised.value)
