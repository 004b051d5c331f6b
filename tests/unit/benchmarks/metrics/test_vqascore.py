import pytest

from benchmarks.config import BenchConfig
from benchmarks.metrics.metric import load_metric
from benchmarks.metrics.vqa import load_vqa
from benchmarks.metrics.vqascore import TEMPLATES, VqaScore
from llm4gen_data.config import load_config
from llm4gen_data.errors import UsageError
from llm4gen_data.records import Prompt
from tests.factories import picture

FAKE = "tests.unit.benchmarks.metrics.fake_vlm"


def prompt(text: str) -> Prompt:
    return Prompt("p", text, "c", len(text.split()), None)


def test_the_question_as_it_was_put_stands_beside_the_score() -> None:
    metric = VqaScore(f"{FAKE}:Speaker")
    [[score]] = metric.score([picture(1)], [prompt("a {} in braces")])
    assert score.kind == "p_yes"
    assert score.value == pytest.approx(0.015)
    told = "P('Yes') = 0.0150 to: Does this figure show \"a {} in braces\"? Please answer Yes or No."
    assert score.reason == told


def test_templates_of_the_user_s_and_their_answers() -> None:
    metric = VqaScore(f"{FAKE}:Speaker", template="geneval2")
    assert metric.identity()["answers"] == ["Yes", "yes", " Yes", " yes"]
    [[score]] = metric.score([picture(1)], [prompt("a cat")])
    assert score.value == pytest.approx(0.5 * 14 / 100)
    own = VqaScore(f"{FAKE}:Speaker", template="{}, no?")
    assert own.identity()["template"] == "{}, no?"
    assert own.identity() != metric.identity()
    for template in ("no slot", "{} and {}"):
        with pytest.raises(UsageError, match=r"expected one of .*or a question with one \{\}"):
            VqaScore(f"{FAKE}:Speaker", template=template)
    assert all(template.question.count("{}") == 1 for template in TEMPLATES.values())


def test_a_model_that_only_weighs_two_answers_is_refused() -> None:
    with pytest.raises(UsageError, match="this model weighs two answers"):
        VqaScore(f"{FAKE}:Weigher")
    with pytest.raises(UsageError, match=r"VQA model 'blip' is unknown.*did you mean 'blip_vqa'"):
        VqaScore("blip")
    with pytest.raises(UsageError, match=r"unexpected keyword argument 'wieghts'; expected options among weights"):
        load_vqa("blip_vqa", {"wieghts": "a.pth"})
    with pytest.raises(UsageError, match="dtype 'fp16': expected one of float32, bfloat16, float16"):
        load_vqa("transformers", {"dtype": "fp16"})


def test_metrics_that_ask_the_same_share_one_model() -> None:
    assert load_vqa("transformers", {"batch_size": 2}) is load_vqa("transformers", {"batch_size": 2})
    assert load_vqa("transformers", {"batch_size": 2}) is not load_vqa("transformers", {"batch_size": 3})
    assert load_vqa(f"{FAKE}:Speaker", {}) is not load_vqa(f"{FAKE}:Speaker", {})  # the user's own, who knows


def test_is_made_from_the_options_of_a_run() -> None:
    sets = (f"vqascore.vqa={FAKE}:Speaker", "vqascore.vqa_options.yes=0.25", "vqascore.template=vlm-mini")
    options = load_config(BenchConfig, sets=sets).vqascore
    metric = load_metric(
        "vqascore", {"vqa": options.vqa, "vqa_options": options.vqa_options, "template": options.template}
    )
    [[score]] = metric.score([picture(1)], [prompt("a cat")])
    assert score.value == pytest.approx(0.25 * 3 / 100)
    assert "Is there a cat in the picture? Answer yes or no." in (score.reason or "")
