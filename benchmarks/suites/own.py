"""Prompts of the user's own, about anything."""

from __future__ import annotations

from benchmarks.suites.suite import Suite, by_category

SUITE = Suite(metrics=("clip_score", "clip_score.chunk_mean"), prompts="", n_prompts=0, group=by_category)
