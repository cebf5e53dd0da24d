"""The LINKTYPE numbers that have a name here.

Specification: the registry at tcpdump.org, "link-layer header types".
"""

ETHERNET = 1
RAW = 101
LINUX_SLL = 113
IPV4 = 228
IPV6 = 229
NFLOG = 239

NAMES = {
    "ethernet": ETHERNET,
    "raw": RAW,
    "linux_sll": LINUX_SLL,
    "ipv4": IPV4,
    "ipv6": IPV6,
    "nflog": NFLOG,
}

MAXIMUM = 0xFFFF
"""The savefile header's link type has 16 bits; the others are for the FCS length."""


def describe(linktype: int) -> str:
    """Its name and number, or only the number."""
    name = next((name for name, number in NAMES.items() if number == linktype), None)
    return f"{name} ({linktype})" if name else str(linktype)
