import pickle
from pathlib import Path

import pytest
import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import nn

from llm4gen_data.errors import UserError
from llm4gen_model.training.checkpoint import Checkpoint, checkpoints, latest_checkpoint, prune, save_checkpoint


def fresh(width: int = 3) -> Checkpoint:
    torch.manual_seed(0)
    modules = nn.ModuleDict({"cam": nn.Linear(width, width)})
    optimizer = torch.optim.AdamW(modules.parameters(), lr=0.1)
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=2, num_training_steps=10)
    return Checkpoint(modules, optimizer, schedule, EMAModel(modules.parameters(), decay=0.9), pending=[])


def steps(state: Checkpoint, n: int) -> None:
    for _ in range(n):
        state.modules["cam"](torch.ones(1, 3)).square().sum().backward()
        state.optimizer.step()
        state.schedule.step()
        state.optimizer.zero_grad()
        state.ema.step(state.modules.parameters())


def test_going_on_from_a_checkpoint_gives_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = fresh(), fresh(), fresh()
    steps(whole, 7)
    steps(first, 4)
    first.pending.append((1.0, 2.0, 3.0))
    save_checkpoint(tmp_path, first, 4)
    assert latest_checkpoint(tmp_path, second) == 4
    assert second.pending == [(1.0, 2.0, 3.0)]
    steps(second, 3)
    for a, b in zip(whole.modules.parameters(), second.modules.parameters(), strict=True):
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
    torch.save({"step": 1, "modules": Bomb()}, tmp_path / "00000001.pt")
    with pytest.raises(UserError, match=r"00000001\.pt: not a checkpoint of this run"):
        latest_checkpoint(tmp_path, fresh())
    (tmp_path / "00000002.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"00000002\.pt: not a checkpoint"):
        latest_checkpoint(tmp_path, fresh())
    assert not (tmp_path / "bomb").exists()


def test_another_shape_or_half_a_file_is_one_clear_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, fresh(width=4), 5)
    with pytest.raises(UserError, match="size mismatch"):
        latest_checkpoint(tmp_path, fresh(width=3))
    path = save_checkpoint(tmp_path, fresh(), 6)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"00000006\.pt"):
        latest_checkpoint(tmp_path, fresh())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, fresh(), step)
        prune(tmp_path, 2)
    assert [path.name for path in checkpoints(tmp_path)] == ["00000010.pt", "00000015.pt"]
