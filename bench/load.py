"""What the load generator sends, and which of it the kernel logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench import native
from bench.pipes import GROUP

if TYPE_CHECKING:
    from testbed.namespaces import Namespace

# Logged on the way out and dropped on the way in, before anybody looks for a socket:
# of the places tried, with tcpdump reading, the one where a generator got the most
# packets of 64 octets logged (thousands a second: 341 to 354 here, 321 to 326 on the
# way out over veth, 280 to 309 in prerouting over veth or loopback). A drop on the way
# out would be an error for the generator, packet by packet. Known by a mark, since
# captures have whatever addresses and ports they have.
MARK = 9
RULES = f"""\
flush ruleset
table ip bench {{
    chain out {{
        type filter hook output priority 0;
        meta mark {MARK} counter log group {GROUP}
    }}
    chain in {{
        type filter hook prerouting priority raw;
        meta mark {MARK} drop
    }}
}}
"""

# Sooner still, where the kernel has this hook (5.16, CONFIG_NETFILTER_EGRESS): a third
# more packets. The drop is ENOBUFS then, which a socket keeps to itself: ip(7),
# IP_RECVERR.
EGRESS_RULES = f"""\
table netdev bench {{
    chain out {{
        type filter hook egress device "lo" priority 0;
        meta mark {MARK} drop
    }}
}}
"""

# Of an IP packet: room for the headers and a time, and no more than loadgen.c has.
LENGTH_MIN = 36
LENGTH_MAX = 65_000

IMIX = "imix"
CAPTURES = "captures"
Traffic: TypeAlias = int | str | Path
"""What the generator sends: the length of an IP packet, IMIX, or a savefile that
`bench.captures.prepare` made."""

LOAD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the generator is to send."""

    traffic: Traffic
    seconds: float
    rate: float = 0
    """Packets a second; 0: flat out."""
    packets: int = 0
    """At most so many; 0: as many as there is time for."""
    cpu: int | None = None
    stamped: bool = False

    def arguments(self) -> list[str]:
        """For loadgen."""
        words = ["-t", str(self.seconds), "-m", str(MARK)]
        if self.rate:
            words += ["-r", str(self.rate)]
        if self.packets:
            words += ["-n", str(self.packets)]
        if self.cpu is not None:
            words += ["-c", str(self.cpu)]
        if self.stamped:
            words += ["-s"]
        return [*words, "127.0.0.1", str(self.traffic)]


def generate(host: Namespace, load: Load) -> dict[str, Any]:
    """Sets the rules, sends it all, and returns what loadgen says that it did."""
    host.run(["nft", "-f", "-"], input=RULES)
    host.run(["nft", "-f", "-"], input=EGRESS_RULES, check=False)
    argv = [str(native.build("loadgen")), *load.arguments()]
    done = host.run(argv, check=False, timeout_s=LOAD_TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"the generator failed: {done.stderr.strip()}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said
