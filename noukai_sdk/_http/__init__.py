"""This room carries requests where the user brings no httpx client: urllib3 for threads, aiohttp for event loops.

Both are httpx transports (`httpx.BaseTransport`), so requests, responses and failures look the same as with a client of
the user's own. They are used instead of httpx's own transport because they cost about half the CPU per call and per
event; `benchmarks/sdk.py` measures that.
"""
