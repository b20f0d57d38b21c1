"""``wap serve``: the API on a socket of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import uvicorn

from wap.api.access import Access, is_loopback
from wap.api.app import make_app
from wap.api.limits import Limits
from wap.api.ports import open_shelves
from wap.errors import ConfigError
from wap.project import Project
from wap.settings import ApiSection

#: More requests at once are told to come back later.
MAX_REQUESTS = 64


def serve(project: Project, listening: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests that are at work then are finished.

    Args:
        listening: told the address once requests are taken.

    Raises:
        ConfigError: the address cannot be had, or would be open to others without a token.
        LedgerError: the ledger's database cannot be used.
    """
    settings = project.api
    access = Access.of(settings)
    with open_shelves(project) as shelves, _socket(settings) as bound:
        app = Limits(make_app(shelves, access), only_loopback=is_loopback(settings.host))
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,  # a query may hold what nobody should find in a log
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_REQUESTS,
            timeout_graceful_shutdown=10,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        listening(f"http://{host}:{bound.getsockname()[1]}")
        # uvicorn finishes what it has begun, and then raises the signal again.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[bound])


def _socket(settings: ApiSection) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as exc:
        raise ConfigError(
            f"cannot listen at {settings.host}, port {settings.port}: {exc.strerror}",
            where="[api] host, port",
            hint="is another server there? --port 0 takes a free one",
        ) from exc
