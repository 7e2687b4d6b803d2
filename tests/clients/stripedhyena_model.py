"""Runs a real client, stripedhyena from the package index, with this package behind its `use_flashfft` switch.

    python tests/clients/stripedhyena_model.py [--target DIR]

Builds StripedHyena models of Hyena blocks alone (its attention blocks need flash-attn and a GPU), same weights, one
calling torch.fft and one calling FlashFFTConv; logits and gradients must agree to what bfloat16 rows cost. Needs the
network unless DIR holds the package already; it is no part of the test suite. Exit status 0 if all agree.
"""

import argparse
import subprocess
import sys
import tempfile

import torch

PACKAGES = ["stripedhyena==0.2.2", "einops"]
ALLOWED = 0.02  # relative; the client rounds its rows to bfloat16, 8 bits, before it calls FlashFFTConv


class Config(dict):
    __getattr__ = dict.__getitem__


def config_of(**changed):
    return Config(
        vocab_size=64,
        hidden_size=32,
        num_filters=32,
        num_attention_heads=4,
        num_layers=3,
        attn_layer_idxs=[],
        hyena_layer_idxs=[0, 1, 2],
        short_filter_length=3,
        short_filter_bias=True,
        state_size=4,
        hyena_filter_groups=1,
        seqlen=512,
        eps=1e-5,
        params_dtype=torch.float32,
        mlp_dtype=torch.float32,
        inner_mlp_size=64,
        column_split_hyena=False,
        tie_embeddings=True,
        make_vocab_size_divisible_by=8,
        log_intermediate_values=False,
        proj_groups=1,
        model_parallel_size=1,
        pipe_parallel_size=1,
        inner_size_multiple_of=8,
        use_flash_rmsnorm=False,
        mlp_activation="gelu",
        **changed,
    )


def run(model, tokens):
    model.zero_grad()
    logits, _ = model(tokens)
    logits.float().square().mean().backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def relative(a, b):
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


def compare(length, **switches):
    from stripedhyena.model import StripedHyena

    torch.manual_seed(0)
    theirs = StripedHyena(config_of(use_flashfft=False))
    ours = StripedHyena(config_of(use_flashfft=True, **switches))
    for block in theirs.blocks:  # decaying modes, as trained filters have
        with torch.no_grad():
            block.filter.poles[..., 0].uniform_(0.5, 0.97)
            block.filter.residues.mul_(0.1)
    ours.load_state_dict(theirs.state_dict(), strict=not switches)
    if switches:
        for mine, other in zip(ours.blocks, theirs.blocks, strict=True):
            with torch.no_grad():
                mine.filter.fir_fn.weights.copy_(other.filter.short_filter_weight.view_as(mine.filter.fir_fn.weights))
                mine.filter.fir_fn.bias.copy_(other.filter.short_filter_bias)
    calls = []
    ours.flash_fft.register_forward_hook(lambda *_: calls.append(1))
    tokens = torch.randint(64, (2, length))
    (logits, grads), (expected, expected_grads) = run(ours, tokens), run(theirs, tokens)
    worst = max((relative(grads[n], expected_grads[n]) for n in grads if n in expected_grads), default=0.0)
    differ = relative(logits, expected)
    print(f"L={length} {switches or ''}: FlashFFTConv called {len(calls)} times")
    print(f"  logits differ {differ:.2g}, gradients at most {worst:.2g}; allowed {ALLOWED}")
    return bool(calls) == (length % 2 == 0) and differ <= ALLOWED and worst <= ALLOWED


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", help="folder that holds the client, or receives it")
    target = parser.parse_args().target
    with tempfile.TemporaryDirectory() as temporary:
        sys.path.append(target or temporary)
        try:
            import stripedhyena  # noqa: F401
        except ImportError:
            folder = target or temporary
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *PACKAGES], check=True
            )
        good = [compare(length) for length in (256, 100, 2, 33)]  # at most half of seqlen: circular is causal
        import flashfftconv

        if hasattr(flashfftconv, "FlashDepthwiseConv1d"):
            good.append(compare(256, use_flash_depthwise=True, depthwise_dtype=torch.float32))
        else:
            print("FlashDepthwiseConv1d: not in this build, left out")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
