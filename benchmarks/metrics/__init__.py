"""Metrics of the evaluator, one file each."""
