"""The llm writer with a model that is right, wrong at first, wrong for good, or gone: what is kept and why not."""

import json
from collections import Counter
from pathlib import Path

import pytest

from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.config import LlmConfig
from llm4gen_data.densprompts.decontaminate import PublicSet
from llm4gen_data.densprompts.taxonomy import quotas
from llm4gen_data.densprompts.writers.instructions import PAPER, Messages
from llm4gen_data.densprompts.writers.llm import CUT_OFF, NOT_STRUCTURED, Built, build_with_llm, fingerprint
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.recaption.captioner import Completion, EngineDied
from tests.chats import described, known_texts

N, SEED = 12, 5
SHARES = quotas(N)
CONFIG = LlmConfig(model="m", tries=2)
TEXTS = known_texts(SHARES, SEED, tries=3)


class Chat:
    """Answers with what is right for each question; `mistakes` names what is done wrong for its n-th question."""

    max_in_flight = 4

    def __init__(self, mistakes: dict[int, str]) -> None:
        self.mistakes = mistakes
        self.asked: list[Messages] = []
        self.closed = False
        self._numbers: dict[str, int] = {}

    async def answer(self, messages: Messages, seed: int) -> Completion:
        self.asked.append(messages)
        question = next(m["content"] for m in messages if m["role"] == "user")
        number = self._numbers.setdefault(question, len(self._numbers))
        text, mistake = TEXTS[question], self.mistakes.get(number)
        is_repair = len(messages) > 2
        if mistake == "dies":
            raise EngineDied("the engine died")
        if mistake == "busy":
            return Completion(error="busy", transient=True)
        if mistake == "nonsense":
            return Completion("I would be glad to!")
        if mistake == "cut off":
            return Completion('{"description": "A', "length")
        if mistake == "forgets for good" or (mistake == "forgets" and not is_repair):
            return Completion(described(text.rpartition(". ")[0] + "."))
        return Completion(described(text.replace(" ", "\n", 1)))

    async def close(self) -> None:
        self.closed = True


def written(tmp_path: Path, chat: Chat, config: LlmConfig = CONFIG, public: tuple[PublicSet, ...] = ()) -> Built:
    return build_with_llm(SHARES, SEED, config, tmp_path / "journal", public=public, load=lambda _: chat)


def test_right_answers_fill_every_slot(tmp_path: Path) -> None:
    chat = Chat({})
    built = written(tmp_path, chat)
    assert chat.closed
    assert len(chat.asked) == N
    assert Counter(made.prompt.category for made in built.made) == Counter(SHARES)
    assert built.summary() == {"model": "m", "preset": "spec", "n_asked": N, "n_accepted": N, "n_repaired": 0}
    for made in built.made:
        assert made.prompt.prompt in TEXTS.values()
        assert check(made.prompt.prompt, made.spec) == []
        assert made.questions


def test_what_is_missing_is_told_once_and_repaired(tmp_path: Path) -> None:
    chat = Chat({3: "forgets"})
    built = written(tmp_path, chat)
    assert (len(built.made), built.n_repaired, built.rejects) == (N, 1, [])
    repair = next(messages for messages in chat.asked if len(messages) > 2)
    assert [message["role"] for message in repair] == ["system", "user", "assistant", "user"]
    assert "What was wrong with it: " in repair[-1]["content"]
    assert len(chat.asked) == N + 1


def test_what_stays_wrong_is_rejected_with_its_reason_and_the_slot_asked_for_again(tmp_path: Path) -> None:
    built = written(tmp_path, Chat({0: "forgets for good", 1: "cut off", 2: "nonsense"}))
    assert len(built.made) == N
    assert Counter(made.prompt.category for made in built.made) == Counter(SHARES)
    assert len(built.rejects) == 3
    assert built.reasons[CUT_OFF] == built.reasons[NOT_STRUCTURED] == 1
    assert all(reject.tries == 1 and reject.reasons and reject.problems for reject in built.rejects)
    assert built.summary()["n_asked"] == N + 3


def test_a_slot_that_is_never_told_right_stays_empty(tmp_path: Path) -> None:
    built = written(tmp_path, Chat(dict.fromkeys(range(100), "forgets for good")))
    assert built.made == []
    assert len(built.rejects) == 2 * N


def test_a_text_near_a_public_prompt_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path, Chat({})).made[0]
    public = PublicSet("theirs", "0", (first.prompt.prompt,))
    again = written(tmp_path, Chat({}), public=(public,))
    assert first.prompt.prompt not in {made.prompt.prompt for made in again.made}
    assert [reject.index for reject in again.rejects] == [0]


def test_a_build_goes_on_after_the_answers_it_has(tmp_path: Path) -> None:
    whole = written(tmp_path, Chat({3: "forgets"}))
    (tmp_path / "journal").unlink()
    with pytest.raises(UserError, match="the same command again goes on"):
        written(tmp_path, Chat({3: "forgets", 9: "dies"}))
    n_done = len((tmp_path / "journal").read_bytes().splitlines())
    assert 0 < n_done < N
    chat = Chat({})
    again = written(tmp_path, chat)
    assert len(chat.asked) <= N - n_done + 1
    assert again.made == whole.made or [m.prompt for m in again.made] == [m.prompt for m in whole.made]


def test_a_busy_server_is_asked_again_by_the_next_start(tmp_path: Path) -> None:
    built = written(tmp_path, Chat(dict.fromkeys(range(100), "busy")))
    assert built.reasons == {"no answer": 2 * N}
    assert len(written(tmp_path, Chat({})).made) == N


def test_nothing_but_nonsense_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm4gen_data.densprompts.writers.llm.MAX_NONSENSE", 8)
    chat = Chat(dict.fromkeys(range(100), "nonsense"))
    with pytest.raises(UserError, match=r"m: 8 answers and none is the JSON asked for, the last begins 'I would be"):
        written(tmp_path, chat)
    assert chat.closed
    assert len(chat.asked) < 2 * N


def test_plain_answers_where_no_structure_is_asked_for(tmp_path: Path) -> None:
    class Plain(Chat):
        async def answer(self, messages: Messages, seed: int) -> Completion:
            completion = await super().answer(messages, seed)
            return Completion(json.loads(completion.text)["description"])

    built = written(tmp_path, Plain({}), LlmConfig(model="m", structured=False))
    assert len(built.made) == N


def test_the_papers_preset_asks_in_the_papers_words(tmp_path: Path) -> None:
    class Paper(Chat):
        async def answer(self, messages: Messages, seed: int) -> Completion:
            self.asked.append(messages)
            return Completion(described("A dog."))

    chat = Paper({})
    written(tmp_path, chat, LlmConfig(model="m", preset="paper", tries=1))
    asked = chat.asked[0][0]["content"]
    assert asked.startswith(PAPER.partition("{")[0])
    assert PAPER.startswith("Use 40~140 words to generate some detailed descriptions of the images")
    assert asked.count('"') >= 4


def test_the_preset_rewrite_shows_the_grammars_text(tmp_path: Path) -> None:
    class Copy(Chat):
        async def answer(self, messages: Messages, seed: int) -> Completion:
            return Completion(described(messages[1]["content"]))

    built = written(tmp_path, Copy({}), LlmConfig(model="m", preset="rewrite", tries=1))
    assert {made.prompt.prompt for made in built.made} <= set(TEXTS.values())
    assert len(built.made) == N


def test_a_wrong_preset_and_no_model_are_one_line() -> None:
    with pytest.raises(UsageError, match="preset 'haiku' is unknown: expected one of paper, spec, rewrite"):
        fingerprint(LlmConfig(model="m", preset="haiku"))
    with pytest.raises(UsageError, match="--writer llm needs --model"):
        fingerprint(LlmConfig())
