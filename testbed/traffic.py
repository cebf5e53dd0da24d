"""Real HTTP and DNS between hosts of a private network, to have packets to look at.

Each server and client is this module run as a program in the host's namespace:
`python -m testbed.traffic http|dns|get|query …`. The functions start it there.

Specification: RFC 1035 sections 4.1 and 3.4.1 and RFC 3596 for what little DNS is here.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import ipaddress
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from testbed.waiting import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.namespaces import Namespace

READY_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 5.0

# What every name resolves to. Documentation addresses: RFC 5737, RFC 3849.
ANSWERS = {"A": "192.0.2.80", "AAAA": "2001:db8::80"}
RECORD_TYPES = {"A": 1, "AAAA": 28}
CLASS_IN = 1
FLAGS_QUERY = 0x0100  # recursion desired
FLAGS_ANSWER = 0x8580  # response, authoritative, recursion desired and available
TTL_S = 60
NAME_IS_QUESTION = 0xC00C  # a pointer to octet 12, where the question's name is

# Text like a web page's: a body of it compresses about as well as the web's do.
LINE = b"<li><a href='/item/%06d'>item %06d</a> costs %d.%02d EUR</li>\n"


class Response(NamedTuple):
    """What one HTTP request got."""

    url: str
    status: int
    body_bytes: int


def serve_http(host: Namespace, port: int = 80) -> subprocess.Popen[str]:
    """An HTTP server on every IPv4 and IPv6 address of `host`; ready on return.

    `/bytes/N` answers N octets of text, every other path one short line.
    """
    return _serve(host, ["http", str(port)])


def serve_dns(host: Namespace, port: int = 53) -> subprocess.Popen[str]:
    """A DNS server over UDP, on every address of `host`; ready on return.

    It knows one answer for any name; of types other than A and AAAA, none.
    """
    return _serve(host, ["dns", str(port)])


def http_get(host: Namespace, *urls: str) -> list[Response]:
    """Fetch each URL from `host`, one connection each."""
    return [Response(*fields) for fields in _ask(host, ["get", *urls])]


def dns_query(
    host: Namespace, server: str, *names: str, type: str = "A", port: int = 53
) -> list[str]:
    """Ask `server`, an address, for each name; the first address of each answer."""
    answers = _ask(host, ["query", f"--port={port}", f"--type={type}", server, *names])
    return [str(answer) for answer in answers]


def _serve(host: Namespace, arguments: Sequence[str]) -> subprocess.Popen[str]:
    # Its errors go where ours go; its output is the one line that says it listens.
    server = host.popen(_program(arguments), stdout=subprocess.PIPE, env=_environment())
    if server.stdout is None:
        raise AssertionError("asked for a pipe, got none")
    line = first_line(server.stdout, READY_TIMEOUT_S, f"{arguments[0]} on {host.name}")
    if line != "ready":
        raise RuntimeError(f"no {arguments[0]} server on {host.name}: see its error")
    return server


def _ask(host: Namespace, arguments: Sequence[str]) -> list[Any]:
    done = host.run(_program(arguments), env=_environment())
    return [json.loads(line) for line in done.stdout.splitlines()]


def _program(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "testbed.traffic", *arguments]


def _environment() -> dict[str, str]:
    # This package is installed nowhere; its programs find it beside us.
    here = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = f"{here}{os.pathsep}{inherited}" if inherited else here
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _body(count: int) -> bytes:
    lines: list[bytes] = []
    length = 0
    while length < count:
        number = len(lines)
        lines.append(LINE % (number, number, number * 7 % 1000, number * 13 % 100))
        length += len(lines[-1])
    return b"".join(lines)[:count]


class _Handler(http.server.BaseHTTPRequestHandler):
    # Named do_GET by http.server.
    def do_GET(self) -> None:
        head, _, count = self.path.rpartition("/")
        is_sized = head == "/bytes" and count.isdecimal()
        body = _body(int(count)) if is_sized else b"nothing to see here\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who watches the traffic has a better view of it."""


class _HttpServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's own, which asks DNS for our name, and here nobody answers.
        self.socket.bind(self.server_address)


def _run_http(port: int) -> None:
    with _HttpServer(("::", port), _Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


def _run_dns(port: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        print("ready", flush=True)
        while True:
            query, peer = server.recvfrom(512)
            server.sendto(_dns_answer(query), peer)


def _dns_answer(query: bytes) -> bytes:
    (ident,) = struct.unpack_from(">H", query)
    name_end = query.index(0, 12) + 1
    (asked,) = struct.unpack_from(">H", query, name_end)
    question = query[12 : name_end + 4]
    for kind, number in RECORD_TYPES.items():
        if asked == number:
            address = ipaddress.ip_address(ANSWERS[kind]).packed
            record = struct.pack(
                ">HHHIH", NAME_IS_QUESTION, asked, CLASS_IN, TTL_S, len(address)
            )
            header = struct.pack(">6H", ident, FLAGS_ANSWER, 1, 1, 0, 0)
            return header + question + record + address
    return struct.pack(">6H", ident, FLAGS_ANSWER, 1, 0, 0, 0) + question


def _run_get(urls: Sequence[str]) -> None:
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname is None:
            raise ValueError(f"no host in {url!r}")
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=ANSWER_TIMEOUT_S
        )
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        print(json.dumps([url, response.status, len(response.read())]))
        connection.close()


def _run_query(server: str, port: int, kind: str, names: Sequence[str]) -> None:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    for name in names:
        ident = secrets.randbits(16)
        labels = b"".join(
            bytes([len(label)]) + label.encode("ascii") for label in name.split(".")
        )
        header = struct.pack(">6H", ident, FLAGS_QUERY, 1, 0, 0, 0)
        question = labels + struct.pack(">BHH", 0, RECORD_TYPES[kind], CLASS_IN)
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(ANSWER_TIMEOUT_S)
            client.connect((server, port))
            client.send(header + question)
            answer = client.recv(512)
        # One record, and the address is the last thing in it.
        octets = 16 if kind == "AAAA" else 4
        print(json.dumps(str(ipaddress.ip_address(answer[-octets:]))))


def main() -> None:
    """Be one of the four programs."""
    parser = argparse.ArgumentParser(prog="python -m testbed.traffic")
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("http").add_argument("port", type=int)
    roles.add_parser("dns").add_argument("port", type=int)
    roles.add_parser("get").add_argument("urls", nargs="+")
    query = roles.add_parser("query")
    query.add_argument("--port", type=int, default=53)
    query.add_argument("--type", choices=RECORD_TYPES, default="A")
    query.add_argument("server")
    query.add_argument("names", nargs="+")
    given = parser.parse_args()
    if given.role == "http":
        _run_http(given.port)
    elif given.role == "dns":
        _run_dns(given.port)
    elif given.role == "get":
        _run_get(given.urls)
    else:
        _run_query(given.server, given.port, given.type, given.names)


if __name__ == "__main__":
    main()
