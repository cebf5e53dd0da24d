"""What Suricata finds in packets, as things that can be counted and compared."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.savefile import encode_file_header, encode_packet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcap_zmq.packet import Packet

TIMEOUT_S = 300
SYSTEM_RULES = Path("/etc/suricata/rules")
PACKETS_RULES = ("decoder-events.rules", "stream-events.rules")
"""Tell of single packets that do not fit, of which gaps make any number."""

APPLICATIONS = (
    "dns", "http", "http2", "tls", "quic", "sip", "rfb", "nfs", "smb", "ssh", "smtp",
    "ftp", "rdp", "snmp", "dhcp", "krb5", "mqtt", "bittorrent_dht", "modbus", "tftp",
    "ike",
)  # fmt: skip

SETTINGS = """\
    %YAML 1.1
    ---
    vars:
      address-groups: {{HOME_NET: any, EXTERNAL_NET: any}}
      port-groups: {{HTTP_PORTS: any, SSH_PORTS: any, FTP_PORTS: any, MODBUS_PORTS: any,
        DNP3_PORTS: any, SHELLCODE_PORTS: any, ORACLE_PORTS: any, VXLAN_PORTS: 4789,
        GENEVE_PORTS: 6081, TEREDO_PORTS: 3544}}
    outputs:
      - eve-log:
          enabled: yes
          filename: eve.json
          types: [alert, {types}]
    classification-file: /etc/suricata/classification.config
    reference-config-file: /etc/suricata/reference.config
    app-layer:
      protocols:
        {protocols}
    stream:
      reassembly: {{depth: 1mb}}
    """

RULES = """\
alert http any any -> any any (msg:"request"; flow:to_server; http.method; \
content:"GET"; sid:9000001;)
alert http any any -> any any (msg:"agent"; flow:to_server; http.user_agent; \
content:"Mozilla"; sid:9000002;)
alert http any any -> any any (msg:"answer"; flow:to_client; http.stat_code; \
content:"200"; sid:9000003;)
alert http any any -> any any (msg:"script"; flow:to_client; file.data; \
content:"<script"; nocase; sid:9000004;)
alert http any any -> any any (msg:"picture"; flow:to_client; file.data; \
content:"JFIF"; sid:9000005;)
alert tls any any -> any any (msg:"name"; tls.sni; content:"."; sid:9000006;)
alert tls any any -> any any (msg:"subject"; tls.cert_subject; content:"CN="; \
sid:9000007;)
alert dns any any -> any any (msg:"query"; dns.query; content:"com"; nocase; \
sid:9000008;)
alert tcp any any -> any any (msg:"gnutella"; flow:established; \
content:"GNUTELLA CONNECT"; sid:9000009;)
alert sip any any -> any any (msg:"call"; sip.method; content:"INVITE"; sid:9000010;)
alert tcp any any -> any any (msg:"vnc"; flow:established; content:"RFB 00"; depth:6; \
sid:9000011;)
alert quic any any -> any any (msg:"quic"; quic.sni; content:"."; sid:9000012;)
alert udp any any -> any any (msg:"stun"; content:"|21 12 a4 42|"; offset:4; depth:4; \
sid:9000013;)
"""
"""Of the kinds that rules for detection mostly are; those that the system has beside
them are of protocols' faults."""

VOLATILE = frozenset(
    ("id", "tx_id", "length", "size", "state", "gaps", "end", "stored", "start",
     "bytes_to_client", "bytes_to_server", "pkts_to_client", "pkts_to_server", "tc"),
)  # fmt: skip
"""How much of a thing was seen is no part of what it is."""

Found = Counter[tuple[str, ...]]


class Detector:
    """Suricata, with its settings and rules in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._settings = directory / "suricata.yaml"
        self._settings.write_text(
            textwrap.dedent(SETTINGS).format(
                types=", ".join(APPLICATIONS),
                protocols="\n    ".join(
                    f"{name}: {{enabled: yes}}"
                    for name in (*APPLICATIONS, "bittorrent-dht")
                ),
            )
        )
        self._rules = directory / "suricata.rules"
        system = [
            path
            for path in sorted(SYSTEM_RULES.glob("*.rules"))
            if path.name not in PACKETS_RULES
        ]
        self._rules.write_text(RULES + "".join(path.read_text() for path in system))

    def find(self, packets: Sequence[Packet]) -> Found:
        """Alerts and what applications did, each with its ends, and how often it was
        found. RuntimeError where Suricata fails."""
        savefile = self._directory / "packets.pcap"
        eve = self._directory / "eve.json"
        eve.unlink(missing_ok=True)
        with savefile.open("wb") as file:
            file.write(encode_file_header(RAW))
            file.writelines(map(encode_packet, packets))
        done = subprocess.run(
            [
                *("suricata", "--runmode", "single", "-k", "none"),
                *("-c", self._settings, "-S", self._rules),
                *("-l", self._directory, "-r", savefile),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"suricata failed:\n{done.stderr[-2_000:]}")
        with eve.open() as lines:
            return Counter(_key(json.loads(line)) for line in lines)


def is_alert(found: tuple[str, ...]) -> bool:
    """Rather than something that an application did."""
    return found[0] == "alert"


def _key(event: dict[str, Any]) -> tuple[str, ...]:
    kind = event["event_type"]
    # The last packet of a thing has it logged, whoever sent that.
    ends = sorted(
        f"{event.get(f'{side}_ip')} {event.get(f'{side}_port')}"
        for side in ("src", "dest")
    )
    said: Any = event.get(kind)
    if kind == "alert":
        return (kind, *ends, str(said["signature_id"]))
    return (kind, *ends, json.dumps(_steady(said), sort_keys=True))


def _steady(said: Any) -> Any:
    if isinstance(said, dict):
        return {
            name: _steady(value) for name, value in said.items() if name not in VOLATILE
        }
    if isinstance(said, list):
        return [_steady(value) for value in said]
    return said
