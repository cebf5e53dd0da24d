"""Suricata on a savefile or FIFO with all that it can log, so that two runs can be held
against each other: it says the same of the same packets, whenever it is asked.

Nothing times out before the end: whether the thread that looks for old flows is quick
or slow would show in the events otherwise.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

from testbed.namespaces import SEARCH_PATH

if TYPE_CHECKING:
    from pathlib import Path

NEVER_S = 1_000_000_000
"""Captures of several years may be in one file."""

# What each packet and each transaction may raise; own, since what the distribution's
# packages bring changes with them.
RULES = """\
alert http any any -> any any (msg:"request"; flow:to_server; http.method; \
content:"GET"; sid:1;)
alert http any any -> any any (msg:"agent"; http.user_agent; content:"o"; sid:2;)
alert http any any -> any any (msg:"answer"; flow:to_client; http.stat_code; \
content:"200"; sid:3;)
alert http any any -> any any (msg:"image"; flow:to_client; http.content_type; \
content:"image"; sid:4;)
alert dns any any -> any any (msg:"query"; dns.query; content:"."; sid:10;)
alert dns any any -> any any (msg:"com"; dns.query; content:"com"; endswith; sid:11;)
alert tls any any -> any any (msg:"server name"; tls.sni; content:"."; sid:20;)
alert tls any any -> any any (msg:"certificate"; tls.cert_subject; content:"CN"; \
sid:21;)
alert tcp any any -> any any (msg:"in a stream"; flow:established,to_client; \
content:"|00 00 00|"; sid:30;)
alert tcp any any -> any any (msg:"begins"; flow:not_established; flags:S; sid:31;)
alert tcp any any -> any any (msg:"ends"; flags:F+; sid:32;)
alert tcp any any -> any any (msg:"length"; flow:established; flags:PA; dsize:>1000; \
sid:33;)
alert udp any any -> any any (msg:"datagram"; dsize:>1000; sid:40;)
alert quic any any -> any any (msg:"quic"; sid:41;)
alert sip any any -> any any (msg:"sip"; sip.method; content:"E"; sid:42;)
alert icmp any any -> any any (msg:"icmp"; sid:50;)
alert ip any any -> any any (msg:"fragment"; fragbits:M; sid:51;)
alert modbus any any -> any any (msg:"modbus"; modbus:function 3; sid:60;)
alert nfs any any -> any any (msg:"nfs"; sid:61;)
alert rfb any any -> any any (msg:"rfb"; sid:62;)
alert smb any any -> any any (msg:"smb"; sid:63;)
alert tcp any any -> any any (msg:"tcp checksum"; tcpv4-csum:invalid; sid:70;)
alert tcp any any -> any any (msg:"tcp checksum"; tcpv6-csum:invalid; sid:71;)
alert udp any any -> any any (msg:"udp checksum"; udpv4-csum:invalid; sid:72;)
alert udp any any -> any any (msg:"udp checksum"; udpv6-csum:invalid; sid:73;)
alert ip any any -> any any (msg:"ip checksum"; ipv4-csum:invalid; sid:74;)
alert tcp any any -> any any (msg:"invalid ack"; stream-event:pkt_invalid_ack; sid:80;)
alert tcp any any -> any any (msg:"out of order"; \
stream-event:est_packet_out_of_window; sid:81;)
alert tcp any any -> any any (msg:"retransmission"; \
stream-event:pkt_spurious_retransmission; sid:82;)
alert tcp any any -> any any (msg:"gap"; stream-event:reassembly_seq_gap; sid:83;)
"""

_SETTINGS = """\
    %YAML 1.1
    ---
    outputs:
      - eve-log:
          enabled: yes
          filename: eve.json
          pcap-file: false
          types:
            - alert: {{tagged-packets: no}}
            - anomaly: {{enabled: yes, types: {{decode: yes, stream: yes, \
applayer: yes}}}}
            - http: {{extended: yes}}
            - files: {{force-magic: no, force-hash: [sha256]}}
            - dns
            - tls: {{extended: yes}}
            - smb
            - nfs
            - tftp
            - ftp
            - rdp
            - ike
            - dcerpc
            - krb5
            - bittorrent-dht
            - snmp
            - rfb
            - sip
            - quic
            - dhcp: {{extended: yes}}
            - ssh
            - mqtt
            - http2
            - pgsql
            - smtp
            - modbus
            - flow
            - stats
    stats: {{enabled: yes, interval: 1000000}}
    logging:
      default-log-level: warning
      outputs: [{{console: {{enabled: yes}}}}]
    threading: {{set-cpu-affinity: no}}
    max-pending-packets: 1024
    defrag: {{memcap: 64mb, hash-size: 65536, trackers: 65535, max-frags: 65535, \
prealloc: yes, timeout: 3600}}
    flow: {{memcap: 256mb, hash-size: 65536, prealloc: 10000, \
emergency-recovery: 30}}
    flow-timeouts:
      default: {{{timeouts}}}
      tcp: {{{timeouts}}}
      udp: {{{timeouts}}}
      icmp: {{{timeouts}}}
    stream:
      memcap: 256mb
      checksum-validation: {validation}
      inline: no
      midstream: true
      async-oneside: true
      reassembly: {{memcap: 512mb, depth: 0, toserver-chunk-size: 2560, \
toclient-chunk-size: 2560, randomize-chunk-size: no}}
    host: {{hash-size: 4096, prealloc: 1000, memcap: 32mb}}
    app-layer:
      protocols:
        krb5: {{enabled: yes}}
        snmp: {{enabled: yes}}
        ike: {{enabled: yes}}
        tls: {{enabled: yes, detection-ports: {{dp: 443}}, ja3-fingerprints: yes}}
        dcerpc: {{enabled: yes}}
        ftp: {{enabled: yes}}
        rdp: {{enabled: yes}}
        ssh: {{enabled: yes, hassh: yes}}
        http2: {{enabled: yes}}
        smtp: {{enabled: yes}}
        imap: {{enabled: detection-only}}
        smb: {{enabled: yes, detection-ports: {{dp: "139, 445"}}}}
        nfs: {{enabled: yes}}
        tftp: {{enabled: yes}}
        dns: {{tcp: {{enabled: yes, detection-ports: {{dp: 53}}}}, \
udp: {{enabled: yes, detection-ports: {{dp: 53}}}}}}
        http: {{enabled: yes, libhtp: {{default-config: {{personality: IDS, \
randomize-inspection-sizes: no}}}}}}
        modbus: {{enabled: yes, detection-ports: {{dp: 502}}, stream-depth: 0}}
        dhcp: {{enabled: yes}}
        sip: {{enabled: yes}}
        rfb: {{enabled: yes, detection-ports: {{dp: "5900, 5901, 5902"}}}}
        mqtt: {{enabled: yes}}
        quic: {{enabled: yes}}
        bittorrent-dht: {{enabled: yes}}
        pgsql: {{enabled: yes, stream-depth: 0}}
    """
_STATES = ("new", "established", "closed", "bypassed")


class Witness:
    """One run of Suricata, with its settings and what it says in a directory of its
    own. rules: None takes those above. verifies: whether it ignores packets whose
    checksums are wrong."""

    def __init__(
        self, directory: Path, rules: str | None = None, *, verifies: bool = False
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.events = directory / "eve.json"
        self._directory = directory
        self._verifies = verifies
        self._rules = directory / "suricata.rules"
        self._rules.write_text(RULES if rules is None else rules)
        states = [*_STATES, *(f"emergency-{state}" for state in _STATES)]
        timeouts = ", ".join(f"{state}: {NEVER_S}" for state in states)
        settings = textwrap.dedent(_SETTINGS).format(
            timeouts=timeouts,
            validation="yes" if verifies else "no",
        )
        self._settings = directory / "suricata.yaml"
        self._settings.write_text(settings)

    @staticmethod
    def is_installed() -> bool:
        """Whether there is one to start."""
        return shutil.which("suricata", path=SEARCH_PATH) is not None

    def command(self, savefile: Path) -> list[str]:
        """What to start; it ends when the savefile or the FIFO does."""
        checksums = "all" if self._verifies else "none"
        options = f"--runmode single -k {checksums} -l {self._directory}"
        inputs = f"-c {self._settings} -S {self._rules} -r {savefile}"
        return f"suricata {inputs} {options}".split()
