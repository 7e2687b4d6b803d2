"""The GPU suite, `make test-gpu`: one CUDA device that the engine runs on, with some 40 GB of memory for `slow`."""

import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
