"""The connection to one host: when the API key is sent, how long a request may take, and which requests are repeated."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import os
import random
import re
import socket
import threading
from collections.abc import Mapping
from typing import Any

import httpx2

from sightweave.core.errors import BackendError, RecipeError
from sightweave.programs.predictors._endpoint.words import (
    Failed,
    Refused,
    Secret,
    outcome,
    redirect,
    retry_after,
    short,
)

KEY_VARIABLE = "OPENAI_API_KEY"
_MAX_BYTES = 8 << 20
"""Maximum size of a response in bytes; a long answer with log-probabilities takes a tenth of it."""
_LONGEST_WAIT = 60.0
"""Maximum number of seconds before a request is repeated, whatever the server requests."""
_RETRIED = (408, 429)
"""Statuses below 500 after which a request is repeated. It is also repeated after all statuses from 500 on except 501,
which means that a feature is missing."""
_FATAL = (401, 402, 403, 404, 405, 407, 410)
"""Statuses that mean a wrong key, model or address, whatever the prompt is; other statuses from 400 reject one
request."""
_MODERATED = re.compile("moderat|flagged|content|policy|safety|harm", re.IGNORECASE)
"""Matches words with which some servers reject a single prompt with status 403."""
_MISSING = re.compile("not (?:supported|implemented)|unsupported", re.IGNORECASE)
"""Matches words in responses of servers that send status 500 instead of 400."""
_WHAT_TO_DO = {
    400: "the server rejects the request; the model may not support images, or fewer tokens",
    401: "check the API key",
    403: "the API key has no access to this model",
    404: "check the model name, and that the address is the part before /chat/completions, often ending in /v1",
}


class Server:
    """One host, and the settings of every request to it.

    Args:
        url: Its address, to which the path of a request is appended.
        key_variable: Name of the environment variable with the API key; empty for no key.
        timeout: Seconds from the start of a request to the end of its answer.
        retries: Number of times that a request is repeated.
        wait: Seconds before the first repetition.

    Raises:
        RecipeError: `url` is not a valid address, or `key_variable` is not a valid name.
        BackendError: the key contains characters that are not allowed.
    """

    def __init__(self, url: str, key_variable: str, *, timeout: float, retries: int, wait: float) -> None:
        address = parsed(url)
        self.url = str(address).rstrip("/")
        self.host = address.host
        self.timeout, self.retries, self.wait = timeout, retries, wait
        found, self.no_key = key(address, key_variable)
        self.secret = Secret(found)

    def open(self) -> Line:
        """Opens connections to the server, one per thread, which the caller must close.

        Raises:
            BackendError: the proxy in the environment cannot be used.
        """
        line = Line(self)
        try:
            line.connect()
        except (ValueError, ImportError) as error:
            kind = type(error).__name__  # the message may contain the proxy's password
            raise BackendError(
                f"{self.url}: the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used ({kind}); fix or unset it."
            ) from None
        return line


class _Connection:
    """One connection, used by one thread, whose requests always end in time.

    The client's own timeouts apply to each read, so a server that sends a header byte by byte would block a request
    forever. Therefore a timer thread shuts the connection down.
    """

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_open = self._is_late = False

    def close(self) -> None:
        """Closes the connection; no request may be running."""
        self._drop_socket()
        self._client.close()

    def send(
        self, method: str, url: str, content: bytes | None, *, seconds: float, at: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Sends a request; returns the status, headers and body of the response.

        Raises:
            Failed: the body is too long.
            httpx2.RequestError: there is no connection, or no complete answer in time.
        """
        with self._lock:
            self._is_open, self._is_late = True, False
        timer = threading.Timer(seconds, self._time_out)
        timer.daemon = True
        timer.start()

        try:
            found = self._receive(method, url, content, at)
        except BaseException as error:
            self._drop_socket()
            if self._is_late and isinstance(error, httpx2.RequestError):
                raise httpx2.ReadTimeout("") from None
            raise
        finally:
            timer.cancel()
            with self._lock:
                self._is_open = False

        if self._is_late:  # a body that ends with its connection seems complete
            raise httpx2.ReadTimeout("")
        return found

    def _receive(
        self, method: str, url: str, content: bytes | None, at: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        pieces, size = [], 0
        traced = {"trace": self._trace}

        with self._client.stream(method, url, content=content, extensions=traced) as response:
            for piece in response.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_BYTES:
                    raise Failed(at, f"the response exceeds {_MAX_BYTES} bytes")
            return response.status_code, response.headers, b"".join(pieces)

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Duplicates the socket of a new connection, because the duplicate stays usable when encryption begins."""
        if name.endswith("connect_tcp.complete"):
            self._drop_socket()
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket").dup()
                if self._is_late:
                    self._shut_down()

    def _time_out(self) -> None:
        """Ends a request that has run out of time."""
        with self._lock:
            if self._is_open:
                self._is_late = True
                self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the connection has already ended
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop_socket(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None


class Line:
    """Sends requests to a server, and repeats them if that may help; its messages never contain the key."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stop = threading.Event()
        """Event that ends waiting between repetitions."""
        self._encryption = httpx2.create_ssl_context()  # slow to create, and shared by all connections
        self._connections: dict[int, _Connection] = {}

    def connect(self) -> _Connection:
        """The connection of the current thread, created on first use.

        Raises:
            ValueError, ImportError: the proxy cannot be used.
        """
        thread = threading.get_ident()
        if thread in self._connections:
            return self._connections[thread]

        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if self.server.secret.key:
            headers["authorization"] = f"Bearer {self.server.secret.key}"
        client = httpx2.Client(
            headers=headers,
            verify=self._encryption,
            timeout=self.server.timeout,
            follow_redirects=False,
            trust_env=not _is_local(self.server.host),  # local requests must not go through a proxy
            limits=httpx2.Limits(max_connections=1),
        )
        connection = self._connections[thread] = _Connection(client)
        return connection

    def close(self) -> None:
        """Closes all connections; no request may be running."""
        for connection in self._connections.values():
            connection.close()

    def answer(self, method: str, path: str, body: Mapping[str, Any] | None, where: str) -> Mapping[str, Any]:
        """Sends a request, repeats it if that may help, and returns the JSON object of the answer.

        Args:
            method: ``GET`` or ``POST``.
            path: Path after the address.
            body: Request body, sent as JSON.
            where: Purpose of the request, for messages.

        Raises:
            Refused: the server will never accept this request; a different one may work.
            Failed: there is no answer after all repetitions, or it cannot be parsed.
            BackendError: the server cannot be reached, or accepts none of our requests.
        """
        at = f"{self.server.url}{path}: {where}"
        content = None if body is None else json.dumps(body).encode()
        wait = self.server.wait

        for attempt in itertools.count(1):
            requested_wait: float | None = None
            is_there = True
            try:
                status, headers, data = self.connect().send(
                    method, self.server.url + path, content, seconds=self.server.timeout, at=at
                )
            except httpx2.TimeoutException as error:
                is_there = not isinstance(error, httpx2.ConnectTimeout)
                seconds = f"{self.server.timeout:g} seconds"
                problem = f"no answer within {seconds}; raise `timeout`, or lower `num_concurrent`"
            except httpx2.RequestError as error:
                is_there = isinstance(
                    error, httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError
                )
                problem = f"no connection ({self._clean(str(error) or type(error).__name__)}); is the server running?"
            else:
                found, status, message = outcome(status, headers, data, at, self.server.secret)
                if found is not None:
                    return found
                problem = self._problem(status, headers, message, at)
                requested_wait = retry_after(headers.get("retry-after", ""))

            if attempt > self.server.retries:
                problem = f"{problem} (asked {attempt} time(s))"
                raise Failed(at, problem) if is_there else BackendError(f"{at}: {problem}.")

            # Requests that failed together should not be repeated at the same time.
            pause = wait * random.uniform(0.75, 1.0) if requested_wait is None else requested_wait
            if self.stop.wait(min(pause, _LONGEST_WAIT)):
                raise BackendError(f"{at}: stopped.")
            wait *= 2
        raise AssertionError  # unreachable, because the counter is endless

    def _problem(self, status: int, headers: Mapping[str, str], message: str, at: str) -> str:
        """The message for a status after which a repetition may help.

        Raises:
            Refused: the server rejects this request.
            BackendError: the server rejects all requests.
        """
        shown = f"status {status}: {self._clean(message)}"
        if 300 <= status < 400:
            raise BackendError(f"{at}: {redirect(status, headers.get('location', ''), self.server.secret)}")
        if status in _RETRIED or (status >= 500 and status != 501 and not _MISSING.search(message)):
            return f"{shown}; try again later, or lower `num_concurrent`"

        what_to_do = _WHAT_TO_DO.get(status, "see the server's own documentation")
        if status == 401 and self.server.no_key:
            what_to_do = self.server.no_key

        is_moderated = status == 403 and _MODERATED.search(message) is not None
        if status in _FATAL and not is_moderated:
            raise BackendError(f"{at}: {shown}; {what_to_do}.")
        raise Refused(at, shown, message, what_to_do)

    def _clean(self, text: str) -> str:
        """A text as one short line, without the key, which some servers repeat."""
        return short(self.server.secret.removed(text))


def parsed(url: str) -> httpx2.URL:
    """Parses an address, which may have only a host and a path.

    Raises:
        RecipeError: the address is not valid or has more. The message leaves out what may be secret.
    """
    try:
        found = httpx2.URL(url.strip())
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise RecipeError(
            f"url: not a valid address ({short(str(error))}); write http://host:port/v1."
        ) from None

    if found.userinfo or found.query or found.fragment or "\\" in url:
        port = "" if found.port is None else f":{found.port}"
        raise RecipeError(
            f"url: {found.scheme}://{found.host}{port}... has more than a host and a path; remove user names, passwords and "
            "anything after '?' or '#', and pass the key through `key_variable`."
        )

    if found.scheme not in ("http", "https") or not found.host:
        raise RecipeError(f"url: must start with http:// or https:// and a host (got {short(url)!r}).")
    return found


def key(url: httpx2.URL, variable: str) -> tuple[str, str]:
    """The API key; or an empty key, and a hint for the case that the server requires one.

    Raises:
        RecipeError: `variable` is not the name of an environment variable.
        BackendError: the key contains characters that are not allowed.
    """
    if variable and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", variable):
        raise RecipeError(
            f"key_variable: must be the name of an environment variable, such as {KEY_VARIABLE}, not the key itself."
        )

    found = os.environ.get(variable, "").strip() if variable else ""
    if not found:
        return "", f"no key was sent, because the environment variable {variable or '(none)'} is not set"
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise BackendError(
            f"the environment variable {variable} contains characters that are not allowed in a key; set it again."
        )

    # Anyone on the network could read the key, and the general variable may not be meant for this server.
    if url.scheme == "http" and not _is_local(url.host) and variable == KEY_VARIABLE:
        return "", (
            f"the key in {variable} was not sent, because http:// is not encrypted; use https://, or set another variable "
            "as `key_variable`"
        )
    return found, ""


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
