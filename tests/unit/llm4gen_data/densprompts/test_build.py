"""The set as a whole: exact numbers, quotas, lengths, no near-duplicates, the same for the same seed."""

import re
from collections import Counter

import pytest

from llm4gen_data.densprompts.build import DensePrompt, build, dense_prompts
from llm4gen_data.densprompts.check import check
from llm4gen_data.densprompts.decontaminate import PublicSet
from llm4gen_data.densprompts.neighbors import MAX_SIMILARITY, Neighbors, normalized, shingles
from llm4gen_data.densprompts.spec import LENGTHS, spec_from_json
from llm4gen_data.densprompts.taxonomy import quotas

N = 300


@pytest.fixture(scope="module")
def made() -> list[DensePrompt]:
    return list(build(quotas(N), 1, Counter()))


def test_exactly_n_distinct_prompts_in_their_quotas(made: list[DensePrompt]) -> None:
    assert len(made) == N
    assert len({normalized(dense.prompt.prompt) for dense in made}) == N
    assert len({dense.prompt.prompt_id for dense in made}) == N
    assert Counter(dense.prompt.category for dense in made) == Counter(quotas(N))


def test_every_prompt_is_of_its_length_and_passes_its_checks(made: list[DensePrompt]) -> None:
    for dense in made:
        low, high = LENGTHS[dense.spec.length]
        assert 40 <= low <= dense.prompt.n_words == len(dense.prompt.prompt.split()) <= high <= 140
        assert check(dense.prompt.prompt, dense.spec) == []
        assert dense.prompt.spec is not None
        assert spec_from_json(dense.prompt.spec) == dense.spec
        assert dense.prompt.prompt_id == f"dp-{dense.spec.spec_id[:12]}"
        assert not re.search(r"[(){}|]", dense.prompt.prompt)


def test_the_middle_of_the_lengths_is_the_papers(made: list[DensePrompt]) -> None:
    assert 76 <= sum(dense.prompt.n_words for dense in made) / N <= 84


def test_the_same_seed_gives_the_same_prompts(made: list[DensePrompt]) -> None:
    assert dense_prompts(N, 1)[:100] == [dense.prompt for dense in made[:100]]
    other = {prompt.prompt for prompt in dense_prompts(30, 2)}
    assert not other & {dense.prompt.prompt for dense in made}


def test_processes_and_order_of_work_change_nothing(made: list[DensePrompt]) -> None:
    assert list(build(quotas(N), 1, Counter(), processes=2)) == made


def test_a_prompt_near_a_public_one_is_drawn_again(made: list[DensePrompt]) -> None:
    public = PublicSet("theirs", "0", (made[7].prompt.prompt,))
    rejects: Counter[str] = Counter()
    again = list(build(quotas(N), 1, rejects, public=(public,)))
    assert rejects["near a public prompt"] == 1
    assert [a == b for a, b in zip(again, made, strict=True)].count(False) >= 1
    assert again[7].prompt.prompt != made[7].prompt.prompt
    assert again[7].prompt.category == made[7].prompt.category


def test_no_two_prompts_are_near_duplicates(made: list[DensePrompt]) -> None:
    sets = [shingles(dense.prompt.prompt) for dense in made]
    nearest = max(len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i])
    assert nearest == max(dense.similarity for dense in made) < MAX_SIMILARITY


def test_neighbors_measure_jaccard_exactly() -> None:
    neighbors = Neighbors()
    neighbors.add("one two three four five six seven")
    assert neighbors.nearest("One, two: three four five six seven!") == 1.0
    assert neighbors.nearest("one two three four five six eight") == pytest.approx(2 / 4)
    assert neighbors.nearest("nothing of this kind is known at all") == 0.0


def test_openings_vary(made: list[DensePrompt]) -> None:
    firsts = Counter(" ".join(dense.prompt.prompt.split()[:3]) for dense in made)
    assert firsts.most_common(1)[0][1] <= 0.05 * N
