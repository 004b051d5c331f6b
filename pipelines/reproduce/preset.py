"""What an experiment is: its arms, its sweep, its tests, and the end point that is named before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm4gen_data.config import load_config, read_yaml
from llm4gen_data.errors import UsageError

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True)
class Choice:
    """Learning rate and guidance of an arm; `learning_rate` is None where nothing is trained."""

    learning_rate: float | None
    guidance_scale: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: `train` holds keys of TrainConfig, `generate` of GenerateConfig; no `train`: the base itself.

    `data` is one of DATA_SETS, `n_pairs` a part of it (None: all). With `choice_of`, learning rate and guidance are
    those of another arm, with `choice`, which goes before, those given; in both cases there is no sweep.
    """

    title: str
    train: dict[str, Any] = field(default_factory=dict)
    generate: dict[str, Any] = field(default_factory=dict)
    seeds: int = 1
    data: str = "pairs"
    n_pairs: int | None = None
    choice_of: str | None = None
    choice: Choice | None = None

    @property
    def is_swept(self) -> bool:
        """Whether its learning rate and guidance are what a sweep of its own chooses."""
        return self.choice is None and self.choice_of is None


DATA_SETS = ("pairs", "corrupted", "recaptioned")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The scenes to train on; `corrupted_shares` are the shares of wrong facts of further caption columns."""

    n: int = 8000
    seed: int = 74_000_000
    several_objects_share: float = 1.0
    corrupted_shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is tried on the validation prompts, and the kind of score that decides."""

    learning_rates: tuple[float, ...] = (3e-4, 1e-3)
    guidance_scales: tuple[float, ...] = (2.5, 5.0, 7.5)
    kind: str = "bound"
    n_prompts: int = 60
    prompt_seed: int = 1


@dataclass(frozen=True, slots=True)
class Primary:
    """The primary end point: the first of `kinds` that the best arm brings to `least` on the validation prompts.

    Of prompts with `min_objects` to `max_objects` objects.
    """

    kinds: tuple[str, ...] = ("all_bound", "bound")
    least: float = 0.05
    min_objects: int = 3
    max_objects: int = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """`arms` against each of `rivals`; and of `arms` the share of what `oracle` gains over `control`."""

    arms: tuple[str, ...]
    rivals: tuple[str, ...]
    control: str
    oracle: str | None = None


@dataclass(frozen=True, slots=True)
class Probes:
    """What is asked of the token states before any arm is trained; `arms` are those whose CAM is asked afterwards."""

    encoders: tuple[str, ...] = ()
    n_scenes: int = 800
    n_twins: int = 200
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """An experiment; the same command again goes on with it.

    `train` and `generate` are what all arms share. `comparisons` are the pairs of arms that are tested, with Holm's
    correction over all of them. `costs` are seconds for the plan, until runs of this experiment have been timed:
    `train` a step, `generate` an image, `cache.NAME` a pair, `start` a command. `threads` are those of each command.
    """

    title: str
    arms: dict[str, dict[str, Any]]
    claim: Claim
    base: str = "mini"
    pairs: Pairs = field(default_factory=Pairs)
    train: dict[str, Any] = field(default_factory=dict)
    generate: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    sweep: Sweep = field(default_factory=Sweep)
    prompts: str = "bindings"
    n_prompts: int = 480
    prompt_seed: int = 2
    num_inference_steps: int = 20
    primary: Primary = field(default_factory=Primary)
    comparisons: tuple[tuple[str, str], ...] = ()
    efficiency_arm: str | None = None
    probes: Probes = field(default_factory=Probes)
    n_resamples: int = 20_000
    costs: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    def chosen_arms(self) -> dict[str, Arm]:
        """The arms of this experiment in order, checked. Raises UsageError for what they cannot be."""
        names = self.only or tuple(self.arms)
        unknown = [name for name in names if name not in self.arms]
        if unknown:
            raise UsageError(f"only: {unknown[0]!r} is no arm: expected some of {', '.join(self.arms)}")
        arms = {name: load_config(Arm, flags=self.arms[name]) for name in names}
        for name, arm in arms.items():
            if arm.data not in DATA_SETS:
                raise UsageError(f"arms.{name}.data = {arm.data!r}: expected one of {', '.join(DATA_SETS)}")
            if arm.choice is None and arm.choice_of is not None and arm.choice_of not in arms:
                raise UsageError(
                    f"arms.{name}.choice_of = {arm.choice_of!r} is no arm here: expected one of {', '.join(arms)}, or "
                    f"arms.{name}.choice={{learning_rate: ..., guidance_scale: ...}}"
                )
            if arm.seeds < 1:
                raise UsageError(f"arms.{name}.seeds = {arm.seeds}: expected at least 1")
        named = [*self.claim.arms, *self.claim.rivals, self.claim.control, *sum(self.comparisons, ())]
        for name in named:
            if name not in self.arms:
                raise UsageError(f"claim or comparisons: {name!r} is no arm")
        return arms


def preset_file(name: str) -> Path:
    """The file of the preset `name` of this folder, or a YAML file itself. Raises UsageError if there is none."""
    file = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in PRESETS.glob("*.yaml") if not path.stem.endswith("-quick"))
        raise UsageError(f"preset {name!r} is unknown: expected one of {', '.join(known)}, or a YAML file")
    return file


def load_preset(name: str, *, quick: bool, sets: tuple[str, ...] = ()) -> Preset:
    """The preset `name` of this folder, or of a YAML file; with `quick`, what `NAME-quick.yaml` says is put over it.

    Raises UsageError for an unknown name, key or value.
    """
    file = preset_file(name)
    if not quick:
        return load_config(Preset, file, sets)
    over = file.with_name(f"{file.stem}-quick.yaml")
    if not over.is_file():
        raise UsageError(f"preset {name!r} has no quick version: {over.name} is not there")
    return load_config(Preset, over, sets, defaults=read_yaml(file.read_text(encoding="utf-8")))
