"""Suites: which prompts, which metrics, which groups of prompts a benchmark is made of."""
