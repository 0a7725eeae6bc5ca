"""FastAPI by uvicorn, asked by httpx: what services in Python tend to be made of.

Usage: fastapi_peer.py serve
         prints its port; then takes each line that it reads for the newest moment.
       fastapi_peer.py WAY PORT
         prints the versions; then, for each line that it reads, measures that way once and prints
         microseconds.
"""
import asyncio
import contextlib
import json
import os
import platform
import socket
import sys
import time

import fastapi
import httpx
import uvicorn
from fastapi.responses import StreamingResponse

answers = os.fdopen(os.dup(1), "w", buffering=1)
kept_open = contextlib.ExitStack()


# ---- the server ----


class Newest:
    """The newest moment, and a wake-up for those who wait for the next one."""

    def __init__(self):
        self.moment = 0
        self.changed = asyncio.Event()

    def put(self, moment):
        self.moment = moment
        self.changed.set()
        self.changed = asyncio.Event()


async def moments_read(newest):
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        newest.put(int(line))
    os._exit(0)  # the benchmark has ended


def application():
    newest = Newest()

    @contextlib.asynccontextmanager
    async def lifespan(_):
        reading = asyncio.create_task(moments_read(newest))
        yield
        reading.cancel()

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health():
        return {"daemon": "peer 0.1.0", "device": "cpu: two cores", "uptime_ms": 123456, "sessions": 1,
                "sessions_max": 64, "jobs_running": 0, "jobs_queued": 0, "jobs_kept": 0, "threads": 2,
                "data_bytes": 0, "data_bytes_max": 10630000000}

    @app.get("/progress")
    async def progress():
        return {"moment": newest.moment}

    @app.get("/events")
    async def events():
        async def stream():
            yield ": here\n\n"
            sent = newest.moment
            while True:
                while newest.moment == sent:
                    await newest.changed.wait()
                sent = newest.moment
                yield f"data: {json.dumps({'moment': sent})}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    return app


def serve():
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], file=answers)
    config = uvicorn.Config(application(), log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


# ---- the client ----


def timed(ask):
    def way():
        start = time.monotonic_ns()
        ask()
        return time.monotonic_ns() - start

    return way


def refused(ask):
    with contextlib.suppress(httpx.ConnectError):
        ask()
        raise SystemExit("the port should have been closed")


def poll(ask):
    """How old the newest moment is when the poll brings it."""
    seen = ask().json()["moment"]

    def way():
        nonlocal seen
        moment = seen
        while moment == seen:
            moment = ask().json()["moment"]
        seen = moment
        return time.monotonic_ns() - moment

    return way


def listen(client):
    """The same for the event that the server sends."""
    stream = client.stream("GET", "/events", timeout=None)
    lines = kept_open.enter_context(stream).iter_lines()
    next(lines)

    def way():
        data = next(line for line in lines if line.startswith("data: "))
        return time.monotonic_ns() - json.loads(data[6:])["moment"]

    return way


def way_of(name, port):
    base = f"http://127.0.0.1:{port}"
    client = httpx.Client(base_url=base)
    ways = {
        "trip-keepalive": lambda: timed(lambda: client.get("/health").json()),
        "trip-newclient": lambda: timed(lambda: httpx.get(f"{base}/health").json()),
        "hop-keepalive": lambda: poll(lambda: client.get("/progress")),
        "hop-newclient": lambda: poll(lambda: httpx.get(f"{base}/progress")),
        "hop-events": lambda: listen(client),
        "absent-keepalive": lambda: timed(lambda: refused(lambda: client.get("/health"))),
        "absent-newclient": lambda: timed(lambda: refused(lambda: httpx.get(f"{base}/health"))),
    }
    return ways[name]()


def measure(name, port):
    way = way_of(name, port)
    print(f"FastAPI {fastapi.__version__}, uvicorn {uvicorn.__version__}, httpx {httpx.__version__}, "
          f"Python {platform.python_version()}", file=answers)
    for _ in sys.stdin:
        print(way() / 1e3, file=answers)


if sys.argv[1] == "serve":
    serve()
else:
    measure(*sys.argv[1:])
