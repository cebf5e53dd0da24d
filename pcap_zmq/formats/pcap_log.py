"""Names of the files that Suricata's pcap-log writes, one after the other.

Specification: suricata.yaml, outputs, pcap-log: filename, with %n, %i and %t, or with
the time behind it; compression.
"""

import re

_TIME = re.compile(r"(?<![0-9])[0-9]{9,10}(?:\.[0-9]{1,6})?(?![0-9])")
_ENDINGS = re.compile(r"\.(?:lz4|gz|xz|zst)$")


def log_of(name: str) -> str:
    """What the names of all files of one log have in common: where each of Suricata's
    threads has a log, of those of a thread. name: without folders, as of
    log.pcap.1700000000 or log.pcap.3.1700000000.lz4."""
    name = _ENDINGS.sub("", name)
    found = list(_TIME.finditer(name))
    if not found:
        return name
    # The last one: %i may look like a time, too, and comes first as a rule.
    first, last = found[-1].span()
    return f"{name[:first]}*{name[last:]}"
