"""This room is for tests of code that uses the SDK: a scripted server without a network, and a local Noukai.

from noukai_sdk.testing import Exchange, ScriptedTransport, sse

script = ScriptedTransport([Exchange.stream(sse("flow_completed", result="Hello"))])
with script.client() as client:
    print([event.event_type for event in client.flow("acme/demo/greet").events("hi")])
script.assert_done()

`pytest_plugin` beside this file holds fixtures that start the local Noukai; `flow_server` does so without pytest.
"""

from noukai_sdk.testing._flow_server import FlowServer, FlowServerFailed, flow_server
from noukai_sdk.testing._script import Exchange, ScriptedTransport
from noukai_sdk.testing._wire import FailureKind, Stall, failure, sse

__all__ = [
    "Exchange",
    "FailureKind",
    "FlowServer",
    "FlowServerFailed",
    "ScriptedTransport",
    "Stall",
    "failure",
    "flow_server",
    "sse",
]
