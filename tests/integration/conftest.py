"""Two workers share this folder, a file at a time: the longest files first, so that neither waits long at the end."""

import pytest

LONGEST_FIRST = (
    "test_demo",
    "test_training",
    "test_engines",
    "test_bench_engine",
    "test_compbench",
    "test_ray",
    "test_detectors",
    "test_densprompts",
    "test_densprompts_llm",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are handed out."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
