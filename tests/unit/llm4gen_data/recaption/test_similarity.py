import random
from typing import Any

import pyarrow as pa
import pytest

from llm4gen_data.errors import UserError
from llm4gen_data.parquet import IMAGE
from llm4gen_data.recaption.similarity import Similarity, pack
from llm4gen_data.scenes.describe import dense_caption
from llm4gen_data.scenes.render import render
from llm4gen_data.scenes.sample import sample_scene
from tests.factories import encode


def n_words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("One two. Three four.", ["One two. Three four."]),
        ("One two. Three four. Five six.", ["One two. Three four.", "Five six."]),
        ("a b c d e f g", ["a b c", "d e f g"]),
        ("One. a b c d e f g? Two.", ["One. a b c", "d e f g?", "Two."]),
        ("word", ["word"]),
    ],
)
def test_sentences_are_packed_into_windows(text: str, windows: list[str]) -> None:
    assert pack(text, n_words, 4) == windows


def test_no_word_is_lost_however_small_the_context() -> None:
    text = "A long sentence that goes on. Short! And another one, longer than the context?"
    assert " ".join(pack(text, n_words, 2)).split() == text.split()


def test_clip_mini_prefers_the_true_caption() -> None:
    scenes = [sample_scene(seed) for seed in range(6)]
    captions = [dense_caption(scene, random.Random(0)) for scene in scenes]
    images: list[Any] = [{"bytes": encode(render(scene)), "path": None} for scene in scenes]
    similarity = Similarity("clip-mini")

    def of(captions: list[str | None], images: list[Any]) -> list[float | None]:
        values: list[float | None] = similarity.of_rows(
            pa.table({"image": pa.array(images, IMAGE), "caption_raw": pa.array(captions, pa.string())})
        ).to_pylist()
        return values

    own = of([*captions], [*images])
    other = of([*captions[1:], captions[0]], [*images])
    assert sum(a > b for a, b in zip(own, other, strict=True) if a is not None and b is not None) >= 5
    assert (
        of([None, "", captions[0], captions[0]], [images[0], images[0], None, {"bytes": b"no image", "path": None}])
        == [None] * 4
    )
    # a batch changes nothing, and stock openings do not count
    assert of([f"The image shows {captions[0]}"], images[:1]) == pytest.approx(own[:1], abs=1e-5)


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(UserError, match=r"gates.similarity_model = 'vlm-mini'"):
        Similarity("vlm-mini").of_pairs([render(sample_scene(0))], ["A scene."])
