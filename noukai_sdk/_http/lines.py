"""This room holds sockets while a call uses them: another thread may shut them, but never when they serve somebody else."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any


class Line:
    """A socket in use by one call, until it is let go. Looks like what httpx calls a network stream."""

    def __init__(self, connected: Any) -> None:
        # TLS within TLS, as through a proxy, is an object around a socket.
        self._socket = getattr(connected, "socket", connected)
        # Entered twice by one thread if the garbage collector comes along.
        self._lock = threading.RLock()
        self.was_shut = False

    def get_extra_info(self, info: str) -> object:
        return self._socket if info == "socket" else None

    def end(self) -> None:
        """Shut the socket, if it is still in use: the server sees it go, and a thread that is blocked in it wakes up."""
        with self._lock:
            if self._socket is not None:
                self.was_shut = True
                shut(self._socket)

    def let_go(self) -> None:
        """The call is done with it: it is about to be closed, or to be given to another call."""
        with self._lock:
            self._socket = None


class ForeignLine:
    """The same for a network stream of httpx's own, which may end after its call, if that ends in the same moment."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.was_shut = False

    def end(self) -> None:
        """Shut the socket, if there is one."""
        # Asked for now only: the stream knows best whether it still has one.
        connected = _own_socket(self._stream)
        if isinstance(connected, socket.socket):
            self.was_shut = True
            shut(connected)


def line_of(stream: Any) -> Line | ForeignLine | None:
    """The line of a response, by its extension "network_stream"; None without one."""
    return stream if stream is None or isinstance(stream, Line) else ForeignLine(stream)


def half_close(stream: Any) -> bool:
    """Tell the server that nothing more will be sent to it, and go on reading what it sends; whether that was possible.

    A server takes that for a caller who has gone, and closes behind what it has written already (RFC 9293 section 3.6).
    """
    connected = None if stream is None else _own_socket(stream)
    if connected is None:
        return False
    try:
        # Under TLS as well: its own goodbye would end the reading, too.
        connected.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


def _own_socket(stream: Any) -> Any:
    tls = stream.get_extra_info("ssl_object")
    if tls is not None and tls.selected_alpn_protocol() == "h2":
        return None  # other calls share this socket
    return stream.get_extra_info("socket")


def shut(connected: socket.socket) -> None:
    """Shut a socket under whoever is blocked in it."""
    with contextlib.suppress(OSError):
        # Not SSLSocket's own method, which pulls the TLS layer away under the blocked read.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
