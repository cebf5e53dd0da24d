"""The grammar of filters: what is wrong is told with its place, and what is written is
read as what it was."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.conditions import (
    PROTOCOLS,
    WITH_PORTS,
    All,
    Asn,
    Bpf,
    Condition,
    Either,
    Ether,
    Everything,
    InFlow,
    Not,
    Port,
    Ports,
    Subnet,
    flow,
    flow_ends,
)
from pcap_zmq.formats.filter_rules import DEPTH_MAX, decode, encode

# Unhappy paths.


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "f.yaml holds no filters"),
        ("[]", "f.yaml holds no filters"),
        ("web: 1", "f.yaml: 'web': is no condition"),
        ("web: {}", "f.yaml:1: 'web': wants one of kind, all, any, not"),
        ("web: {kind: raw, any: []}", "f.yaml:1: 'web': wants one of kind"),
        ("web: {kind: prot}", "there is no kind 'prot'; did you mean port?"),
        ("web: {kind: [port]}", "there is no kind"),
        ("web: {kind: port}", "matches nothing"),
        ("web: {kind: port, match: []}", "matches nothing"),
        ("web: {kind: raw, match: [1]}", "no match"),
        ("web: {kind: raw, negat: true}", "'negat' is not for here; did you mean neg"),
        ("web: {kind: raw, negate: perhaps}", "negate wants true or false"),
        ("web: {conditions: []}", "wants a list of conditions"),
        ("web: {any: {kind: raw}}", "wants a list of conditions"),
        ("web: {kind: port, match: [{a: b}]}", "match wants texts and numbers"),
        ("web:\n  conditions:\n  - kind: port\n    match: [65536]", "f.yaml:3: 'web'"),
        ("web: {kind: port, match: [443/icmp]}", "'443/icmp' is no port"),
        ("web: {kind: port, match: [9-1]}", "'9-1' is no port"),
        ("web: {kind: subnet, match: [10.0.0.0/33]}", "is no subnet"),
        ("web: {kind: subnet, match: [fe80::1%eth0]}", "has a zone"),
        ("web: {kind: ether, match: ['00:11:22:33:44']}", "is no MAC address"),
        ("web: {kind: ether, match: ['00:11-22:33:44:55']}", "is no MAC address"),
        ("web: {kind: asn, match: [4294967296]}", "is no AS number"),
        ("web: {kind: bpf, match: ['']}", "an empty expression"),
        ("web: {kind: flow, match: [tcp 192.0.2.1 192.0.2.2]}", "has no port"),
        ("web: {kind: flow, match: [tcp 192.0.2.1:1 '[::1]:2']}", "did not find"),
        ("web: {kind: flow, match: ['tcp 192.0.2.1:1 [::1]:2']}", "two IP versions"),
        ("web: {kind: flow, match: ['tcp 192.0.2.1:1']}", "is no flow"),
        ("web: {kind: flow, match: ['hopopt 192.0.2.1 ::1']}", "is no IP protocol"),
        ("web: &x {kind: raw}\nall: *x", "f.yaml:1: aliases are not for here"),
        ("web: {kind: raw}\nweb: {kind: raw}", "f.yaml:2: 'web' is there twice"),
        ("? [a]\n: b", "f.yaml:1: a name has to be a text"),
        ("web: [", "f.yaml:2:1: "),
        # Far beyond what the stack of PyYAML in C would hold.
        ("[" * 1_000_000, "f.yaml:1: is nested too deeply"),
        ("a:\n  " + "- " * 1_000_000, "f.yaml:2: is nested too deeply"),
        ("? " * 1_000_000, "f.yaml:1: is nested too deeply"),
        ("web: \x00", "f.yaml: "),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: "),
        ("../web: {kind: raw}", "cannot name a filter"),
        (".web: {kind: raw}", "cannot name a filter"),
        ('"a\\nb": {kind: raw}', "cannot name a filter"),
        (f"{'x' * 201}: {{kind: raw}}", "cannot name a filter"),
        ("'': {kind: raw}", "cannot name a filter"),
    ],
)
def test_what_is_no_filter_is_told_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(text.encode(), "f.yaml")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("octets", "name", "complaint"),
    [
        (b"a = ", "f.toml", "f.toml: Invalid value"),
        (b"a = 1", "f.toml", "f.toml: 'a': is no condition"),
        (b"[a]\nkind = 'raw'\nmatch = 1.5", "f.toml", "kind raw is for every packet"),
        (b"[a]\nkind = 'port'\nmatch = [1.5]", "f.toml", "wants texts and numbers"),
        (b"[a]\nkind = 'port'\nmatch = [true]", "f.toml", "wants texts and numbers"),
        (b"[a]\nkind = 'port'\nmatch = [1979-05-27]", "f.toml", "wants texts and"),
        (b"\xff", "f.toml", "f.toml:1: is no UTF-8"),
        (b"\n\xff", "f.yaml", "f.yaml:2: is no UTF-8"),
        (b" " * (17 << 20), "f.yaml", "more than 16 MiB"),
        (b"a: " + b"[" * 5_000, "f.yaml", "f.yaml"),
        (b"a: " + b"{not: " * 500 + b"1" + b"}" * 500, "f.yaml", "nested too deeply"),
        (b"a = " + b"[" * 50_000, "f.toml", "f.toml"),
    ],
)
def test_what_is_no_file_of_filters_is_told(
    octets: bytes, name: str, complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(octets, name)
    assert complaint in str(caught.value)


def test_conditions_in_each_other_have_a_bound() -> None:
    text = "{not: " * DEPTH_MAX + "{kind: raw}" + "}" * DEPTH_MAX
    assert decode(f"a: {text}".encode(), "f.yaml")
    with pytest.raises(ConfigError, match="in each other"):
        decode(f"a: {{not: {text}}}".encode(), "f.yaml")


# What is read.


def test_filters_as_gophercap_has_them_are_read() -> None:
    text = """
    subnet:
      conditions:
        - kind: subnet
          match:
            - 10.0.0.0/8
            - 192.168.0.0/16
    port:
      conditions:
        - kind: port
          match: [443/tcp, 53/udp]
        - kind: subnet
          negate: true
          match: [192.0.2.0/24]
    asn:
      conditions:
        - kind: asn
          match: [13335, 15169]
    everything:
      conditions:
        - kind: raw
    """
    inside = Subnet((ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16")))
    ports = Port((Ports(443, 443, 6), Ports(53, 53, 17)))
    assert decode(text.encode(), "f.yaml") == {
        "subnet": inside,
        "port": All((ports, Not(Subnet((ip_network("192.0.2.0/24"),))))),
        "asn": Asn((13335, 15169)),
        "everything": Everything(),
    }


def test_what_gophercaps_generator_writes_is_read() -> None:
    """Bare addresses and ports, which GopherCap's own filter refuses."""
    text = """
    "1234567890":
      conditions:
        - {kind: subnet, match: [192.0.2.1]}
        - {kind: subnet, match: ["2001:db8::1"]}
        - {kind: port, match: [443]}
        - {kind: port, match: ["50000"]}
    """
    one, other = ip_network("192.0.2.1/32"), ip_network("2001:db8::1/128")
    ports = (Ports(443, 443), Ports(50_000, 50_000))
    assert decode(text.encode(), "f.yaml") == {
        "1234567890": All(
            (Subnet((one,)), Subnet((other,)), Port(ports[:1]), Port(ports[1:]))
        )
    }


def test_a_mac_address_is_no_number_of_yaml() -> None:
    """10:20:30:40:50:11 is a number of base 60 in YAML 1.1."""
    text = b"a: {kind: ether, match: [10:20:30:40:50:11, 00-AA-bb-CC-dd-EE]}"
    values = bytes.fromhex("102030405011"), bytes.fromhex("00aabbccddee")
    assert decode(text, "f.yaml") == {"a": Ether(values)}


def test_yaml_and_toml_say_the_same() -> None:
    toml = b"""
    [web]
    any = [
        { kind = "port", match = [80, "443/tcp", "8000-8080"] },
        { not = { all = [{ kind = "asn", match = "AS13335" }, { kind = "raw" }] } },
    ]
    """
    yaml = b"""
    web:
      any:
        - {kind: port, match: [80, 443/tcp, 8000-8080]}
        - not:
            all:
              - {kind: asn, match: AS13335}
              - {kind: raw}
    """
    ports = Port((Ports(80, 80), Ports(443, 443, 6), Ports(8000, 8080)))
    wanted = Either((ports, Not(All((Asn((13335,)), Everything())))))
    assert decode(toml, "f.toml") == decode(yaml, "f.yaml") == {"web": wanted}


@pytest.mark.parametrize("negate", ["true", "True", "yes"])
def test_a_condition_may_be_negated(negate: str) -> None:
    text = f"a: {{kind: raw, negate: {negate}}}"
    assert decode(text.encode(), "f.yaml") == {"a": Not(Everything())}
    assert decode(b"a: {kind: raw, negate: false}", "f.yaml") == {"a": Everything()}


def test_a_flow_is_the_same_in_either_direction() -> None:
    ways = ["tcp 192.0.2.1:5000 192.0.2.2:443", "tcp 192.0.2.2:443 192.0.2.1:5000"]
    one, other = (
        decode(f"a: {{kind: flow, match: ['{way}']}}".encode(), "f.yaml")
        for way in ways
    )
    assert one == other


# What is written is read as what it was.

networks = st.ip_addresses().flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: ip_network((address, length), strict=False)
    )
)
ports = st.tuples(
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.none() | st.sampled_from(sorted(WITH_PORTS)),
).map(lambda each: Ports(min(each[:2]), max(each[:2]), each[2]))
protocols = st.integers(0, 255) | st.sampled_from(sorted(PROTOCOLS.values()))
port = st.integers(0, 65_535)
v4, v6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
flows = st.one_of(
    st.builds(flow, protocols, v4, port, v4, port),
    st.builds(flow, protocols, v6, port, v6, port),
)
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
).filter(str.strip)
tests: st.SearchStrategy[Condition] = st.one_of(
    st.lists(networks, min_size=1, max_size=3).map(lambda v: Subnet(tuple(v))),
    st.lists(ports, min_size=1, max_size=3).map(lambda v: Port(tuple(v))),
    st.lists(st.binary(min_size=6, max_size=6), min_size=1, max_size=3).map(
        lambda v: Ether(tuple(v))
    ),
    st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=3).map(
        lambda v: Asn(tuple(v))
    ),
    st.lists(texts.map(str.strip), min_size=1, max_size=2).map(lambda v: Bpf(tuple(v))),
    st.frozensets(flows, max_size=3).map(InFlow),
    st.just(Everything()),
)


def _joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(several.map(All), several.map(Either), parts.map(Not))


names = texts.filter(lambda name: "/" not in name and not name.startswith("."))
rules = st.dictionaries(
    names, st.recursive(tests, _joined, max_leaves=6), min_size=1, max_size=3
)


@given(rules)
def test_what_is_written_is_read_as_what_it_was(given: dict[str, Condition]) -> None:
    for name in ("f.yaml", "f.toml"):
        read = decode(encode(given, name).encode(), name)
        assert read == given
        assert list(read) == list(given)


@given(rules)
def test_the_same_filters_are_always_the_same_text(
    given: dict[str, Condition],
) -> None:
    text = encode(given, "f.toml")
    assert encode(decode(text.encode(), "f.toml"), "f.toml") == text


def test_a_flow_tells_its_ends() -> None:
    one, other = ip_address("2001:db8::2"), ip_address("2001:db8::1")
    ends = flow_ends(flow(17, one, 53, other, 5353))
    assert ends == (17, other, 5353, one, 53)
    assert flow_ends(flow(58, one, 1, other, 2)) == (58, other, 0, one, 0)
