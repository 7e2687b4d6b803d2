"""Distributed data parallel over gloo: two CPU processes train as one would."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import start_processes

from flashfftconv import FlashFFTConv, long_conv

PROCESSES, BATCH, CHANNELS, LENGTH = 2, 6, 3, 64


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.k = nn.Parameter(torch.randn(CHANNELS, LENGTH) / 8)
        self.skip = nn.Parameter(torch.randn(CHANNELS))
        self.gate = nn.Parameter(torch.randn(CHANNELS, 1))
        self.conv = FlashFFTConv(2 * LENGTH, dtype=torch.float32)

    def forward(self, u):
        y = long_conv(u, self.k, pregate=torch.sigmoid(self.gate * u), skip=self.skip)
        return self.conv(y, self.k)


def data() -> torch.Tensor:
    return torch.randn(BATCH, CHANNELS, LENGTH, generator=torch.Generator().manual_seed(3))


def train(model: nn.Module, rows: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(rows).square().mean().backward()
        optimizer.step()


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES)
    model = Model()
    train(nn.parallel.DistributedDataParallel(model), data().chunk(PROCESSES)[rank])
    torch.save(model.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    # From a fork server, since its children end without finalizing Python: gloo's thread may still drop its last
    # work then, asks for the interpreter's lock, and is ended by it inside a destructor, which aborts the process.
    start_processes(work, (str(tmp_path),), nprocs=PROCESSES, start_method="forkserver")
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    alone = Model()
    start = {name: t.clone() for name, t in alone.state_dict().items()}
    train(alone, data())
    for name, expected in alone.state_dict().items():
        assert torch.equal(results[0][name], results[1][name]), f"{name} differs between the processes"
        torch.testing.assert_close(results[0][name], expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(results[0][name], start[name])
