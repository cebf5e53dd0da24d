"""Our own end of a TCP connection that ZeroMQ has made.

Specification: getsockname(2); zmq_socket_monitor(3), whose events name a descriptor.
"""

import os
import socket
from ipaddress import IPv6Address, ip_address

from pcap_zmq.formats.ip import End


def own_end(descriptor: int) -> End | None:
    """None for what is no TCP connection, or has gone. The descriptor remains
    ZeroMQ's."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            host, port, *_ = connection.getsockname()
    except OSError:
        return None
    address = ip_address(host.partition("%")[0])
    # ZeroMQ's sockets take both families.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return End(mapped or address, port)
