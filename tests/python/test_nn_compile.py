"""The layers of flashfftconv.nn under torch.compile: one graph, the same values and gradients."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from flashfftconv.nn import LongConv, LongConvClassifier

LAYERS = {
    "plain": {},
    "squash and smoothing": {"lam": 0.001, "smooth": "average", "smooth_width": 3},
    "gaussian smoothing": {"lam": 0.001, "smooth": "gaussian", "smooth_width": 5},
    "bidirectional heads": {"heads": 2, "bidirectional": True, "init": "geometric"},
    "as safari": {"bidirectional": True, "safari_compat": True},
    "channels last": {"transposed": False, "activation": "silu", "post_act": None},
    "weight norm": {"weight_norm": True},
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_same(compiled, model, u):
    """Values, and the gradients of the input and of every parameter."""
    u.requires_grad_()
    tensors = [u, *model.parameters()]
    results = [function(u) for function in (compiled, model)]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    ours, exact = (torch.autograd.grad(y.sin().sum(), tensors) for y in results)
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_is_one_graph_for_every_batch_and_length(options, training):
    layer, counter = LongConv(4, 60, **options).train(training), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=counter)
    counts = []
    for batch, length in [(2, 50), (3, 50), (5, 37), (2, 59)]:
        shape = (batch, 4, length) if layer.transposed else (batch, length, 4)
        check_same(compiled, layer, torch.randn(shape))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"{counts} compilations so far, at each shape of one dynamic shape"


def test_a_layer_with_dropout_is_one_graph_too():
    layer = LongConv(4, 60, filter_dropout=0.2, dropout=0.1, tied_dropout=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    y = compiled(torch.randn(2, 4, 50))
    assert y.shape == (2, 4, 50) and bool(y.isfinite().all())
    layer.eval()
    check_same(compiled, layer, torch.randn(2, 4, 50))


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_the_classifier_by_inductor(norm):
    model = LongConvClassifier(d_model=6, n_layers=2, l_max=60, norm=norm, layer={"lam": 0.001}).eval()
    check_same(torch.compile(model, fullgraph=True), model, torch.randn(2, 60, 1))


def test_a_compiled_training_step_follows_the_plain_one():
    models = [LongConvClassifier(d_model=6, n_layers=1, l_max=60) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    sequences, classes = torch.randn(8, 60, 1), torch.randint(10, (8,))
    losses = []
    for model, run in zip(
        models, (models[0], torch.compile(models[1], fullgraph=True, backend="aot_eager")), strict=True
    ):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses.append([])
        for _ in range(5):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(run(sequences), classes)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][-1] < losses[0][0]
