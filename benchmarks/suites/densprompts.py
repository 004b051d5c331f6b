"""DensePrompts: 7,000 long prompts, most of them longer than a CLIP text encoder reads."""

from benchmarks.suites.suite import Suite, by_category

SUITE = Suite(metrics=("clip_score",), prompts="densprompts", n_prompts=7000, group=by_category)
