"""`llm4gen-bench probe`: what can be read off the token states of text models by a linear classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.probes.examples import TASKS, WRITERS, Caption, Example, draw_captions, examples_of
from benchmarks.probes.linear import fit
from benchmarks.probes.states import Span, TextModel, open_text_model, word_states
from benchmarks.stats import clustered_share
from llm4gen_data.runs import package_versions

# Shares of the scenes to fit on, to choose the penalty on, and to test on.
SPLITS = (0.6, 0.2, 0.2)
N_RESAMPLES = 2000

WordStates = list[dict[Span, torch.Tensor]]


def probe(encoders: Sequence[str], n_scenes: int, device: str = "cpu") -> dict[str, Any]:
    """Accuracy of each encoder in each task on scenes that the classifier has not seen, intervals by scene.

    A word that an encoder does not see, because the text was cut before it, is answered wrong; `seen` is the share of
    examples all of whose words are seen, and `accuracy_seen` is over those. Raises UsageError and UserError as
    `open_text_model` does.
    """
    models = [open_text_model(name, device) for name in encoders]  # what is not there is better known at once
    captions = draw_captions(n_scenes)
    examples = examples_of(captions)
    parts = _parts(captions)
    rows = [*_baselines(examples, captions, parts)]
    cut: dict[str, dict[str, float]] = {}
    for model in models:
        wanted: list[list[Span]] = [[] for _ in captions]
        for example in examples:
            wanted[example.caption] += example.spans
        states = list(word_states(model, [caption.text for caption in captions], wanted))
        cut[model.name] = _cut_shares(model, captions)
        for kind in WRITERS:
            for task in TASKS:
                own = [e for e in examples if e.task == task and captions[e.caption].kind == kind]
                rows.append({"encoder": model.name, "captions": kind, **_row(task, own, captions, parts, states)})
    return {
        "n_scenes": n_scenes,
        "encoders": list(encoders),
        "rows": rows,
        "cut_share": cut,
        "versions": package_versions("torch", "transformers"),
    }


def _parts(captions: Sequence[Caption]) -> dict[int, int]:
    """The split that each scene's seed falls in: 0 to fit, 1 to choose, 2 to test."""
    seeds = list(dict.fromkeys(caption.seed for caption in captions))
    borders = (SPLITS[0] * len(seeds), (SPLITS[0] + SPLITS[1]) * len(seeds))
    return {seed: sum(place >= border for border in borders) for place, seed in enumerate(seeds)}


def _cut_shares(model: TextModel, captions: Sequence[Caption]) -> dict[str, float]:
    """Of each kind of caption the share of which the encoder does not see the end."""
    shares = {}
    for kind in WRITERS:
        texts = [caption.text for caption in captions if caption.kind == kind]
        ends = [max((span[1] for span in model.spans(text) if span is not None), default=0) for text in texts]
        cut = [end < len(text.rstrip(" .!?")) for end, text in zip(ends, texts, strict=True)]
        shares[kind] = sum(cut) / len(cut)
    return shares


def _row(
    task: str, examples: Sequence[Example], captions: Sequence[Caption], parts: Mapping[int, int], states: WordStates
) -> dict[str, Any]:
    seen = [all(span in states[e.caption] for span in e.spans) for e in examples]
    part_of = [parts[captions[e.caption].seed] for e in examples]
    used = [[e for e, s, p in zip(examples, seen, part_of, strict=True) if s and p == part] for part in range(3)]
    test = [(e, s) for e, s, p in zip(examples, seen, part_of, strict=True) if p == 2]
    clusters = [str(captions[e.caption].seed) for e, _ in test]
    right = [0.0] * len(test)
    dev_accuracy = 0.0
    if all(used):
        inputs = [torch.stack([_features(e, states) for e in part]) for part in used]
        fitted = fit(inputs[0], [e.label for e in used[0]], inputs[1], [e.label for e in used[1]])
        predicted = iter(fitted.predict(inputs[2]))
        right = [float(s and next(predicted) == e.label) for e, s in test]
        dev_accuracy = fitted.accuracy
    of_seen = [(value, cluster) for value, cluster, (_, s) in zip(right, clusters, test, strict=True) if s]
    settings = {"n_resamples": N_RESAMPLES, "seed": 0}
    return {
        "task": task,
        "accuracy": asdict(clustered_share(right, clusters, **settings)),
        "accuracy_seen": asdict(clustered_share([v for v, _ in of_seen], [c for _, c in of_seen], **settings)),
        "dev_accuracy": dev_accuracy,
        "seen": len(of_seen) / len(test) if test else None,
        "n_fitted": len(used[0]),
    }


def _features(example: Example, states: WordStates) -> torch.Tensor:
    return torch.cat([states[example.caption][span] for span in example.spans])


def _baselines(
    examples: Sequence[Example], captions: Sequence[Caption], parts: Mapping[int, int]
) -> list[dict[str, Any]]:
    """What no text model is needed for: always the commonest answer, and the nearest word of the asked kind."""
    rows = []
    settings = {"n_resamples": N_RESAMPLES, "seed": 0}
    for kind in WRITERS:
        for task in TASKS:
            own = [e for e in examples if e.task == task and captions[e.caption].kind == kind]
            test = [e for e in own if parts[captions[e.caption].seed] == 2]
            clusters = [str(captions[e.caption].seed) for e in test]
            fitted = Counter(e.label for e in own if parts[captions[e.caption].seed] == 0)
            commonest = fitted.most_common(1)[0][0] if fitted else ""
            answers = {"commonest answer": [commonest] * len(test)}
            if all(e.nearest is not None for e in test):
                answers["nearest word"] = [str(e.nearest) for e in test]
            for name, given in answers.items():
                right = [float(answer == e.label) for answer, e in zip(given, test, strict=True)]
                accuracy = asdict(clustered_share(right, clusters, **settings))
                told = {"accuracy": accuracy, "accuracy_seen": accuracy, "seen": 1.0}
                rows.append({"encoder": name, "captions": kind, "task": task, **told})
    return rows
