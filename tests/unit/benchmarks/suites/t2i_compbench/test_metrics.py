from pathlib import Path
from typing import Any

import pytest

from benchmarks.encoders import load_encoder, pixels_sha256
from benchmarks.feature_cache import FeatureCache
from benchmarks.metrics.metric import load_metric
from benchmarks.records import BenchImage
from benchmarks.scoring import Batch, score_batch
from benchmarks.suites.suite import SUITES, Suite
from benchmarks.suites.t2i_compbench.judges import frame_size, phrase_reason, phrase_scores
from benchmarks.suites.t2i_compbench.language import SpatialTriplet
from benchmarks.suites.t2i_compbench.protocol import NEW_COLORS, OLD_COLORS, VERSIONS
from llm4gen_data.errors import UsageError, UserError
from llm4gen_data.records import Prompt
from llm4gen_data.registry import resolve
from llm4gen_data.runs import fingerprint_hash
from tests.factories import picture
from tests.unit.benchmarks.factories import tiny_clip
from tests.unit.benchmarks.suites.t2i_compbench.fakes import plain, prompt

FAKES = "tests.unit.benchmarks.suites.t2i_compbench.fakes"
BACK_ENDS = {"vqa": f"{FAKES}:FakeVqa", "detector": f"{FAKES}:FakeDetector", "depth": f"{FAKES}:FakeDepth"}
OFFICIAL, FIXED = "t2i-compbench@2025-09/official", "t2i-compbench@2025-09/fixed"
CAT_DOG = SpatialTriplet("cat", "on the left of", "dog")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"), context=24)


def metric(name: str, protocol: str = OFFICIAL, **options: Any) -> Any:
    return load_metric(f"t2i_compbench.{name}", {"protocol": protocol, **BACK_ENDS, **options})


def test_every_suite_is_there_and_names_its_protocol() -> None:
    names = [name for name in SUITES if name.startswith("t2i-compbench")]
    assert len(names) == 2 * len(VERSIONS)
    for name in names:
        suite: Suite = resolve("suite", name, SUITES)
        assert suite.protocol == name
    current: Suite = resolve("suite", OFFICIAL, SUITES)
    assert current.generate == {"samples_per_prompt": 10, "seed": 42}
    assert current.n_prompts == 2400
    assert current.metrics_of("color") == current.metrics_of("texture") == ("t2i_compbench.blip_vqa",)
    assert current.metrics_of("complex") == ("t2i_compbench.three_in_one",)


def test_attributes_multiply_and_say_why() -> None:
    judge = metric("blip_vqa")
    prompts = [
        prompt("color", 0, "a red cat and a blue dog", chunks=("a red cat", "top", "a blue dog")),
        prompt("color", 1, "quickly", chunks=()),
        prompt("spatial", 0, "a cat near a dog", triplet=CAT_DOG),
    ]
    judge.check(prompts)
    first, second, third = judge.score([plain(200)] * 3, prompts)
    assert (first[0].kind, first[0].value) == ("official", 0.9)
    assert first[0].reason == "a red cat? 1.0000; a blue dog? 0.9000"
    assert (second[0].value, third) == (1.0, [])
    assert judge._judge.vqa.asked == [["a red cat?", "a blue dog?"]]
    fixed = metric("blip_vqa", FIXED)
    assert fixed.headline == "fixed"
    [_, missing, _] = fixed.score([plain(200)] * 3, prompts)
    assert (missing[0].value, missing[0].error_message) == (None, "the prompt has no noun phrase to ask for")


def test_versions_ask_for_other_phrases() -> None:
    chunks = ("a red cat", "top", "a blue dog")
    for version, asked in (
        ("2023-07", ["a red cat?", "top?"]),
        ("2023-12", ["a red cat?", "top?", "a blue dog?"]),
        ("2024-01", ["a red cat?", "a blue dog?"]),
    ):
        judge = metric("blip_vqa", f"t2i-compbench@{version}/official")
        judge.score([plain(9)], [prompt("color", 0, "x", chunks=chunks)])
        assert judge._judge.vqa.asked == [asked]


def test_phrase_scores_are_read_back() -> None:
    assert phrase_scores(phrase_reason(["a cat; a dog? really", "b 1"], [0.5, 0.25])) == ["0.5000", "0.2500"]
    assert phrase_scores(None) == phrase_scores("no noun phrase: 1 by the protocol") == []


def test_2d_sees_the_frame_and_says_where() -> None:
    judge = metric("spatial_2d")
    prompts = [
        prompt("spatial", 0, "a cat on the left of a dog", triplet=CAT_DOG),
        prompt("spatial", 1, "a dog on the left of a cat", triplet=SpatialTriplet("dog", "on the left of", "cat")),
        prompt("spatial", 2, "a cow near a dog", triplet=SpatialTriplet("cow", "near", "dog")),
    ]
    judge.check(prompts)
    scores = [score[0] for score in judge.score([plain(1, (64, 64)), plain(1, (64, 32)), plain(1)], prompts)]
    assert [score.value for score in scores] == [pytest.approx(0.925), 0.0, 0.0]
    assert scores[0].reason == (
        "cat 0.900 at [10.0, 100.0, 110.0, 200.0]; dog 0.800 at [300.0, 100.0, 400.0, 200.0]; on the left of: 1.000"
    )
    assert scores[2].reason is not None
    assert scores[2].reason.startswith("cow not found (UniDet has no class of exactly this name); dog 0.800")
    assert judge._judge.detector.sizes[-3:] == [(479, 479), (480, 240), (479, 479)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (479, 479)), ((768, 512), (480, 320)), ((512, 513), (479, 480)), ((10, 1000), (5, 480))],
)
def test_frame_is_479_by_at_most_480(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert frame_size(*size) == expected


def test_3d_needs_depth() -> None:
    triplet = SpatialTriplet("cat", "in front of", "dog")
    prompts = [prompt("3d_spatial", 0, "a cat in front of a dog", triplet=triplet)]
    # the boxes lie apart: no position, whatever the depth
    [[score]] = metric("spatial_3d").score([plain(1, (64, 64))], prompts)
    assert score.value == pytest.approx(0.425)
    identity = metric("spatial_3d").identity()
    assert identity["depth"] == {"model": "fake"}
    assert identity["detector"]["comparable_with_unidet"] is False


def test_numbers_are_counted() -> None:
    judge = metric("numeracy")
    prompts = [
        prompt("numeracy", 0, "a cat and two dogs", counts={"cat": 1, "dog": 2}),
        prompt("numeracy", 1, "none", counts={}),
        prompt("numeracy", 2, "two sheep", counts={"sheep": 2}),
    ]
    scores = [score[0] for score in judge.score([plain(1)] * 3, prompts)]
    assert [score.value for score in scores] == [0.75, None, 0.0]
    assert scores[0].reason == (
        "asked: 1 x cat, 2 x dog; 2 seen: cat 0.900 at [10.0, 100.0, 110.0, 200.0]; "
        "dog 0.800 at [300.0, 100.0, 400.0, 200.0]"
    )
    old = metric("numeracy", "t2i-compbench@2024-03/official")
    [score] = old.score([plain(1)], prompts[2:])[0]
    assert (score.value, score.error_message) == (None, "how version 2024-03 counted 'sheep' is not known")


def test_clip_is_a_raw_cosine_and_cannot_read_on_in_official(clip: Path) -> None:
    texts = ("a cat", "a cat and a dog and a cow and a pig")
    prompts = [prompt("non_spatial", i, text, text=text) for i, text in enumerate(texts)]
    short, long = (own[0] for own in metric("clip", clip=str(clip)).score([plain(9)] * 2, prompts))
    assert short.value is not None
    assert -1 <= short.value <= 1
    assert long.value is None
    assert "longer than the CLIP model can read" in (long.error_message or "")
    fixed = [own[0] for own in metric("clip", FIXED, clip=str(clip)).score([plain(9)] * 2, prompts)]
    assert fixed[0].value == short.value
    assert fixed[1].value is not None


def test_complex_takes_the_parts_that_its_kind_calls_for(clip: Path) -> None:
    judge = metric("three_in_one", clip=str(clip))
    facts: dict[str, Any] = {"chunks": ("a cat",), "triplet": CAT_DOG, "text": "a cat"}
    prompts = [
        prompt("complex", 0, "spatial", kind="spatial", **facts),
        prompt("complex", 1, "action", kind="action", **facts),
        prompt("complex", 2, "both", kind="spatialaction", **facts),
        prompt("complex", 3, "no pair", kind="spatial", chunks=("a cat",), text="a cat"),
    ]
    judge.check(prompts)
    scores = judge.score([plain(100) for _ in prompts], prompts)
    kinds = [[score.kind for score in own] for own in scores]
    assert kinds[0] == ["official", "official attribute", "official spatial"]
    assert kinds[1] == ["official", "official attribute", "official clip"]
    values = {score.kind: score.value for score in scores[2]}
    whole = [values.get(f"official {part}") for part in ("attribute", "spatial", "clip")]
    assert values["official"] == pytest.approx(sum(value for value in whole if value is not None) / 3)
    assert scores[0][0].value == pytest.approx((0.5 + 0.925) / 2)
    assert scores[3][0].value == pytest.approx(0.25)
    long = prompt("complex", 4, "long", kind="action", chunks=("a cat",), text="word " * 30)
    assert "clip: longer than" in (judge.score([plain(1)], [long])[0][0].error_message or "")


def test_shared_features_change_no_value_and_other_batches_are_not_encoded(clip: Path, tmp_path: Path) -> None:
    facts: dict[str, Any] = {"chunks": ("a cat",), "triplet": CAT_DOG}
    prompts = [
        prompt("non_spatial", 0, "a cat", text="a cat"),
        prompt("color", 0, "a red cat", chunks=("a red cat",)),
        prompt("complex", 0, "a dog", kind="action", text="a dog", **facts),
        prompt("complex", 1, "a cow", kind="spatial", text="a cow", **facts),
    ]
    images = [picture(seed) for seed in range(len(prompts))]
    metrics = {name: metric(name, clip=str(clip)) for name in ("blip_vqa", "clip", "three_in_one")}
    shared = [BenchImage("model", asked, 0, 0, tmp_path, "", "") for asked in prompts]
    cache = FeatureCache(tmp_path / "features.sqlite")
    together = score_batch(Batch(0, 4, tuple(metrics)), shared, images, metrics, cache)
    [spec] = metrics["clip"].uses
    assert (metrics["blip_vqa"].uses, metrics["three_in_one"].uses) == ((), (spec,))
    assert cache.get(fingerprint_hash(load_encoder(spec).identity()), [pixels_sha256(i) for i in images]) is not None
    for name, judge in metrics.items():
        for i, alone in enumerate(judge.score(images, prompts)):
            found = together[i][name]
            assert [score.kind for score in found] == [score.kind for score in alone]
            assert [s.value for s in found] == pytest.approx([s.value for s in alone], abs=1e-6)
    cache.close()
    other = FeatureCache(tmp_path / "other.sqlite")
    score_batch(Batch(1, 2, tuple(metrics)), shared, images[1:2], metrics, other)
    assert other.get(fingerprint_hash(load_encoder(spec).identity()), [pixels_sha256(images[1])]) is None
    other.close()


def test_prompts_of_another_version_are_refused() -> None:
    old = prompt("color", 0, "x", chunks=("a cat",), file_sha256=OLD_COLORS.sha256)
    metric("blip_vqa", "t2i-compbench@2025-01/official").check([old])
    with pytest.raises(UserError, match=f"with sha256 {OLD_COLORS.sha256}; version 2025-09 has .*{NEW_COLORS.sha256}"):
        metric("blip_vqa").check([old])
    with pytest.raises(UserError, match="has no T2I-CompBench analysis"):
        metric("blip_vqa").check([Prompt("p", "a cat", "color", 2, None)])
    six = metric("numeracy", "t2i-compbench@2024-01/official")
    with pytest.raises(UserError, match="version 2024-01 has no category 'numeracy'"):
        six.check([prompt("numeracy", 0, "two cats", counts={"cat": 2})])


def test_the_identity_tells_who_read_the_prompts() -> None:
    judge = metric("blip_vqa")
    own = prompt("color", 0, "x", chunks=("a cat",))
    judge.check([own])
    assert judge.identity()["parser"] == "spaCy 3.8, model 3.8 on prompts of the user's"
    assert judge.identity()["protocol"] == OFFICIAL


def test_a_back_end_that_does_not_exist_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="detector 'magic' is unknown"):
        metric("spatial_2d", detector="magic")
    with pytest.raises(UsageError, match="VQA model 'magic' is unknown"):
        metric("blip_vqa", vqa="magic")
    with pytest.raises(UsageError, match="protocol 'other' is unknown"):
        metric("blip_vqa", "other")
