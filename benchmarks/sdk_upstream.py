"""An upstream that costs next to nothing, for `benchmarks.sdk`: what it answers is in the flow's name.

burst           2,000 events, many to a packet, each an HTTP chunk of its own
lone            2,000 events, each in a packet of its own
frame-N         one step_output of N megabytes, in pieces of 16 KB
echo, wait      /execute: at once, and after 0.2 s
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json

EVENTS = 2000
_PIECE = 16 * 1024
_PACKET = 64 * 1024
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_RESULT = b'{"status":"completed","result":"done","flowId":"f","blockCount":1,"executionId":"e"}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_RESULT), _RESULT)


def _frame(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(members, separators=(',', ':'))}\n\n".encode()


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def _joined(chunks: list[bytes], size: int) -> list[bytes]:
    whole = b"".join(chunks)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


@functools.cache
def packets(flow: str) -> list[bytes]:
    """The answer to a /step of `flow`, as it is written."""
    first = _frame("run_started", executionId="e", flowId="f", stepCount=1) + _frame("step_started", stepId="s")
    last = _frame("step_completed", stepId="s", output="done") + _frame(
        "flow_completed", executionId="e", result="done"
    )
    if flow.startswith("frame-"):
        large = _frame("step_output", stepId="s", outputData="x" * (int(flow.removeprefix("frame-")) * 1_000_000))
        pieces = [first, *(large[start : start + _PIECE] for start in range(0, len(large), _PIECE)), last]
        return [_HEAD, *map(_chunk, pieces), b"0\r\n\r\n"]
    chunks = [first, *[_frame("step_output", stepId="s", outputData="x" * 140)] * EVENTS, last]
    chunks = [*map(_chunk, chunks), b"0\r\n\r\n"]
    return [_HEAD, *(chunks if flow == "lone" else _joined(chunks, _PACKET))]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            *_, flow, call = head.split(b" ", 2)[1].decode().split("/")
            if call == "execute":
                await asyncio.sleep(0.2 if flow == "wait" else 0)
                writer.write(_ANSWER)
                continue
            for packet in packets(flow):
                writer.write(packet)
                await writer.drain()
                await asyncio.sleep(0)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, ["127.0.0.1", "::1"], port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))
