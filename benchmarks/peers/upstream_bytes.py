"""What a user would write with the published SDK: step by step, which sends all outputs so far with each step.

Runs in an environment of its own; stops when the flow has ended.
"""

from __future__ import annotations

import sys

from noukai_sdk import Noukai

if __name__ == "__main__":
    with Noukai("nk_test_benchmark", env="dev") as client:
        for _ in client.flow(sys.argv[1]).events(message="x"):
            pass
