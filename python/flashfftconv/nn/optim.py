"""Which parameters learn at which rate."""

from __future__ import annotations

from typing import Any

from torch import nn

from .long_conv import LongConv
from .long_filter import LongFilter


def parameter_groups(model: nn.Module, lr: float, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer.

    Long filters learn at their layer's `filter_lr` (or `lr`) without weight decay, as arXiv 2302.06646 trains them;
    those outside of `LongConv` layers at `lr`.
    Of the rest, matrices decay; vectors (biases, norms) and the skip weights do not.

    Parameters
    ----------
    model : nn.Module
        Any module; `LongConv` layers and `LongFilter` banks are found wherever they are in it.
    lr, weight_decay : float
        For all parameters but the filters.

    Returns
    -------
    list of dict
        Groups with the keys name, params, lr and weight_decay; every trainable parameter is in exactly one.
    """
    filters: dict[float, list[nn.Parameter]] = {}
    own_rule: set[int] = set()
    undecayed: list[nn.Parameter] = []
    for module in model.modules():
        if isinstance(module, LongConv):
            rate = lr if module.filter_lr is None else module.filter_lr
            for bank in module.filters():
                if bank.weight.requires_grad and id(bank.weight) not in own_rule:
                    filters.setdefault(rate, []).append(bank.weight)
                    own_rule.add(id(bank.weight))
    for module in model.modules():
        if isinstance(module, LongFilter) and module.weight.requires_grad and id(module.weight) not in own_rule:
            filters.setdefault(lr, []).append(module.weight)
            own_rule.add(id(module.weight))
    decayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if id(parameter) in own_rule or not parameter.requires_grad:
            continue
        is_matrix = parameter.dim() >= 2 and not name.endswith("skip")
        (decayed if is_matrix else undecayed).append(parameter)
    groups = [
        {"name": f"filter_{i}" if i else "filter", "params": banks, "lr": rate, "weight_decay": 0.0}
        for i, (rate, banks) in enumerate(filters.items())
    ]
    groups.append({"name": "matrices", "params": decayed, "lr": lr, "weight_decay": weight_decay})
    groups.append({"name": "vectors", "params": undecayed, "lr": lr, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
