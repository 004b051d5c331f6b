from pathlib import Path

import pytest
import torch

from benchmarks.probes import run
from benchmarks.probes.states import TextModel, open_text_model, word_states
from benchmarks.probes.tables import binding_accuracy, probe_cells, probe_notes, tell
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.scenes.facts import caption_facts


def words(text: str) -> list[tuple[int, int] | None]:
    spans, start = [], 0
    for word in text.split(" "):
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return [None, *spans]


def reader(context: int) -> TextModel:
    """A model whose state of a word is the whole caption's first colour and shape: it knows, but not of which word."""

    def states(texts: list[str]) -> list[torch.Tensor]:
        found = []
        for text in texts:
            first = caption_facts(text).objects[0]
            code = torch.tensor([float(hash((first.color, i)) % 7) for i in range(6)])
            found.append(torch.stack([code + 0.01 * i for i in range(len(words(text)))])[:context])
        return found

    return TextModel("fake", states, lambda text: words(text)[:context])  # type: ignore[arg-type]


def test_a_word_is_the_mean_of_its_tokens_and_what_was_cut_is_absent() -> None:
    model = TextModel(
        "fake", lambda texts: [torch.arange(3.0)[:, None] for _ in texts], lambda _: [(0, 2), (2, 5), None]
    )
    (found,) = word_states(model, ["abcde fgh"], [[(1, 4), (6, 9)]])
    assert found[1, 4].tolist() == [0.5]
    assert (6, 9) not in found


@pytest.mark.parametrize("name", ["minilm", "text:", "other:thing"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="text:BASE"):
        open_text_model(name)


def test_a_model_without_a_cam_is_refused() -> None:
    with pytest.raises(UserError, match="no CAM"):
        open_text_model("model:mini")


def test_the_bundled_cam_and_text_encoder_have_states_where_their_words_are() -> None:
    text = "a red circle"
    for name in ("text:mini", "model:cam-mini"):
        model = open_text_model(name)
        (states,) = model.states([text])
        assert states.ndim == 2
        assert (2, 5) in model.spans(text)


def test_probes_tell_accuracy_cuts_and_baselines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = {"text:short": reader(8), "llm:long": reader(10_000)}
    monkeypatch.setattr(
        run, "open_text_model", lambda name, _: TextModel(name, models[name].states, models[name].spans)
    )
    probes = run.probe(list(models), 40)
    assert probes["cut_share"]["text:short"]["dense"] == 1.0
    assert probes["cut_share"]["llm:long"]["dense"] == 0.0
    by_key = {(row["encoder"], row["captions"], row["task"]): row for row in probes["rows"]}
    short, long = (by_key[name, "dense", "color of a shape"] for name in models)
    assert short["seen"] < 0.5 < long["seen"] == 1.0
    assert long["accuracy"]["mean"] >= short["accuracy"]["mean"]
    assert by_key["nearest word", "medium", "color of a shape"]["accuracy"]["mean"] > 0.8
    assert ("nearest word", "medium", "relation") not in by_key
    assert binding_accuracy(probes, "llm:long", "dense") is not None
    assert len(probe_cells(probes)) == 1 + 2 * 4
    assert any("does not see the end of" in note for note in probe_notes(probes))
    assert "llm:long" in tell(probes)
