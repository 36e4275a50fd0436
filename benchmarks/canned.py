"""An upstream that costs next to nothing: answers every `/step` with the same bytes, frame by frame, all streams in turn.

Every `/execute` gets the same result, after `--delay` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json


def frames(events: int, size: int) -> list[bytes]:
    """One step with `events` partial outputs; each payload has about `size` bytes."""

    def frame(kind: str, **data: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()

    pad = "x" * max(0, size - len(frame("", stepId="write", outputData="")) + len("event: \ndata: \n\n"))
    return [
        frame("run_started", executionId="e", flowId="f", stepCount=1)
        + frame("step_started", stepId="write", stepIndex=0),
        *[frame("step_output", stepId="write", outputData=pad)] * events,
        frame("step_completed", stepId="write", stepIndex=0, output="done")
        + frame("flow_completed", executionId="e", result="done"),
    ]


_RESULT = b'{"status":"completed","result":"done","flowId":"f","blockCount":1,"executionId":"e"}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_RESULT), _RESULT)


async def serve(port: int, events: int, size: int, interval: float, delay: float) -> None:
    canned = [f"{len(frame):x}\r\n".encode() + frame + b"\r\n" for frame in frames(events, size)]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                length = request.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                if request.partition(b"\r\n")[0].endswith(b"/execute HTTP/1.1"):
                    await asyncio.sleep(delay)
                    writer.write(_ANSWER)
                    continue
                writer.write(head)
                for chunk in canned:
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(interval)
                writer.write(b"0\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, ["127.0.0.1", "::1"], port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--size", type=int, default=180)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between the events of a stream")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds until the result of an execution")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.events, options.size, options.interval, options.delay))
