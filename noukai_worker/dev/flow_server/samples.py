"""The flows that are always there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .flow_file import load_flows
from .flows import Flow, Step
from .load_flow import LoadFlow

_LOAD = LoadFlow(path="acme/demo/load", steps=(Step(id="load-1"),))

#: By path.
SAMPLES: Mapping[str, Flow] = {**load_flows(Path(__file__).with_name("samples.toml")), _LOAD.path: _LOAD}
