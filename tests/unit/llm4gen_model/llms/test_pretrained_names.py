import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from llm4gen_data.errors import UserError
from llm4gen_model.llms.pretrained import model_folder


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("minilmm", "did you mean 'minilm'"),
        ("zzz", "short names are flan-t5-base.*smollm2"),
        ("nobody/minilmm", "from the hub: no network$"),
    ],
)
def test_a_name_that_is_not_to_be_had_tells_which_are(monkeypatch: pytest.MonkeyPatch, name: str, told: str) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UserError, match=told):
        model_folder(name)
