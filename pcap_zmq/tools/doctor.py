"""The doctor: looks at what usually goes wrong on this host, and says how to mend it.

It reads, lists and connects once to the endpoint; nothing on the system is changed, and
a sender or receiver that runs here does not notice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pcap_zmq import options, sockets
from pcap_zmq.clock import NS_PER_S, SystemClock
from pcap_zmq.doctor.finding import Finding, unknown
from pcap_zmq.doctor.judge import (
    buffers,
    clock,
    endpoint,
    groups,
    ids,
    keys,
    libraries,
    output,
    rights,
    rules,
)
from pcap_zmq.doctor.look import groups as look_groups
from pcap_zmq.doctor.look import host, network, ruleset
from pcap_zmq.doctor.look import output as look_output
from pcap_zmq.doctor.look import rights as look_rights
from pcap_zmq.errors import ConfigError, TransportError, WireError
from pcap_zmq.formats.inquiry import Kind
from pcap_zmq.formats.ledger import decode_state
from pcap_zmq.formats.rules import Stream, iptables_rules, nft_rules
from pcap_zmq.tools import output_spec
from pcap_zmq.tools.credentials import ClientKeys, ServerKeys

ANSWER_NS = 3 * NS_PER_S
"""How long to wait for the receiver to say what time it is."""


@dataclass(frozen=True, slots=True)
class DoctorConfig:
    """What `pcap-zmq doctor` is asked to look at. groups: of a sender; output: of a
    receiver; neither: the host alone. endpoint: the sender's, or the receiver's
    address."""

    groups: tuple[int, ...] = ()
    output: str | None = None
    endpoint: str | None = None
    rcvbuf: int = options.RCVBUF.default
    qthreshold: int = options.QTHRESHOLD.default
    keys: ClientKeys = field(default_factory=ClientKeys)
    allow: Path | None = None
    """Of a receiver, with the key in `keys`."""

    def check(self) -> None:
        """Raises ConfigError for what cannot be asked."""
        if self.groups and self.output is not None:
            raise ConfigError("--send and --recv: one host at a time, one of the two")
        for group in self.groups:
            options.GROUP.check("NFLOG group", group)
        if self.endpoint is not None:
            sockets.check_endpoint(self.endpoint, bind=True)


@dataclass(frozen=True, slots=True)
class Pasteable:
    """Rules that would log to a group, with our own stream left out."""

    group: int
    nft: str
    iptables: str


class Doctor:
    """Made, it has looked at nothing yet."""

    def __init__(self, config: DoctorConfig) -> None:
        config.check()
        self._config = config
        self._stream: Stream | None = None
        self._may_ask = False

    def findings(self) -> Iterator[Finding]:
        """One after the other, each as soon as it is known."""
        config = self._config
        if config.endpoint is not None:
            self._stream = network.stream_to(config.endpoint)
        yield from libraries.judge(host.look_at_libraries(), sends=bool(config.groups))
        yield from clock.judge(host.look_at_clock())
        if config.endpoint is not None:
            yield from keys.judge(self._look_at_keys(config.endpoint))
        if config.output is not None:
            yield from self._receiving(config.output)
        else:
            yield from self._sending()

    def rules(self) -> Pasteable | None:
        """What to paste where no rule logs yet; after `findings`. None: no group was
        asked about."""
        if not self._config.groups:
            return None
        group = self._config.groups[0]
        arguments = group, self._config.qthreshold, self._stream
        return Pasteable(group, nft_rules(*arguments), iptables_rules(*arguments))

    def _sending(self) -> Iterator[Finding]:
        config = self._config
        if config.groups:
            yield from rights.judge(look_rights.look())
        yield from rights.judge_kernel(look_rights.look_at_kernel())
        yield from groups.judge(look_groups.look(config.groups))
        tables, refused = ruleset.look()
        reached = rules.reached_groups(tables)
        wanted = config.groups or tuple(sorted(reached))
        if config.groups:
            are_here = any(group in reached for group in config.groups)
            place = look_rights.look_at_place()
            yield from rights.judge_place(place, are_rules_here=are_here)
        facts = rules.Rules(wanted, config.qthreshold, tables, refused, self._stream)
        yield from rules.judge(facts)
        if config.groups:
            yield from buffers.judge(host.look_at_buffers(config.rcvbuf))
        if config.endpoint is not None:
            yield from self._other_end(config.endpoint)

    def _look_at_keys(self, name: str) -> keys.Keys:
        given, allow = self._config.keys, self._config.allow
        are_given = (given.key, given.peer_key, allow) != (None, None, None)
        if given.insecure and not are_given:
            self._may_ask = True
            return keys.Keys(name, False, None, is_insecure=True)
        try:
            if self._config.output is None:
                given.check(name)
                given.read()
            else:
                server = ServerKeys(given.key, allow, given.insecure)
                server.check(name)
                server.read()
                server.read_allowed()
        except ConfigError as error:
            return keys.Keys(name, are_given, str(error))
        self._may_ask = True
        return keys.Keys(name, are_given, None)

    def _other_end(self, name: str) -> Iterator[Finding]:
        if self._stream is not None and self._stream.is_listening:
            return  # we listen there ourselves
        tried = network.try_endpoint(name)
        has_keys = self._config.keys.key is not None
        yield from endpoint.judge(tried, has_keys=has_keys)
        if self._may_ask and endpoint.is_open(tried, has_keys=has_keys):
            offset = offset_to_receiver(name, self._config.keys)
            if offset is None:
                yield unknown(
                    clock.CHECK, f"{name} does not answer when asked what time it is"
                )
            else:
                yield from clock.judge_offset(offset)

    def _receiving(self, where: str) -> Iterator[Finding]:
        looked = None
        spec = output_spec.parse_output(where)
        if spec.has_path:
            looked = look_output.look(spec.name)
            yield from output.judge(looked)
            if looked.kind is not output.Kind.FILE and not looked.is_file_wanted:
                yield from output.judge_pipes(host.look_at_pipes())
        yield from ids.judge(look_output.look_for_ids(looked))


def offset_to_receiver(endpoint: str, keys: ClientKeys) -> clock.Offset | None:
    """Asks the receiver what time it is; None where it gives no answer. Whatever has
    been read by then, this process can be dumped no more."""
    # Here, so that a host without an endpoint is looked at without it.
    from pcap_zmq.poll import Stop
    from pcap_zmq.tools.asker import Asker, AskerConfig

    time, stop = SystemClock(), Stop()
    try:
        with Asker(AskerConfig(endpoint, ANSWER_NS, keys)) as receiver:
            # So that connecting is not in what is measured.
            receiver.ask(Kind.STATUS, stop)
            asked_ns = time.now().wall_ns
            body = receiver.ask(Kind.STATUS, stop)
            answered_ns = time.now().wall_ns
            if body is None:
                return None
            state = decode_state(body)
    except (TransportError, WireError):
        return None
    uncertain_ns = (answered_ns - asked_ns) // 2
    ahead_ns = state.now_ns - (asked_ns + uncertain_ns)
    return clock.Offset(endpoint, ahead_ns, uncertain_ns)
