"""Command-line options made from the fields of TrainConfig, so that each is described once."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Optional

import typer

from flashfftconv.train import TrainConfig

# How a command line says "no value" for an option that takes text.
NO_VALUE = "none"


def with_config_options(*left_out: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the command's parameter `given` becomes one option per field of TrainConfig, except `left_out`.

    The command receives in `given` only the options that the user wrote, as a dict.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        hints = typing.get_type_hints(TrainConfig)
        options = {f.name: option_for(f, hints[f.name]) for f in fields(TrainConfig) if f.name not in left_out}

        def wrapped(**arguments: Any) -> Any:
            written = {name: arguments.pop(name) for name in options}
            given = {name: value for name, value in written.items() if value is not None}
            for name, value in given.items():
                if value == NO_VALUE and is_optional(hints[name]):
                    given[name] = None
            return command(**arguments, given=given)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        wrapped.__signature__ = inspect.Signature([*own, *options.values()])
        wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *options.values()]}
        wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
        return wrapped

    return decorate


def option_for(config_field: Field, hint: Any) -> inspect.Parameter:
    """The option of one field; its value is None where the user did not write it."""
    default = config_field.default
    assert default is not MISSING, f"{config_field.name} needs a default"
    shown = NO_VALUE if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    text = f"{config_field.metadata['help']} (default: {shown})"
    plain = next(a for a in typing.get_args(hint) if a is not types.NoneType) if is_optional(hint) else hint
    annotation = Annotated[
        Optional[plain],  # noqa: UP045  (plain is a run-time value, which `|` does not take on all versions)
        typer.Option(help=text, show_default=False, rich_help_panel="Model and training"),
    ]
    return inspect.Parameter(config_field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def is_optional(hint: Any) -> bool:
    """Whether None is among the values that a type hint allows."""
    return types.NoneType in typing.get_args(hint)


def make_config(given: dict[str, Any], saved: dict[str, Any] | None = None) -> TrainConfig:
    """The configuration that the user wrote, over that of a checkpoint if there is one, over the defaults.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """
    # What another version saved and this one does not know is left to the check of the checkpoint, which names it.
    known = {f.name for f in fields(TrainConfig)}
    return TrainConfig(**{name: value for name, value in (saved or {}).items() if name in known} | given)
