"""Seeds of files: certificates, settings and spools."""

import io
import json
import struct
import tarfile

from pcap_zmq.formats.certificate import Certificate, Role, Secret, encode
from pcap_zmq.formats.checkpoint import (
    MAGIC,
    MOVING,
    MOVING_AT,
    Item,
    Line,
    Link,
    Play,
    Seen,
    Slot,
    Where,
    encode_head,
    encode_line,
)
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.control import Reply, Request, encode_reply, encode_request
from pcap_zmq.formats.spool import (
    Place,
    encode_batch,
    encode_end,
    encode_hole,
    encode_segment_header,
)
from pcap_zmq.formats.spool_state import State as SpoolState
from pcap_zmq.formats.spool_state import encode_sent
from pcap_zmq.formats.spool_state import encode_state as encode_spool_state
from pcap_zmq.formats.wire import NO_TOTALS, StreamId
from pcap_zmq.packet import EncodedBatch
from tests.fuzz.crafted.common import Seeds

IPTABLES = b"""*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:MINE - [0:0]
[3:180] -A FORWARD -s 10.0.0.0/8 ! -d 10.1.2.3/32 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -m comment --comment "a b" -j NFLOG --nflog-group 5 --nflog-prefix "x y"
-A FORWARD -p udp -m multiport --sports 53,5000:6000 -j MINE
-A MINE -m iprange --src-range 10.0.0.1-10.0.0.9 -j RETURN
-A MINE -i eth+ -g MINE
-A MINE -j NFLOG --nflog-size 96
COMMIT
"""
IP6TABLES = b"""*mangle
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -d fd00::/8 -o lo -j NFLOG --nflog-range 64
COMMIT
"""


def archive() -> Seeds:
    def tar(kind: int, headers: dict[str, str] | None = None) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as made:
            for name, content in (("a", b"x" * 600), ("d/../" + "b" * 120, b"y")):
                member = tarfile.TarInfo(name)
                member.size, member.pax_headers = len(content), headers or {}
                made.addfile(member, io.BytesIO(content))
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
            made.addfile(member)
        return out.getvalue()[:4_096]

    yield "gnu", tar(tarfile.GNU_FORMAT)
    yield "pax", tar(tarfile.PAX_FORMAT)
    yield "pax-times", tar(tarfile.PAX_FORMAT, {"mtime": "nan", "size": "9"})
    sparse = {"GNU.sparse.map": "0,5,500,9", "GNU.sparse.size": "70000"}
    yield "sparse", tar(tarfile.PAX_FORMAT, sparse)
    old = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    yield "sparse-1.0", tar(tarfile.PAX_FORMAT, old)
    yield "torn", tar(tarfile.GNU_FORMAT)[:800]
    yield "no-archive", b"x" * 600


def eve_event() -> Seeds:
    ends: dict[str, object] = {
        "src_ip": "192.0.2.1",
        "src_port": 5000,
        "dest_ip": "192.0.2.2",
        "dest_port": 53,
        "proto": "UDP",
    }
    when = "2023-11-14T22:13:20.000001+0000"
    alert = {"timestamp": when, "event_type": "alert", **ends}
    outer = {"src_ip": "2001:db8::1", "dest_ip": "2001:db8::2", "proto": "GRE"}
    times = {"start": when, "end": "2023-11-14T22:13:21Z"}
    yield "alert", json.dumps(alert).encode()
    yield "with-its-file", json.dumps(alert | {"capture_file": "log.pcap.17"}).encode()
    yield "in-a-tunnel", json.dumps(alert | {"tunnel": outer}).encode()
    ended = alert | {"event_type": "flow", "flow": times}
    yield "flow", json.dumps(ended, indent=1).encode()
    yield "two", json.dumps(alert).encode() * 2
    yield "no-time", json.dumps(alert | {"timestamp": "@1e999"}).encode()
    yield "deep", b'{"a":' * 500
    yield "no-utf-8", b'{"proto":"\xff"}'


def filter_rules() -> Seeds:
    """The first octet: 0 YAML, 1 TOML."""
    kinds = (
        "a: {kind: subnet, match: [10.0.0.0/8, '2001:db8::1']}",
        "b: {kind: port, negate: true, match: [443/tcp, 53, 1-2/udp]}",
        "c: {any: [{kind: asn, match: AS1}, {not: {kind: raw}}]}",
        "d: {kind: ether, match: ['00:11:22:33:44:55']}",
        "e: {kind: flow, match: ['tcp 1.2.3.4:5 6.7.8.9:10', 'icmp ::1 ::2']}",
        "f: {conditions: [{kind: bpf, match: [tcp or udp]}, {kind: raw}]}",
    )
    yield "yaml", b"\0" + "\n".join(kinds).encode()
    yield "yaml-alias", b"\0a: &x {kind: raw}\nb: *x"
    yield "yaml-nested", b"\0a: " + b"{not: " * 40
    yield "yaml-key", b"\0? [a]\n: b\n---\nc: d"
    nested = b'{ any = [{ kind = "raw" }, { kind = "asn", match = [1] }] }'
    port = b'[[a.conditions]]\nkind = "port"\nmatch = [1, "2/udp"]\n'
    yield "toml", b"\1" + port + b"[b]\nnot = " + nested
    yield "toml-date", b"\1[a]\nkind = 1979-05-27\nmatch = 1.5\n"
    yield "toml-number", b'\1[a]\nkind = "port"\nmatch = [' + b"9" * 4_000 + b"]\n"


def flow_list() -> Seeds:
    """The first octet: 0 CSV, 1 events."""
    yield "hosts", b"\0# known\n192.0.2.1\n\n2001:db8::/32\n"
    yield "services", b"\x00192.0.2.1,tcp,443\n::1,17, 53\n"
    yield "flows", b"\x00192.0.2.1,192.0.2.2,tcp,1,2\n::1,::2,icmpv6,,\n"
    header = b"\0src_ip,dest_ip,proto,src_port,dest_port,note\n"
    yield "header", header + b'192.0.2.1,192.0.2.2,UDP,1,2,"a, b"\n'
    yield "long-port", b"\x00192.0.2.1,tcp," + b"0" * 4_000
    event = (
        b'{"event_type":"alert","flow_id":7,"src_ip":"192.0.2.1","src_port":1,'
        b'"dest_ip":"192.0.2.2","dest_port":2,"proto":"TCP"}\n'
    )
    yield "events", b"\1" + event + event.replace(b"TCP", b"PROTO:132")
    yield "events-torn", b"\1" + event + event[:40]
    yield "events-other", b"\1" + event.replace(b"192.0.2.1", b"::1")


def certificate() -> Seeds:
    # A key of each half that is nobody's.
    public, secret = (
        "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
        "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
    )
    whole = Certificate(public, Secret(secret), "gateway", Role.OPERATOR)
    yield "public", encode(Certificate(public, name="gateway")).encode()
    yield "secret", encode(whole).encode()
    yield "other-quotes", f"curve\n  public-key = '{public}'\n".encode()
    long_role = b"\n    role = " + b"r" * 1_000
    yield (
        "long-role",
        encode(whole).encode().replace(b"metadata", b"metadata" + long_role),
    )
    yield "without-a-key", b"metadata\n    name = x\n"
    yield "twice", f'curve\n  public-key="{public}"\n'.encode() * 2
    yield (
        "of-a-czmq-tool",
        (
            f'#   ****  Generated  ****\nmetadata\ncurve\n    public-key = "{public}"\n'
        ).encode(),
    )


def listings() -> Seeds:
    nft, iptables = b"\0", b"\1"
    yield "nft-nothing", nft + b'{"nftables": []}'
    where = {"family": "inet", "table": "t"}
    address = {"payload": {"protocol": "ip", "field": "daddr"}}
    port = {"payload": {"protocol": "tcp", "field": "dport"}}
    network = {"prefix": {"addr": "10.0.0.0", "len": 8}}
    ports = {"set": [80, {"range": [5000, 6000]}]}
    matches = [
        {"match": {"op": "==", "left": address, "right": network}},
        {"match": {"op": "!=", "left": port, "right": ports}},
        {"match": {"op": "==", "left": port, "right": "@s"}},
        {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "eth*"}},
    ]
    jump = {"jump": {"target": "c"}}
    rules = [
        [*matches, {"counter": {"packets": 1, "bytes": 2}}, {"log": {"group": 5}}],
        [jump, {"log": {"prefix": "x", "snaplen": 96, "queue-threshold": 2}}],
        [{"vmap": {"key": port, "data": {"set": [[80, jump]]}}}, {"accept": None}],
    ]
    objects: list[dict[str, object]] = [
        {"table": {"family": "inet", "name": "t", "handle": 1}},
        {"set": {**where, "name": "s", "type": "inet_service", "elem": [53]}},
        {"chain": {**where, "name": "b", "hook": "forward"}},
        {"chain": {**where, "name": "c"}},
        {"rule": {**where, "chain": "c", "handle": 9, "expr": [jump, rules[0][-1]]}},
    ]
    for number, expressions in enumerate(rules, 4):
        rule = {**where, "chain": "b", "handle": number, "expr": expressions}
        objects += [{"rule": rule}]
    listed = json.dumps({"nftables": objects}).encode()
    yield "nft", nft + listed
    yield "nft-nested", nft + b"[" * 4_000
    yield "nft-infinite", nft + listed.replace(b'"handle": 4', b'"handle": 1e999')
    yield "iptables", iptables + IPTABLES
    yield "iptables-nameless-chain", iptables + b"*filter\n:\n-A\nCOMMIT\n"
    rule_of = b"*filter\n-A INPUT -p tcp --dport %b -j ACCEPT\nCOMMIT\n"
    # Python refuses to read a number of more than 4,300 digits; this is still read.
    yield "iptables-long-number", iptables + rule_of % (b"9" * 4_000)
    yield "ip6tables", b"\2" + IP6TABLES


def settings() -> Seeds:
    yield "empty", b""
    yield "good", b'[send]\ngroup = [1, "2"]\nto = "tcp://a:1"\ninsecure = true\n'
    yield "misspelt", b'[sendd]\n[recv]\noutptu = "x"\n'
    yield "other-shapes", b"[send]\ngroup = 5\nto = [1]\ninsecure = 2024-01-01\n"
    yield "in-no-table", b"group = 1\nsend = 2\n"
    yield "several-lines", b'[send]\ngroups = [\n1,\n2 ]\nto = """a\nb"""\n'
    yield "no-toml", b"[send\n"
    yield "no-utf-8", b"\xff"
    yield "nested", b"a = " + b"[" * 400


def spool() -> Seeds:
    salt = 7
    batch = EncodedBatch(101, 3, Codec.NONE, 100, bytes(100))
    state = SpoolState(
        *(StreamId(bytes(16), 1), bytes(16), 5, 9, Place(2, 40, 30)), NO_TOTALS
    )
    for number, (name, octets) in enumerate(
        (
            ("segment", encode_segment_header(1, salt)),
            ("record", encode_batch(batch, salt)),
            ("end", encode_end(30, 4, salt)),
            ("state", encode_spool_state(state, 3)),
            ("sent", encode_sent(salt, 5)),
        )
    ):
        head = struct.pack(">BBI", number, 0, salt)
        yield name, head + octets
        yield f"{name}-sealed", head[:1] + b"\1" + head[2:] + octets
    yield "hole", struct.pack(">BBI", 1, 0, salt) + encode_hole(3, salt)


def spool_directory() -> Seeds:
    """Files by name: the segments, and the state behind them."""
    octet, truncate, append, remove = range(4)

    def change(file: int, kind: int, offset: int = 0, octet: int = 0) -> bytes:
        return struct.pack(">BBHB", file, kind, offset, octet)

    ended, killed = b"\x09\x07", b"\x09\x06"
    yield "empty", b"\0\1"
    yield "ended", ended
    yield "killed", killed
    yield "torn", killed + change(2, truncate, 150)
    yield "torn-in-the-middle", ended + change(1, truncate, 150)
    yield "damaged-payload", killed + change(0, octet, 80, 0xFF)
    yield "damaged-header", killed + change(0, octet, 30, 0xFF)
    yield "damaged-end", ended + change(0, append, 5, 0)
    yield "without-a-segment", ended + change(1, remove)
    yield "without-its-state", ended + change(3, remove)
    yield "damaged-state", ended + change(3, octet, 40, 0xFF)


def checkpoint() -> Seeds:
    play = Play(3, "7", ["/a.pcap"], 5, mark="1 2 3")
    lines: list[Line] = [
        Item(1, "/a.pcap", Where.PROCESSED, "allow", 5),
        Item(2, "/b.pcap", Where.BROKEN, "allow", 4, "it ends"),
        play,
        Seen("/c.pcap", "0123"),
        Link("0123", 4, 5, "6"),
        True,
    ]
    head = encode_head(Slot(3, 7, 1, 9))[len(MAGIC) :]
    said = b"".join(map(encode_line, lines))
    yield "all", head + said
    yield "torn", head + said[:-3]
    yield "nonsense", head + b'{"item":{"number":-1}}\n'
    yield "short", head[:-1]
    moving = MOVING_AT - len(MAGIC)
    under_way = MOVING.pack(3, 7, 77)
    yield "under-way", head[:moving] + under_way + head[moving + 24 :] + said


def control() -> Seeds:
    yield "status", encode_request(Request("status"))
    yield "allow", encode_request(Request("allow", ("/a.pcap", "#7")))
    yield "all", encode_request(Request("skip", is_for_all=True))
    yield "reply", encode_reply(Reply("no", {"files": []}))
    yield "nonsense", b'{"do":["add"],"files":{}}'
