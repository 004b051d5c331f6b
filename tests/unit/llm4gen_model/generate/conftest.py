import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_collections() -> Iterator[None]:
    """A run collects garbage between models; what was imported before the tests is not looked through each time."""
    import llm4gen_model.generate.run  # noqa: F401

    gc.freeze()
    yield
    gc.unfreeze()
