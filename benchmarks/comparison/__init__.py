"""Finished runs against each other: two side by side, or the models of many in one ranking."""
