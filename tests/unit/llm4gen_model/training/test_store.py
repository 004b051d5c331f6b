import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from llm4gen_data.errors import UserError
from llm4gen_model.training.store import open_store, write_shard

IDENTITY = {"encoder": "x", "layers": [1, 2]}


def key(name: object) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()


def test_entries_of_many_shapes_come_back_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(0)
    values = {key(i): torch.randn(2, 1 + i % 3, 4 + i % 2) for i in range(20)}
    names = list(values)
    for start in (0, 7, 14):
        part = names[start : start + 7]
        sizes = [(start + i + 1, 5) for i in range(len(part))]
        write_shard(open_store(tmp_path, IDENTITY), part, [values[name] for name in part], torch.float32, sizes)
    store = open_store(tmp_path, IDENTITY)
    assert len(store) == 20
    for number, name in enumerate(names):
        assert torch.equal(store[name], values[name])
        assert store.sizes[store.find([name])[0]].tolist() == [number + 1, 5]
    assert key("other") not in store
    assert store.find([names[3], key("other"), names[0]])[1] == -1
    assert not store.damage()
    with pytest.raises(UserError, match=r"has no entry .*llm4gen-model cache"):
        store[key("other")]


def test_opening_a_store_writes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "new", IDENTITY)
    assert len(store) == 0
    assert key(1) not in store
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("n", "n_shards"), [(1, 1), (1, 4), (60, 2), (7, 3)])
def test_what_two_processes_made_at_once_is_there_once(n: int, n_shards: int, tmp_path: Path) -> None:
    for shard in range(n_shards):
        names = [key(i) for i in range(shard, n + shard)]
        write_shard(
            open_store(tmp_path, IDENTITY), names, [torch.full((1, 2), float(i)) for i in range(n)], torch.float16
        )
    store = open_store(tmp_path, IDENTITY)
    assert len(store) == n + n_shards - 1
    assert np.array_equal(np.sort(store.find([key(i) for i in range(len(store))])), np.arange(len(store)))


def test_another_identity_is_refused_with_the_difference(tmp_path: Path) -> None:
    write_shard(open_store(tmp_path, IDENTITY), [key(1)], [torch.ones(1, 1)], torch.float16)
    with pytest.raises(UserError, match=r"another encoder \(encoder: \"x\" -> \"y\"\)"):
        open_store(tmp_path, {**IDENTITY, "encoder": "y"})


def test_values_that_are_not_finite_are_never_stored(tmp_path: Path) -> None:
    store = open_store(tmp_path, IDENTITY)
    for bad in (1e9, float("nan"), float("-inf")):
        with pytest.raises(UserError, match=r"not finite in torch\.float16"):
            write_shard(store, [key(1), key(2)], [torch.ones(1, 1), torch.tensor([[bad]])], torch.float16)
    assert not list(tmp_path.glob("*.safetensors"))
    write_shard(store, [key(1)], [torch.tensor([[1e9]])], torch.bfloat16)
    assert open_store(tmp_path, IDENTITY)[key(1)].dtype == torch.bfloat16


def test_damage_is_told_by_file(tmp_path: Path) -> None:
    write_shard(open_store(tmp_path, IDENTITY), [key(1), key(2)], [torch.ones(3, 4)] * 2, torch.float16)
    shard = next(tmp_path.glob("*.safetensors"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-4] + b"\0\0\0\x7f")  # a flipped byte opens like any other
    assert [line.split(":")[0] for line in open_store(tmp_path, IDENTITY).damage()] == [str(shard)]
    for broken in (whole[:40], whole[:-1], b""):
        shard.write_bytes(broken)
        with pytest.raises(UserError, match=rf"{shard.name}: damaged; delete"):
            open_store(tmp_path, IDENTITY)
    save_file({"values": torch.ones(3)}, shard)
    with pytest.raises(UserError, match="damaged"):
        open_store(tmp_path, IDENTITY)
