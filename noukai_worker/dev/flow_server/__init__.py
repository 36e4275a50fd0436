"""A local Noukai: an independent server of the service's protocol, with sample flows, counts and bad manners.

`create_app` makes the ASGI application, `serve` runs it, `running` runs it beside a test, `load_flows` reads a flow
file. The format of flow files and all endpoints are described in docs/flow-server.md.
"""

from .app import create_app
from .errors import FlowFileError, FlowServerError
from .flow_file import load_flows
from .flows import Burst, Chunks, Failure, Flow, Step, Tokens, ToolCall
from .manners import Manner, Order
from .options import Options, pairs
from .server import RunningServer, running, serve

__all__ = [
    "Burst",
    "Chunks",
    "Failure",
    "Flow",
    "FlowFileError",
    "FlowServerError",
    "Manner",
    "Options",
    "Order",
    "RunningServer",
    "Step",
    "Tokens",
    "ToolCall",
    "create_app",
    "load_flows",
    "pairs",
    "running",
    "serve",
]
