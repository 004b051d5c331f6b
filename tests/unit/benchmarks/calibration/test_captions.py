from collections.abc import Sequence

import pytest

from benchmarks.calibration.captions import CaptionFacts
from benchmarks.calibration.twins import twins_of
from llm4gen_data.errors import UserError
from llm4gen_data.recaption.captioner import CaptionRequest, Completion
from llm4gen_data.records import Prompt
from llm4gen_data.scenes.render import render


class Teller:
    """Says of each picture what it is told to, and how many it was shown."""

    def __init__(self, *told: Completion) -> None:
        self.told, self.n_shown = told, 0

    async def caption(self, requests: Sequence[CaptionRequest]) -> Sequence[Completion]:
        self.n_shown += len(requests)
        return self.told


def test_a_caption_is_worth_the_share_of_asked_facts_that_it_states() -> None:
    pair = next(twins_of("color", 1, 50, "any", "dense"))
    pictures = [render(scene) for scene in pair.scenes]
    first, second = pair.prompts
    metric = CaptionFacts()
    teller = Teller(Completion(first.prompt), Completion(error="out of memory"))
    vars(metric)["_captioner"] = teller
    scores = metric.score([pictures[0], pictures[1], pictures[0]], [first, first, second])
    assert teller.n_shown == 2
    assert (scores[0][0].value, scores[0][0].reason) == (1.0, first.prompt)
    assert (scores[1][0].value, scores[1][0].error_message) == (None, "out of memory")
    assert 0.5 < (scores[2][0].value or 0) < 1


def test_a_prompt_without_facts_is_refused() -> None:
    with pytest.raises(UserError, match="'p' has no spec"):
        CaptionFacts().check([Prompt("p", "a dog", "animals", 2, None)])
