"""Autonomous systems as subnets, by a MaxMind database.

Specification: MaxMind DB File Format 2.0, as its own library reads it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pcap_zmq.errors import ConfigError, ConfigPermissionError
from pcap_zmq.formats.codec import library
from pcap_zmq.formats.conditions import (
    All,
    Asn,
    Condition,
    Either,
    Network,
    Not,
    Subnet,
)

NUMBER = "autonomous_system_number"
"""Where a database of autonomous systems has it."""


def subnets_of(path: Path, numbers: Iterable[int]) -> dict[int, tuple[Network, ...]]:
    """Of each AS number, all that the database gives it; of one that it does not know,
    none. Raises ConfigError."""
    maxminddb = library("maxminddb", "asn")
    found: dict[int, list[Network]] = {number: [] for number in numbers}
    try:
        with maxminddb.open_database(path) as reader:
            for network, record in reader:
                number = record.get(NUMBER) if isinstance(record, dict) else None
                if number in found:
                    found[number].append(network)
    except PermissionError as error:
        raise ConfigPermissionError(f"{path} may not be read") from error
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigError(f"--asn-db {path} is no MaxMind database: {error}") from error
    return {number: tuple(networks) for number, networks in found.items()}


def resolved(
    condition: Condition, subnets: Mapping[int, Sequence[Network]]
) -> Condition:
    """The same with subnets in the place of AS numbers."""
    match condition:
        case Asn(values):
            return Subnet(tuple(each for value in values for each in subnets[value]))
        case All(parts):
            return All(tuple(resolved(part, subnets) for part in parts))
        case Either(parts):
            return Either(tuple(resolved(part, subnets) for part in parts))
        case Not(part):
            return Not(resolved(part, subnets))
        case _:
            return condition
