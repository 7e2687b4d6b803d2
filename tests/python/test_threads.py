"""Several threads and processes at once; and a process group of two that trains one filter."""

import concurrent.futures
import multiprocessing
import os

import pytest
import torch
from torch import nn
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


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.k = nn.Parameter(torch.randn(4, 100, generator=generator) / 10)
        self.skip = nn.Parameter(torch.randn(4, generator=generator))
        self.mix = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.mix.weight)

    def forward(self, u):
        y = long_conv(u, self.k, pregate=u, skip=self.skip)
        return self.mix(torch.relu(y).transpose(1, 2))


def train(model, parts, steps=3):
    """Gradients of the last step, averaged over the parts as data-parallel training does."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (sum(model(u).square().mean() for u in parts) / len(parts)).backward()
        optimizer.step()
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters()}


def batches():
    return torch.randn(2, 3, 4, 100, generator=torch.Generator().manual_seed(9)).unbind(0)


def member(rank, address, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(Model())
    grads = train(model, [batches()[rank]])
    results.put((rank, {name: g.numpy() for name, g in grads.items()}))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_distributed_data_parallel(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    members = [context.Process(target=member, args=(rank, f"file://{tmp_path}/group", results)) for rank in range(2)]
    for process in members:
        process.start()
    collected = dict(results.get(timeout=120) for _ in members)
    for process in members:
        process.join(60)
        assert process.exitcode == 0
    expected = train(Model(), batches())
    assert set(collected[0]) == set(expected)
    for name, gradient in expected.items():
        for rank in range(2):
            torch.testing.assert_close(torch.from_numpy(collected[rank][name]), gradient, rtol=1e-5, atol=1e-6)
