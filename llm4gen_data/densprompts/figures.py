"""Figures of a prompt set: lengths, quotas, colors, questions, and how varied its language is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from llm4gen_data.densprompts.build import DensePrompt
from llm4gen_data.densprompts.clip_tokens import token_figures
from llm4gen_data.densprompts.diversity import diversity
from llm4gen_data.densprompts.spec import skill_counts
from llm4gen_data.densprompts.taxonomy import SKILLS

BIN_WORDS = 10
BASIC_COLORS = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")


def figures(made: Sequence[DensePrompt]) -> dict[str, Any]:
    """Counts by category, skill and length, words a prompt, colors, questions, twins and variety, as JSON values."""
    prompts = [dense.prompt.prompt for dense in made]
    lengths = [dense.prompt.n_words for dense in made]
    asked = [skill_counts(dense.spec) for dense in made]
    return {
        "categories": _counts(dense.spec.category for dense in made),
        "skills": _counts(dense.spec.skill for dense in made),
        "lengths": _counts(dense.spec.length for dense in made),
        "cells": _counts(f"{dense.spec.category} / {dense.spec.skill}" for dense in made),
        "skill_shares": {skill: round(fmean(skill in counts for counts in asked), 4) for skill in SKILLS},
        "words": {
            "mean": round(fmean(lengths), 1),
            "deviation": round(pstdev(lengths), 1),
            "median": median(lengths),
            "min": min(lengths),
            "max": max(lengths),
        },
        "histogram": {
            f"{low}-{low + BIN_WORDS - 1}": sum(low <= n < low + BIN_WORDS for n in lengths)
            for low in range(min(lengths) // BIN_WORDS * BIN_WORDS, max(lengths) + 1, BIN_WORDS)
        },
        "clip_tokens": token_figures(prompts, None),
        "n_entities": _counts(str(len(dense.spec.entities)) for dense in made),
        "n_questions": sum(len(dense.questions) for dense in made),
        "question_kinds": _counts(question.kind for dense in made for question in dense.questions),
        "question_skills": _counts(question.skill for dense in made for question in dense.questions),
        "n_twins": sum(len(dense.twins) for dense in made),
        "twin_kinds": _counts(twin.kind for dense in made for twin in dense.twins),
        "distinct_nouns": len({entity.noun for dense in made for entity in dense.spec.entities}),
        "distinct_settings": len({dense.spec.setting for dense in made}),
        "diversity": diversity(prompts),
        "similarity": {
            "median": round(median(dense.similarity for dense in made), 3),
            "max": round(max(dense.similarity for dense in made), 3),
        },
        "plans": plan_shares([dense.plans for dense in made]),
        "color_shares": _color_shares(prompts),
    }


def plan_shares(plans: Sequence[Sequence[str]]) -> dict[str, Any]:
    """How many sentences there are, and the share of them that each plan wrote, the commonest first."""
    counts = Counter(plan for of_prompt in plans for plan in of_prompt)
    total = max(1, counts.total())
    shares = {plan: round(n / total, 4) for plan, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
    return {"n_sentences": counts.total(), "n_plans": len(counts), "shares": shares}


def _color_shares(prompts: Sequence[str]) -> dict[str, float]:
    """The share of prompts that hold the word for each basic color."""
    patterns = {color: re.compile(rf"\b{color}\b", re.IGNORECASE) for color in BASIC_COLORS}
    return {
        color: round(fmean(pattern.search(prompt) is not None for prompt in prompts), 4)
        for color, pattern in patterns.items()
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
