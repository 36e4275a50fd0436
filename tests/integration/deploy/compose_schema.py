"""The part of the Compose specification that docker-compose.yml uses, as JSON schema: names that are not in it are mistakes."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "minLength": 1}
_WORDS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_DURATION = {"type": "string", "pattern": r"^(\d+(\.\d+)?(us|ms|s|m|h))+$"}
_NAME = r"^[a-zA-Z0-9._-]+$"

_HEALTHCHECK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["test"],
    "properties": {
        "test": {
            "oneOf": [
                {"type": "array", "prefixItems": [{"const": "CMD"}], "items": _TEXT, "minItems": 2},
                {
                    "type": "array",
                    "prefixItems": [{"const": "CMD-SHELL"}],
                    "items": _TEXT,
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        },
        "interval": _DURATION,
        "timeout": _DURATION,
        "start_period": _DURATION,
        "retries": {"type": "integer", "minimum": 1},
    },
}

_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["image"]}, {"required": ["build"]}],
    "properties": {
        "image": _TEXT,
        "build": _TEXT,
        "init": {"type": "boolean"},
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "entrypoint": _WORDS,
        "command": _WORDS,
        "environment": {
            "type": "object",
            "propertyNames": {"pattern": r"^[A-Z][A-Z0-9_]*$"},
            "additionalProperties": {"type": ["string", "number", "null"]},
        },
        "ports": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^(\d+\.\d+\.\d+\.\d+:)?(\d+|\$\{[A-Z_]+:-\d+\}):\d+$"},
            "uniqueItems": True,
        },
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[a-zA-Z0-9._-]+:/[^:]*$"}},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["condition"],
                "properties": {
                    "condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}
                },
            },
        },
        "stop_grace_period": _DURATION,
        "healthcheck": _HEALTHCHECK,
    },
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "patternProperties": {_NAME: _SERVICE}, "additionalProperties": False},
        "volumes": {
            "type": "object",
            "patternProperties": {_NAME: {"type": ["object", "null"]}},
            "additionalProperties": False,
        },
    },
}
