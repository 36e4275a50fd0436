"""This room does all the I/O: it drives conversations, which yield effects, with a sync or an async httpx client.

`run` and `arun` drive a call to its result; `Batches` and `AsyncBatches` drive a stream, batch by batch.
"""

from noukai_sdk._drive.calls import arun, run
from noukai_sdk._drive.streams import AsyncBatches, Batches

__all__ = ["AsyncBatches", "Batches", "arun", "run"]
