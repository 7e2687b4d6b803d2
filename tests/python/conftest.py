"""Settings that every Python test shares: two threads, fixed seeds, and hypothesis without a clock or a database."""

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("suite", deadline=None, database=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile(
    "mutants", hypothesis.settings.get_profile("suite"), phases=[hypothesis.Phase.generate], report_multiple_bugs=False
)
hypothesis.settings.load_profile("suite")
torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240601)


@pytest.fixture
def one_thread():
    """For thousands of tiny calls, which wake a second thread in vain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
