import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4gen_data.errors import UsageError, UserError
from llm4gen_model.training import run
from llm4gen_model.training.cache import Part
from llm4gen_model.training.config import EntityLossConfig, TrainConfig
from llm4gen_model.training.data import Pairs, open_pairs
from llm4gen_model.training.entity_pairs import cache_entity_spans, find_entity_spans, load_reader, stored_sha256
from llm4gen_model.training.entity_readers import Pair, Reader
from tests.factories import pairs_parquet

STORED = EntityLossConfig(weight=1.0, pairs="stored")
CAPTIONS = {"caption": 0.5, "alt_text": 0.5}


class Counting:
    """A reader of "picture" and the word behind it, and how many captions it has read."""

    def __init__(self, version: int = 1) -> None:
        self.n = 0
        self.version = version

    def reader(self) -> Reader:
        return Reader({"reader": "counting", "version": self.version}, self.read)

    def read(self, texts: Sequence[str]) -> list[list[Pair]]:
        self.n += len(texts)
        starts = [text.find("picture") for text in texts]
        return [[((i, i + 7), (i + 8, i + 9))] * 2 if i >= 0 else [] for i in starts]


def with_column(path: Path, values: Sequence[Any]) -> Pairs:
    """Twelve pairs with this column of entity spans."""
    table = pq.read_table(pairs_parquet(path, 12))
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    pq.write_table(table.append_column("entity_spans", pa.array(texts, pa.string())), path)
    return open_pairs(path, CAPTIONS)


def test_what_was_read_is_kept_and_the_rest_is_read(tmp_path: Path) -> None:
    counting, texts = Counting(), ["a picture 1", "nothing", "picture 2"]
    cache_entity_spans(tmp_path / "entities", texts[:1], counting.reader())
    store = cache_entity_spans(tmp_path / "entities", texts, counting.reader())
    assert counting.n == 3
    assert len(store) == 3
    assert not store.damage()
    for index in range(2):
        cache_entity_spans(tmp_path / "parts", texts, counting.reader(), Part(index, 2))
    assert counting.n == 6
    with pytest.raises(UserError, match=r"another encoder \(version: 1 -> 2\)"):
        cache_entity_spans(tmp_path / "entities", texts, Counting(version=2).reader())


def test_another_column_is_another_training(tmp_path: Path) -> None:
    spans: list[Any] = [{"caption": [[[0, 1], [2, 3]]]}, *[None] * 11]
    one, same = (with_column(tmp_path / name, spans) for name in ("one.parquet", "same.parquet"))
    other = with_column(tmp_path / "other.parquet", [None] * 12)
    assert stored_sha256(one) == stored_sha256(same) != stored_sha256(other)


def test_captions_get_their_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = open_pairs(pairs_parquet(tmp_path / "pairs.parquet", 12), CAPTIONS)
    counting = Counting()
    monkeypatch.setattr("llm4gen_model.training.entity_pairs.load_reader", lambda _: counting.reader())
    config = EntityLossConfig(weight=1.0, pairs="counting")
    kept = find_entity_spans(config, pairs, tmp_path / "entities")
    read = counting.n
    online = find_entity_spans(config, pairs, None)
    assert kept is not None
    assert online is not None
    captions = ["picture 1", "", "a picture with number 3 on a ground of its own"]
    expected = [[[0, 7, 8, 9]] * 2, [], [[2, 9, 10, 11]] * 2]
    assert [spans.tolist() for spans in kept(captions)] == expected
    assert counting.n == read == len(pairs.texts())
    assert [spans.tolist() for spans in online(captions)] == expected
    with pytest.raises(UserError, match="does not have the entities of the caption 'another'"):
        kept(["another"])
    assert find_entity_spans(EntityLossConfig(), pairs, tmp_path) is None


def test_the_datas_own_column_is_read(tmp_path: Path) -> None:
    own = {"caption": [[[2, 9], [15, 21]], [[2, 9], [0, 1]]], "alt_text": [], "title": [[[0, 1], [2, 3]]]}
    spans = find_entity_spans(STORED, with_column(tmp_path / "pairs.parquet", [None, own] + [None] * 10), None)
    assert spans is not None
    captions = ["a picture with number 1 on a ground of its own", "picture 1", "", "picture 2"]
    assert [found.tolist() for found in spans(captions)] == [[[2, 9, 15, 21], [2, 9, 0, 1]], [], [], []]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ({"caption": [[0, 1]]}, r"expected a list of \[\[start, end\], \[start, end\]\]"),
        ({"caption": "red"}, r"expected a list of"),
        ({"caption": {"a": 1}}, r"expected a list of"),
        ({"caption": [[[2, 9], [9, 9]]]}, "expected 0 <= start < end <= 46"),
        ({"caption": [[[2, 9], [0, 47]]]}, "expected 0 <= start < end <= 46"),
        ({"caption": [[[-1, 9], [0, 4]]]}, "expected 0 <= start < end <= 46"),
    ],
)
def test_a_wrong_column_is_named(tmp_path: Path, value: Any, message: str) -> None:
    pairs = with_column(tmp_path / "pairs.parquet", [value] + [None] * 11)
    with pytest.raises(UserError, match=rf"pairs\.parquet: row '000000', entity_spans.*{message}"):
        find_entity_spans(STORED, pairs, None)


def test_who_cannot_read_is_named(tmp_path: Path) -> None:
    pairs = open_pairs(pairs_parquet(tmp_path / "pairs.parquet", 12), CAPTIONS)
    with pytest.raises(UserError, match="has no column 'entity_spans'"):
        find_entity_spans(STORED, pairs, None)
    with pytest.raises(UsageError, match="did you mean 'spacy'"):
        load_reader("spaci")


def test_the_cache_command_makes_them_too(config: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    cached = replace(
        config, cache=config.out.with_name("cache"), entity_loss=EntityLossConfig(weight=1.0, pairs="scenes")
    )
    run.cache(cached, Part(0, 2))
    assert "entities: 9 entries, 11 still missing" in capsys.readouterr().out
    run.cache(cached, verify=True)
    assert "entities: 20 entries, 0.0 MiB" in capsys.readouterr().out
