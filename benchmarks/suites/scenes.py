"""Prompts about drawn scenes, whose pictures can be held against what was asked, fact by fact."""

from benchmarks.suites.suite import Suite, by_category

SUITE = Suite(metrics=("scene_reader", "clip_score"), prompts="scenes", n_prompts=100, group=by_category)
