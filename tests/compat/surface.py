"""The public face of whichever `noukai_sdk` is installed, as JSON: names, signatures, fields, families of classes."""

from __future__ import annotations

import enum
import importlib
import inspect
from typing import Any

import noukai_sdk

#: What is offered beside the package's own names (WIRE.md 6.1).
_ROOMS = {
    "adapters.fastapi": ("NoukaiTraceMiddleware",),
    "adapters.flask": ("init_noukai_trace",),
    "adapters.relay": (
        "DEFAULT_MAX_BODY_BYTES",
        "DEFAULT_MAX_MESSAGES",
        "DEFAULT_RELAY_PATH",
        "RelayBounds",
        "flow_relay_blueprint",
        "mount_flow_relay",
    ),
}
#: Nobody else constructs these.
_MADE_BY_CLIENTS = {(side + kind, "__init__") for side in ("", "Async") for kind in ("Flow", "Job", "Run")}
#: What every class has.
_COMMON = {*dir(object), *dir(enum.Enum), *dir(Exception)}


def surface() -> dict[str, Any]:
    """Everything that code which was written for the package may rely on."""
    classes = {name: value for name in noukai_sdk.__all__ if inspect.isclass(value := getattr(noukai_sdk, name))}
    functions = {name: value for name in noukai_sdk.__all__ if inspect.isfunction(value := getattr(noukai_sdk, name))}
    models = {name: kind for name, kind in classes.items() if hasattr(kind, "model_fields")}
    return {
        "names": sorted(noukai_sdk.__all__),
        "rooms": {f"{room}.{name}": _offer(room, name) for room, names in _ROOMS.items() for name in names},
        "members": {name: _members(kind) for name, kind in classes.items()},
        "fields": {name: _fields(kind) for name, kind in models.items()},
        "families": {name: _family(kind) for name, kind in classes.items()},
        "signatures": {
            **{name: _signature(function) for name, function in functions.items()},
            **{
                f"{name}.{method}": _signature(getattr(kind, method))
                for name, kind in classes.items()
                if name not in models
                for method in ("__init__", *_members(kind))
                if inspect.isfunction(getattr(kind, method, None)) and (name, method) not in _MADE_BY_CLIENTS
            },
        },
    }


def _offer(room: str, name: str) -> Any:
    """A constant's value, or how something is called."""
    offered = getattr(importlib.import_module(f"noukai_sdk.{room}"), name)
    if inspect.isclass(offered):
        return _signature(offered.__init__)
    return _signature(offered) if inspect.isfunction(offered) else offered


def _family(kind: type) -> list[str]:
    """The class and those it can be caught or tested as."""
    return [base.__name__ for base in kind.__mro__ if not base.__name__.startswith("_")]


def _members(kind: type) -> list[str]:
    own = {name for base in kind.__mro__ if base.__module__.startswith("noukai_sdk") for name in vars(base)}
    return sorted(name for name in own - _COMMON if not name.startswith(("_", "model_")))


def _fields(model: Any) -> dict[str, str]:
    """Each field and its name on the wire."""
    return {name: field.alias or name for name, field in model.model_fields.items()}


def _signature(function: Any) -> dict[str, list[str]]:
    """Each parameter but self, with its kind and its default; whether it must be awaited."""
    parameters = list(inspect.signature(function).parameters.values())
    told = {
        parameter.name: [
            parameter.kind.name,
            "required" if parameter.default is parameter.empty else repr(parameter.default),
        ]
        for parameter in parameters
        if parameter.name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    return told | {"(awaited)": [str(inspect.iscoroutinefunction(function))]}
