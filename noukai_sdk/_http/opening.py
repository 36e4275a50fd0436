"""This room opens sockets that can be given up while they are looked up or connecting.

A name's lookup cannot be broken off: it goes on in a thread of its own, to an end that nobody waits for. What is between
the lookup and the connection is the socket's, which can be shut.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any

from urllib3.exceptions import LocationParseError
from urllib3.util.connection import allowed_gai_family
from urllib3.util.wait import wait_for_write

from noukai_sdk._http.lines import Line
from noukai_sdk._interruption import Watch

_UNDER_WAY = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK})


def open_socket(host: str, port: int, timeout: float | None, options: Any, watch: Watch) -> tuple[socket.socket, Line]:
    """A connected socket, and a line that ends it whatever is put around it, to be closed once it is no longer needed.

    Tries each address of `host` for `timeout` seconds, as urllib3's `create_connection`. Raises OSError, also when it was
    ended, and LocationParseError.
    """
    failure: OSError = ConnectionError(f"{host} has no address")
    for family, kind, protocol, _, address in _addresses(host, port, timeout, watch):
        opening = socket.socket(family, kind, protocol)
        try:
            for option in options or ():
                opening.setsockopt(*option)
            return opening, _connect(opening, address, timeout, watch)
        except OSError as error:
            opening.close()
            failure = error
            if watch.ended:
                break
        except BaseException:
            opening.close()
            raise
    raise failure


class OpeningLine(Line):
    """The line of a socket that is connecting, or in a handshake: a duplicate, as TLS takes the original apart."""

    def __init__(self, opening: socket.socket) -> None:
        super().__init__(opening.dup())

    def let_go(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            super().let_go()


def _connect(opening: socket.socket, address: Any, timeout: float | None, watch: Watch) -> Line:
    opening.settimeout(0)
    code = opening.connect_ex(address)
    if code not in _UNDER_WAY:
        raise OSError(code, os.strerror(code))
    line = OpeningLine(opening)
    try:
        watch(line)
        if not wait_for_write(opening, timeout):
            raise TimeoutError(f"no connection within {timeout} s")
        if line.was_shut:
            raise ConnectionAbortedError("given up while connecting")
        if code := opening.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
    except BaseException:
        line.let_go()
        raise
    opening.settimeout(timeout)
    return line


class _Lookup:
    """Waits for the addresses of a name."""

    def __init__(self, host: str, port: int) -> None:
        self._name = host, port
        self._over = threading.Event()
        self._found: list[Any] = []
        self._error: Exception | None = None
        # Not to be waited for by the end of the program.
        threading.Thread(target=self._look_up, name="noukai-lookup", daemon=True).start()

    def _look_up(self) -> None:
        try:
            self._found = socket.getaddrinfo(*self._name, allowed_gai_family(), socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 -- raised where it is waited for
            self._error = error
        self._over.set()

    def end(self) -> None:
        self._over.set()

    def wait(self, timeout: float | None) -> list[Any]:
        if not self._over.wait(timeout):
            raise TimeoutError(f"no address of {self._name[0]} within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._found


def _addresses(host: str, port: int, timeout: float | None, watch: Watch) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # it is a name
    except UnicodeError as error:
        raise LocationParseError(f"'{host}', label empty or too long") from error
    lookup = _Lookup(host, port)
    watch(lookup)
    return lookup.wait(timeout)
