import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llm4gen_data.recaption.duplicates import FrequentItems, repeated_captions, repeated_in
from llm4gen_data.recaption.gates import Gates


def test_no_frequent_item_is_missed_and_counters_stay_few() -> None:
    random.seed(0)
    items = [f"rare {i}" for i in range(5000)] + ["often"] * 400 + ["sometimes"] * 250
    random.shuffle(items)
    frequent = FrequentItems(30)
    for first in range(0, len(items), 100):
        frequent.add(Counter(items[first : first + 100]))
        assert len(frequent.counts) <= 30
    truth = Counter(items)
    assert {"often", "sometimes"} <= frequent.counts.keys()
    assert all(frequent.counts[item] <= truth[item] <= frequent.counts[item] + frequent.error for item in truth)


def shards_of(folder: Path, captions: Sequence[str | None], rows: int = 500) -> list[Path]:
    paths = []
    for first in range(0, len(captions), rows):
        paths.append(folder / f"{first}.parquet")
        pq.write_table(pa.table({"caption_raw": captions[first : first + rows]}), paths[-1])
    return paths


def test_captions_given_again_and_again_are_found_exactly(tmp_path: Path) -> None:
    captions: list[str | None] = [f"Thing number {i} on a table." for i in range(4000)]
    for i in range(0, 4000, 50):  # 80 of 4,000, in two wordings that clean to one
        captions[i] = "The image shows a grey square." if i % 100 else "A grey square."
    captions[7] = None
    paths = shards_of(tmp_path, captions)
    gates = Gates(max_duplicate_share=0.01)  # 100 counters for 4,000 different captions
    assert repeated_captions(paths, gates) == {"A grey square.": 80}
    assert repeated_captions(paths, Gates(max_duplicate_share=0.03)) == {}
    assert repeated_in(paths[0], ["A grey square.", "Something else."]) == {"A grey square."}


def test_a_small_run_alarms_by_number_only(tmp_path: Path) -> None:
    paths = shards_of(tmp_path, ["A red square."] * 19 + ["A blue square."])
    assert repeated_captions(paths, Gates()) == {}
    assert repeated_captions(paths, Gates(min_duplicates=10)) == {"A red square.": 19}
    assert repeated_captions([], Gates()) == {}
