"""How the operators meet torch's dispatcher: autograd kernels, autocast, vmap, and errors through the stable ABI."""

from __future__ import annotations

import functools
import re
import threading

import torch
from torch import Tensor
from torch._C import (
    DispatchKey,
    _are_functorch_transforms_active,
    _AutoDispatchBelowAutograd,
    _dispatch_tls_is_dispatch_key_excluded,
    _dispatch_tls_set_dispatch_key_excluded,
    is_grad_enabled,
)
from torch._C._functorch import unwrap_if_dead
from torch._functorch.autograd_function import enable_single_level_autograd_function
from torch.autograd import Function, forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled, unpack_dual
from torch.compiler import is_compiling

from . import _library  # noqa: F401  (the operators must be loaded first)
from .problem import DTYPES

library_part = torch.library.Library("flashfftconv", "IMPL")

_AUTOGRAD = DispatchKey.AutogradFunctionality

forward_mode_enabled = _set_fwd_grad_enabled


def check_devices(*tensors: Tensor | None) -> None:
    """Raises RuntimeError unless all tensors are on one device."""
    devices = {t.device for t in tensors if t is not None}
    if len(devices) > 1:
        raise RuntimeError(f"tensors are on {', '.join(sorted(map(str, devices)))}; they must be on one device")


# ---- errors

_errors = threading.local()


def keeping_errors(kernel):
    """The kernel, which leaves an exception it ends with to `last_error`: C++, which calls it, cannot hand that on."""

    @functools.wraps(kernel)
    def keeping(*args):
        try:
            return kernel(*args)
        except Exception as error:
            _errors.last = error
            raise

    return keeping


def last_error() -> Exception:
    """What a kernel ended with in this thread; it is forgotten then."""
    error, _errors.last = _errors.last, None
    return error


def raise_cause(error: RuntimeError, device: torch.device) -> None:
    """Raises torch's own error where an operator found no memory, or where one that Python implements failed.

    Through the stable ABI neither type nor text of an exception comes.
    """
    failed = re.search(r"no memory for (\d+) bytes|_by_(fft|torch) failed", str(error))
    if not failed:
        return
    if not failed[1]:
        raise last_error() from None
    torch.empty(int(failed[1]), dtype=torch.uint8, device=device)
    raise torch.OutOfMemoryError(str(error)) from None  # others freed some in the meantime


# ---- autograd


def differentiates(args) -> bool:
    """Whether anything would use the autograd node, which costs some 20 microseconds."""
    if forward_ad._current_level >= 0 or _are_functorch_transforms_active():
        return True
    if is_grad_enabled():
        for a in args:  # any() of a generator takes twice as long
            if isinstance(a, Tensor) and a.requires_grad:
                return True
    return False


def below_autograd(operator, args):
    """The operator's kernel, or the next level of torch.func, which may differentiate too; Function switches it off."""
    try:
        with _AutoDispatchBelowAutograd():
            if not _are_functorch_transforms_active():
                return operator(*args)
            with torch.enable_grad(), _set_fwd_grad_enabled(True):
                return operator(*args)
    except RuntimeError as error:
        raise_cause(error, args[0].device)
        raise


def kernel_checks(u: Tensor) -> bool:
    """Whether an operator called with such a tensor comes to a kernel in C++ with the arguments as they are.

    Those check them. While something traces or transforms, and on devices without a kernel, nothing would.
    """
    return type(u) is Tensor and (u.is_cuda or u.is_cpu) and not (is_compiling() or _are_functorch_transforms_active())


def call(operator, args):
    """The operator, past its autograd kernel, which is Python and takes 3 microseconds, where that would do nothing."""
    try:
        if is_compiling() or differentiates(args):
            return operator(*args)
        # As _AutoDispatchBelowAutograd, whose object takes twice as long to make and to leave.
        was_below = _dispatch_tls_is_dispatch_key_excluded(_AUTOGRAD)
        _dispatch_tls_set_dispatch_key_excluded(_AUTOGRAD, True)
        try:
            # What its __call__ calls, which looks for keywords and takes up to a microsecond.
            return getattr(operator, "_op", operator)(*args)
        finally:
            _dispatch_tls_set_dispatch_key_excluded(_AUTOGRAD, was_below)
    except RuntimeError as error:
        raise_cause(error, args[0].device)
        raise


def autograd_kernel(function: type[Function]):
    """The autograd kernel of an operator: one level of differentiation.

    `Function.apply` would ask for the signature of `forward`, 10 microseconds a call, although the dispatcher has
    filled in every argument. Inside torch.func transforms it would peel the levels apart, which the dispatcher has
    done too, as for torch's own operators. What it calls in the end is called here.
    """
    apply = super(Function, function).apply

    def kernel(*args):
        if _are_functorch_transforms_active():
            with enable_single_level_autograd_function():
                return apply(*args)
        if not differentiates(args):
            return function.forward(*args)
        # As torch's unwrap_dead_wrappers, whose generator takes twice as long.
        return apply(*[unwrap_if_dead(a) if isinstance(a, Tensor) else a for a in args])

    return kernel


def primals(tensors) -> list[Tensor | None]:
    """The tensors without their tangents."""
    return [None if t is None else unpack_dual(t).primal for t in tensors]


def add(*terms: Tensor | None) -> Tensor | None:
    """The sum of the terms that are there; None if none is."""
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


# ---- autocast


def follow_autocast(rows: Tensor, *others: Tensor | None) -> tuple[Tensor | None, ...]:
    """Rows and others like them in the dtype that autocast asks for; float64 rows keep theirs. Else as they are."""
    if not torch.is_autocast_enabled(rows.device.type):
        return rows, *others
    dtype = rows.dtype if rows.dtype == torch.float64 else torch.get_autocast_dtype(rows.device.type)
    # Integers and the like stay what they are, and are refused.
    return tuple(t if t is None or t.dtype not in DTYPES else t.to(dtype) for t in (rows, *others))


def autocast_kernel(operator, like_rows: tuple[int, ...], key: str):
    """The autocast kernel: the first argument and those at `like_rows` follow autocast, the others are left alone."""
    own_key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def kernel(*args):
        changed = list(args)
        positions = (0, *like_rows)
        for i, t in zip(positions, follow_autocast(*(args[i] for i in positions)), strict=True):
            changed[i] = t
        with torch._C._ExcludeDispatchKeyGuard(own_key):
            return operator(*changed)

    return kernel


# ---- vmap: the mapped dimension joins the batch, or the channels where each map has its own filter or filter gradient


def fold_batch(t: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    """Rows [V, B, ..] -> [V B, ..]."""
    if t is None:
        return None
    t = t.unsqueeze(0).expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
    return t.flatten(0, 1)


def fold_channels(t: Tensor | None, dim: int | None, size: int, channels: int, groups: int = 1) -> Tensor | None:
    """The mapped dimension in front of the channels, which lie at `channels` without it; in each of their groups."""
    if t is None:
        return None
    t = t.unsqueeze(0).expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
    return t.unflatten(channels + 1, (groups, -1)).movedim(0, channels + 1).flatten(channels, channels + 2)


def unfold_channels(t: Tensor, size: int, channels: int, groups: int = 1) -> Tensor:
    """The way back; the mapped dimension comes to the front."""
    return t.unflatten(channels, (groups, size, -1)).movedim(channels + 1, 0).flatten(channels + 1, channels + 2)
