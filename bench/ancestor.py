"""The method of the ancestor, written afresh: a callback and a message per packet.

Two programs: `python -m bench.ancestor send GROUP ENDPOINT`, `receive ENDPOINT FIFO`.
The sender hands its datagrams to libnetfilter_log through ctypes, which calls back into
Python for each packet; each becomes a ZeroMQ message, pushed to whoever pulls. The
receiver writes a packet record for each message. It is a baseline: what it does for one
packet is what its ancestor did, with as little around it as can be.

Specification: libnetfilter_log's doxygen pages; zmq_socket(3), PUSH and PULL.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import errno
import os
import signal
import socket
import struct
import sys
from types import FrameType

import zmq

from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.savefile import encode_file_header

COPY_PACKET = 2  # NFULNL_COPY_PACKET, linux/netfilter/nfnetlink_log.h
COPY_OCTETS = 0xFFFF
QTHRESHOLD = 1024
TIMEOUT_CS = 10
RCVBUF_BYTES = 32 << 20
DATAGRAM_BYTES = 1 << 20

# What waits for the network, in messages: the ancestor's default was a tenth, and lost
# the more.
HIGH_WATERMARK = 100_000
LINGER_MS = 10_000

_RECORD_HEADER = struct.Struct("<IIII")
_END = b""


class _Timeval(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("usec", ctypes.c_long))


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("netfilter_log")
    if name is None:
        sys.exit("ancestor: no libnetfilter_log: install the package libnetfilter-log1")
    library = ctypes.CDLL(name, use_errno=True)
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for function, result, arguments in (
        ("nflog_open", pointer, []),
        ("nflog_bind_pf", integer, [pointer, ctypes.c_uint16]),
        ("nflog_bind_group", pointer, [pointer, ctypes.c_uint16]),
        ("nflog_set_mode", integer, [pointer, ctypes.c_uint8, ctypes.c_uint32]),
        ("nflog_set_qthresh", integer, [pointer, ctypes.c_uint32]),
        ("nflog_set_timeout", integer, [pointer, ctypes.c_uint32]),
        ("nflog_callback_register", integer, [pointer, _Callback, pointer]),
        ("nflog_fd", integer, [pointer]),
        ("nflog_handle_packet", integer, [pointer, ctypes.c_char_p, integer]),
        ("nflog_get_payload", integer, [pointer, ctypes.POINTER(pointer)]),
        ("nflog_get_timestamp", integer, [pointer, ctypes.POINTER(_Timeval)]),
    ):
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library


def send(group: int, endpoint: str) -> None:
    """Until SIGINT: the packets of a group, pushed one by one."""
    library = _library()
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.set_hwm(HIGH_WATERMARK)
    push.linger = LINGER_MS
    push.connect(endpoint)
    payload, stamp = ctypes.c_void_p(), _Timeval()
    counts = {"sent": 0, "refused": 0, "overruns": 0}

    def pass_on(group: int, message: int, packet: int, data: int) -> int:
        caplen = library.nflog_get_payload(packet, ctypes.byref(payload))
        # Locally sent packets have none.
        if library.nflog_get_timestamp(packet, ctypes.byref(stamp)) < 0:
            stamp.sec = stamp.usec = 0
        octets = ctypes.string_at(payload.value or 0, caplen)
        header = _RECORD_HEADER.pack(stamp.sec, stamp.usec * 1000, caplen, caplen)
        try:
            push.send(header + octets, zmq.NOBLOCK)
            counts["sent"] += 1
        except zmq.Again:
            counts["refused"] += 1
        return 0

    callback = _Callback(pass_on)
    handle = library.nflog_open()
    if not handle or library.nflog_bind_pf(handle, socket.AF_INET) < 0:
        sys.exit(f"ancestor: nflog: {os.strerror(ctypes.get_errno())}")
    with socket.socket(fileno=os.dup(library.nflog_fd(handle))) as netlink:
        # Larger than net.core.rmem_max, where we may.
        force = 33  # SO_RCVBUFFORCE, asm-generic/socket.h
        try:
            netlink.setsockopt(socket.SOL_SOCKET, force, RCVBUF_BYTES)
        except PermissionError:
            netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF_BYTES)
        bound = library.nflog_bind_group(handle, group)
        if not bound:
            sys.exit(f"ancestor: group {group}: {os.strerror(ctypes.get_errno())}")
        library.nflog_set_mode(bound, COPY_PACKET, COPY_OCTETS)
        library.nflog_set_qthresh(bound, QTHRESHOLD)
        library.nflog_set_timeout(bound, TIMEOUT_CS)
        library.nflog_callback_register(bound, callback, None)
        signal.signal(signal.SIGINT, _interrupt)
        try:
            while True:
                try:
                    datagram = netlink.recv(DATAGRAM_BYTES)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    counts["overruns"] += 1
                    continue
                library.nflog_handle_packet(handle, datagram, len(datagram))
        except KeyboardInterrupt:
            push.send(_END)
    print(*(f"{name} {count}" for name, count in counts.items()), file=sys.stderr)
    push.close()
    context.term()


def receive(endpoint: str, path: str) -> None:
    """Writes what is pushed here as a savefile, until the sender says that it ends."""
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.set_hwm(HIGH_WATERMARK)
    pull.bind(endpoint)
    with open(path, "wb") as output:  # noqa: PTH123  a FIFO, no file of ours
        output.write(encode_file_header(RAW))
        output.flush()
        while True:
            try:
                record = pull.recv(zmq.NOBLOCK)
            except zmq.Again:
                output.flush()
                record = pull.recv()
            if record == _END:
                break
            output.write(record)
    pull.close()
    context.term()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Be one of the two programs."""
    parser = argparse.ArgumentParser(prog="python -m bench.ancestor")
    roles = parser.add_subparsers(dest="role", required=True)
    sender = roles.add_parser("send")
    sender.add_argument("group", type=int)
    sender.add_argument("endpoint")
    receiver = roles.add_parser("receive")
    receiver.add_argument("endpoint")
    receiver.add_argument("path")
    given = parser.parse_args()
    if given.role == "send":
        send(given.group, given.endpoint)
    else:
        receive(given.endpoint, given.path)


if __name__ == "__main__":
    main()
