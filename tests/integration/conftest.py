"""Two workers share this folder: one takes all tests that start vLLM, one engine at a time, the other the rest."""

import pytest

# the longest first: what is started last decides when all are through
STARTS_VLLM = ("test_demo", "test_engines", "test_densprompts_llm", "test_vllm_vqa", "test_ray")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def module(item: pytest.Item) -> str:
        return item.path.stem

    items.sort(key=lambda item: module(item) not in STARTS_VLLM)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("vllm" if module(item) in STARTS_VLLM else module(item)))
