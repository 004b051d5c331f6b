"""What the cards of vae-mini and clip-mini have in common."""

from typing import Any


def training_line(training: dict[str, Any]) -> str:
    """One line on how a stage was trained, from `training.json`; no rate is told of an optimizer that had no part."""
    stage = training["stage"]
    muon, adamw = stage["learning_rates"]
    optimizers = f"AdamW, peak learning rate {adamw:g}"
    if muon:
        optimizers = f"Muon for the matrices and AdamW for the rest, peak learning rates {muon:g} and {adamw:g}"
    return (
        f"{stage['steps']:,} steps of {stage['batch_size']} scenes in {stage['minutes']:.0f} minutes on "
        f"{training['threads']} CPU thread{'s' if training['threads'] > 1 else ''}, {training['date']}, "
        f"seed {training['seed']}: {optimizers}, cosine"
    )


def notes(training: dict[str, Any]) -> str:
    """What else is to be told of a training: `notes` in `training.json`, written there by hand, a paragraph each."""
    return "".join(f"\n{note}\n" for note in training.get("notes", []))
