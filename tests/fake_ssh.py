"""A server for `ssh` in this process, for what a real one cannot be made to do: fall silent, or break off at a byte."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import contextmanager

import asyncssh


class Behaviour:
    """How the server treats commands; the first `kept` of them run as they should.

    Attributes:
        silent: later commands are taken and never answered.
        breaks_after: bytes of their output after which the connection is cut, without a goodbye.
    """

    def __init__(self, *, kept=0, silent=False, breaks_after=None):
        self.kept, self.silent, self.breaks_after = kept, silent, breaks_after
        self.commands = 0


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username):  # noqa: ARG002 - anybody may in
        return False


@contextmanager
def server(folder, behaviour):
    """Serve on loopback while the block runs; gives the port."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    found = {}

    async def handle(process):
        behaviour.commands += 1
        spoiled = behaviour.commands > behaviour.kept
        if spoiled and behaviour.silent:
            await asyncio.sleep(1000)
        child = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            process.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folder), "SLIMEDGE_DEVICE": str(folder)},
        )
        given = asyncio.create_task(_forward(process, child))
        sent = 0
        while piece := await child.stdout.read(1 << 14):
            limit = behaviour.breaks_after if spoiled else None
            if limit is not None and sent + len(piece) > limit:
                process.stdout.write(piece[: limit - sent])
                await asyncio.sleep(0.1)
                process.get_extra_info("connection").abort()
                child.stdin.close()
                break
            process.stdout.write(piece)
            sent += len(piece)
        await child.wait()
        given.cancel()
        process.exit(child.returncode)

    async def _forward(process, child):
        try:
            while piece := await process.stdin.read(1 << 14):
                child.stdin.write(piece)
                await child.stdin.drain()
        finally:  # as a real server does, also where the connection is lost
            child.stdin.close()

    async def serve():
        listener = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=_Server,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=handle,
            encoding=None,
        )
        found["port"] = listener.get_port()
        started.set()

    def run():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield found["port"]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
