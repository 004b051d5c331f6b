import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import nn

from llm4gen_data.errors import UserError
from llm4gen_model.training.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    checkpoints,
    find_latest,
    load_checkpoint,
)


def fresh(width: int = 3) -> Checkpoint:
    torch.manual_seed(0)
    parameters = {f"cam.{name}": parameter for name, parameter in nn.Linear(width, width).named_parameters()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=2, num_training_steps=10)
    ema = EMAModel(parameters.values(), decay=0.9)
    return Checkpoint(parameters, optimizer, schedule, ema, None, {"seed": 0}, pending=[])


def steps(state: Checkpoint, n: int) -> None:
    weight, bias = state.parameters.values()
    for _ in range(n):
        nn.functional.linear(torch.ones(1, 3), weight, bias).square().sum().backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.schedule.step()
        state.optimizer.zero_grad()
        state.ema.step(state.parameters.values())


def save(folder: Path, state: Checkpoint, *numbers: int) -> None:
    with CheckpointWriter(folder, n_last=9) as writer:
        for number in numbers:
            writer.save(state, number)


def test_going_on_from_a_checkpoint_gives_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = fresh(), fresh(), fresh()
    steps(whole, 7)
    steps(first, 4)
    first.pending.append((1.0, 2.0, 3.0))
    with CheckpointWriter(tmp_path, n_last=1) as writer:
        writer.save(first, 4)
        steps(first, 1)  # while it is being written
    assert load_checkpoint(tmp_path / "00000004.pt", second) == 4
    assert second.pending == [(1.0, 2.0, 3.0)]
    steps(second, 3)
    for a, b in zip(whole.parameters.values(), second.parameters.values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.ema.shadow_params, second.ema.shadow_params, strict=True):
        assert torch.equal(a, b)
    assert whole.schedule.get_last_lr() == second.schedule.get_last_lr()


class Bomb:
    """Runs code when unpickled by a careless loader."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('bomb', 'w')",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "00000001.pt"
    torch.save({"step": 1, "weights": Bomb()}, path)
    with pytest.raises(UserError, match=r"00000001\.pt: not a checkpoint of this run"):
        load_checkpoint(path, fresh())
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"00000001\.pt: not a checkpoint"):
        load_checkpoint(path, fresh())
    assert not (tmp_path / "bomb").exists()


def test_another_shape_is_one_clear_error(tmp_path: Path) -> None:
    save(tmp_path, fresh(width=4), 5)
    with pytest.raises(UserError, match=r"size mismatch for cam\.weight: \[4, 4\], expected \[3, 3\]"):
        load_checkpoint(tmp_path / "00000005.pt", fresh(width=3))
    state = fresh()
    other = {"unet.weight": state.parameters["cam.weight"], "cam.bias": state.parameters["cam.bias"]}
    with pytest.raises(UserError, match=r"other parameters: cam\.weight, unet\.weight"):
        load_checkpoint(tmp_path / "00000005.pt", replace(state, parameters=other))


def test_of_a_damaged_checkpoint_the_one_before_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, fresh(), 5, 6, 7)
    last, middle, first = reversed(checkpoints(tmp_path))
    last.write_bytes(last.read_bytes()[:500])
    middle.unlink()
    assert find_latest(tmp_path) == first
    errors = capsys.readouterr().err.splitlines()
    assert [error.split(":")[0] for error in errors] == [str(last), str(middle)]
    assert (tmp_path / "00000007.damaged").stat().st_size == 500
    assert checkpoints(tmp_path) == [first]
    first.write_bytes(b"")
    with pytest.raises(UserError, match="all checkpoints are damaged"):
        find_latest(tmp_path)


def test_without_its_marker_there_is_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, fresh(), 5, 6)
    (tmp_path / "00000006.json").unlink()  # as after a kill between the two
    assert find_latest(tmp_path) == tmp_path / "00000005.pt"


def test_only_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    losses = {5: 0.3, 10: 0.1, 15: None, 20: 0.2, 25: 0.4, 30: None}
    with CheckpointWriter(tmp_path, n_last=2, n_best=1) as writer:
        for step, loss in losses.items():
            writer.save(fresh(), step, loss)
    assert [path.name for path in checkpoints(tmp_path)] == ["00000010.pt", "00000025.pt", "00000030.pt"]
    assert len(list(tmp_path.iterdir())) == 6


def test_a_full_disk_is_told_at_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, fresh(), 5)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    writer = CheckpointWriter(tmp_path, n_last=2)
    writer.save(fresh(), 6)
    with pytest.raises(UserError, match=r"No space left on device.*last good one is 00000005\.pt"):
        writer.wait()
    writer.check()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000005.json", "00000005.pt"]
