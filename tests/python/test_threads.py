"""Several threads and processes at once."""

import concurrent.futures

import torch
from torch.utils.data import DataLoader, Dataset

from flashfftconv import Filter, long_conv


def test_calls_from_many_python_threads():
    jobs = []
    for i in range(48):
        length, dtype = (60, 700, 1024, 3000)[i % 4], (torch.float32, torch.float64)[i % 2]
        jobs.append(
            (torch.randn(3, 2, length, dtype=dtype, requires_grad=True), torch.randn(2, length, requires_grad=True))
        )

    def work(job):
        y = long_conv(*job, "circular", fft_size=job[0].shape[-1]) + long_conv(*job)
        return (y.detach(), *torch.autograd.grad(y.square().sum(), job))

    expected = [work(job) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for ours, exact in zip(pool.map(work, jobs), expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, exact, strict=True))


def test_one_precomputed_filter_shared_by_threads():
    filter_ = Filter(torch.randn(3, 800)).precompute()
    rows = [torch.randn(2, 3, length) for length in (100, 800, 1500, 333) * 8]
    plain = [long_conv(u, filter_.k) for u in rows]
    with concurrent.futures.ThreadPoolExecutor(8) as pool, torch.no_grad():
        results = list(pool.map(lambda u: long_conv(u, filter_), rows))
    assert all(torch.equal(a, b) for a, b in zip(results, plain, strict=True))


class Convolved(Dataset):
    """Samples that workers convolve, in processes forked after the parent has used its threads."""

    def __init__(self):
        self.u, self.k = torch.randn(6, 1, 3, 2000), torch.randn(3, 2000)

    def __len__(self):
        return len(self.u)

    def __getitem__(self, index):
        return long_conv(self.u[index], self.k)[0]


def test_data_loader_workers():
    data = Convolved()
    expected = torch.stack([data[i] for i in range(len(data))])
    loader = DataLoader(data, batch_size=3, num_workers=1, multiprocessing_context="fork", timeout=60)
    assert torch.equal(torch.cat(list(loader)), expected)
