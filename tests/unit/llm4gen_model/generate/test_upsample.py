import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm4gen_data.config import load_config
from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.writers.instructions import Messages
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import Completion, EngineDied
from llm4gen_data.records import Prompt
from llm4gen_model.generate import upsample
from llm4gen_model.generate.config import GenerateConfig, UpsampleConfig
from llm4gen_model.generate.metadata import read_about
from llm4gen_model.generate.run import generate
from llm4gen_model.generate.upsample import fault
from tests import factories

CONFIG = UpsampleConfig(model="writer", shorter_than=10)
MANY = "word " * 10


def described(text: str) -> str:
    return json.dumps({"description": text})


def dense(prompt: str) -> str:
    return f"{prompt}. It is smooth and round and stands in the middle of a plain gray ground."


class Writer:
    """A chat model that says `replies` by prompt, one a try, and else what is right."""

    max_in_flight = 2

    def __init__(self, replies: dict[str, list[Completion]] | None = None) -> None:
        self.replies = replies or {}
        self.asked: list[tuple[str, int]] = []
        self.is_closed = False

    async def answer(self, messages: Messages, seed: int) -> Completion:
        prompt = messages[-1]["content"]
        self.asked.append((prompt, seed))
        replies = self.replies.get(prompt)
        reply = replies.pop(0) if replies else Completion(described(dense(prompt)))
        if reply.error == "died":
            raise EngineDied("the engine died")
        return reply

    async def close(self) -> None:
        self.is_closed = True


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(str(number), text, "all", len(text.split()), None) for number, text in enumerate(texts)]


def load(writer: Writer) -> Any:
    def loaded(config: LlmConfig) -> Writer:
        assert config.model == "writer"
        return writer

    return loaded


def test_short_prompts_are_rewritten_and_the_second_call_asks_nobody(tmp_path: Path) -> None:
    writer = Writer()
    given = prompts("a red cube", MANY, "two blue balls")
    texts = upsample.upsample(given, CONFIG, 0, tmp_path / "journal", load=load(writer))
    assert texts == [dense("a red cube"), None, dense("two blue balls")]
    assert len(writer.asked) == 2
    assert len({seed for _, seed in writer.asked}) == 2
    assert writer.is_closed
    again = Writer()
    assert upsample.upsample(given, CONFIG, 0, tmp_path / "journal", load=load(again)) == texts
    assert again.asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Completion(error="too long for the model"), "too long for the model"),
        (Completion("A red cube."), "not the form asked for"),
        (Completion(described(dense("a red cube")), "length"), "cut off"),
        (Completion(described("red cube")), "2 words"),
        (Completion(described("a red cube " * 60)), "180 words"),
        (Completion(described("a man rides a very fast horse over the hills")), "lost cube, red"),
        (Completion(described("a large green cube with a rough surface on sand")), "lost red"),
        (Completion(described(dense("two red cubes"))), None),
    ],
)
def test_what_is_no_rewriting_is_told(answer: Completion, reason: str | None) -> None:
    found = fault(answer, "a red cube", CONFIG)
    assert found is None if reason is None else reason in str(found)


def test_a_prompt_without_a_good_answer_stays_as_it_is(tmp_path: Path) -> None:
    bad = Completion("no JSON")
    writer = Writer({"a red cube": [bad, bad, bad], "a blue ball": [bad]})
    texts = upsample.upsample(prompts("a red cube", "a blue ball"), CONFIG, 0, tmp_path / "journal", load=load(writer))
    assert texts == [None, dense("a blue ball")]
    assert len(writer.asked) == 3 + 2


@pytest.mark.parametrize("error", [Completion(error="busy", transient=True), Completion(error="died")])
def test_an_engine_that_fails_ends_the_call_and_what_is_there_is_kept(tmp_path: Path, error: Completion) -> None:
    writer = Writer({"a green cone": [error]})
    given = prompts("a red cube", "a blue ball", "a green cone")
    with pytest.raises(UserError, match="goes on from here"):
        upsample.upsample(given, CONFIG, 0, tmp_path / "journal", load=load(writer))
    assert writer.is_closed
    again = Writer()
    assert None not in upsample.upsample(given, CONFIG, 0, tmp_path / "journal", load=load(again))
    assert len(again.asked) < 3


def test_a_run_draws_the_dense_text_and_keeps_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer({"a green cone": [Completion("no JSON")] * 3})
    monkeypatch.setattr(
        upsample,
        "upsample",
        lambda *arguments, call=upsample.upsample, **_: call(*arguments, load=load(writer)),
    )
    monkeypatch.setattr("llm4gen_model.models.load_model", lambda name, **_: factories.cam_model(name))
    file, out = tmp_path / "prompts.txt", tmp_path / "out"
    file.write_text("a red cube\na green cone\n")
    engine = {"base_url": "http://localhost:1/v1"}
    values = {"models": ["tiny"], "prompts": str(file), "num_inference_steps": 1}
    config = load_config(GenerateConfig, flags={**values, "upsample": {"model": "writer", "engine": engine}})
    generate(config, out)
    rows = pq.read_table(out / "prompts.parquet").to_pylist()
    assert [(row["prompt"], row["upsampled_prompt"]) for row in rows] == [
        ("a red cube", dense("a red cube")),
        ("a green cone", None),
    ]
    assert pq.read_table(out / "images.parquet")["prompt"].to_pylist() == ["a red cube", "a green cone"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["n_upsampled"], manifest["n_not_upsampled"]) == (1, 1)
    assert manifest["fingerprint"]["upsample"]["model"] == "writer"
    from PIL import Image

    with Image.open(out / "images/tiny/00000-00.png") as image:
        assert read_about(image)["upsampled_prompt"] == dense("a red cube")
        assert image.info["parameters"].startswith(dense("a red cube"))
    with Image.open(out / "images/tiny/00001-00.png") as image:
        assert "upsampled_prompt" not in read_about(image)
    asked = len(writer.asked)
    (out / "images/tiny/00000-00.png").unlink()
    generate(config, out)
    assert len(writer.asked) == asked
    with pytest.raises(UserError, match="another configuration"):
        generate(load_config(GenerateConfig, flags=values), out)
