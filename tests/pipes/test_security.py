"""Keys between real processes, and hostile peers beside a sender that works."""

import json
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq

from pcap_zmq.formats.certificate import Certificate, Role
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.keys import make_pair, read_own
from testbed.waiting import wait_until
from tests.pipes import hostile, packets
from tests.pipes.hostile import Attack, Insider
from tests.pipes.tools import BIN, PATIENCE_S, Tool, Tools, Totals

BEFORE, AFTER = range(2_000), range(2_000, 6_000)
CUT_WITHIN_S = 2.0
"""And as much again for a machine that does much else."""


class Keys:
    """A receiver's, and those of senders."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.allow = directory / "allow"
        self.allow.mkdir()
        self.receiver = self.make("ids")

    def make(self, name: str, role: Role = Role.SENDER) -> Certificate:
        return read_own(make_pair(self.directory, name, role)[1])

    def admit(self, name: str, role: Role = Role.SENDER) -> Certificate:
        own = self.make(name, role)
        self.let_in(name)
        return own

    def let_in(self, name: str) -> None:
        # As one should: a copy that is half there would be a broken file.
        shutil.copy(self.directory / f"{name}.key", self.allow / "new")
        (self.allow / "new").rename(self.allow / f"{name}.key")

    def of_receiver(self) -> list[str | Path]:
        secret = self.directory / "ids.key_secret"
        return ["--key", secret, "--allow", self.allow]

    def of(self, name: str) -> list[str | Path]:
        secret = self.directory / f"{name}.key_secret"
        return ["--key", secret, "--peer-key", self.directory / "ids.key"]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys")


class Feed:
    """A sender that gets packets as the test goes on, and the file they end up in."""

    def __init__(
        self,
        tools: Tools,
        directory: Path,
        receiver: Tool,
        endpoint: str,
        *options: str | Path,
    ) -> None:
        self._receiver = receiver
        self._output = directory / "out.pcap"
        self._expected = packets.header()
        self.port = int(endpoint.rpartition(":")[2])
        self.sender = tools.send("-", endpoint, *options, stdin=subprocess.PIPE)
        self.sender.stdin.write(self._expected)

    def feed(self, numbers: range) -> None:
        """More packets, which have arrived when this returns."""
        self.give(numbers)
        wait_until(self.has_arrived, PATIENCE_S, f"packets {numbers}")

    def give(self, numbers: range) -> None:
        octets = packets.records(numbers)
        self._expected += octets
        self.sender.stdin.write(octets)
        self.sender.stdin.flush()

    def has_arrived(self) -> bool:
        if not self._output.exists():
            return False
        return self._output.stat().st_size >= len(self._expected)

    def finish(self) -> tuple[Totals, Totals]:
        """The sender's and the receiver's; every octet has arrived, and once."""
        self.sender.stdin.close()
        sent, received = self.sender.finish(), self._receiver.stop()
        assert self._output.read_bytes() == self._expected
        return sent, received


def receive(tools: Tools, directory: Path, *options: str | Path) -> tuple[Tool, str]:
    return tools.receive_on_tcp(f"file:{directory / 'out.pcap'}", *options)


@pytest.fixture
def secured(tools: Tools, tmp_path: Path, keys: Keys) -> Feed:
    keys.admit("gw1")
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    return Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw1"))


@pytest.fixture
def unsecured(tools: Tools, tmp_path: Path) -> Feed:
    receiver, endpoint = receive(tools, tmp_path)
    return Feed(tools, tmp_path, receiver, endpoint)


def withstand(feed: Feed, attack: Attack) -> tuple[Totals, Totals]:
    """Packets before, during and after the attack arrive, on one connection."""
    feed.feed(BEFORE)
    attacker = threading.Thread(target=attack, args=(feed.port,))
    attacker.start()
    feed.feed(AFTER)
    attacker.join(PATIENCE_S)
    assert not attacker.is_alive()
    feed.feed(range(6_000, 6_500))
    sent, received = feed.finish()
    assert sent["reconnects"] == 0
    assert sent["acknowledged"] == 6_500
    return sent, received


STRANGERS: list[Attack] = [
    hostile.scan,
    hostile.speak_tls,
    hostile.speak_http,
    hostile.make_noise,
    hostile.make_noise_after_the_greeting,
    hostile.send_a_giant_frame,
    hostile.send_an_endless_message,
]


@pytest.mark.parametrize("attack", STRANGERS, ids=lambda attack: attack.__name__)
def test_strangers_do_not_disturb_a_sender_with_keys(
    secured: Feed, attack: Attack
) -> None:
    withstand(secured, attack)


@pytest.mark.parametrize("attack", STRANGERS, ids=lambda attack: attack.__name__)
def test_strangers_do_not_disturb_a_sender_without_keys(
    unsecured: Feed, attack: Attack
) -> None:
    _, received = withstand(unsecured, attack)
    if attack is hostile.send_an_endless_message:
        assert received["cut off"] == 1


@pytest.mark.parametrize(
    "deed", ["flood_with_nonsense", "flood_with_batches", "send_a_giant"]
)
def test_an_insider_does_not_disturb_a_sender(
    secured: Feed, keys: Keys, deed: str
) -> None:
    insider = Insider(keys.admit("insider"), keys.receiver.public)
    _, received = withstand(secured, getattr(insider, deed))
    assert received["received"] == 6_500
    if deed == "flood_with_nonsense":
        assert received["cut off"] >= 1


def test_who_sends_broken_batches_is_cut_off(secured: Feed, keys: Keys) -> None:
    insider = Insider(keys.admit("insider"), keys.receiver.public)
    _, received = withstand(secured, insider.send_broken_batches)
    assert received["cut off"] >= 1
    assert received["dropped"] == received.dropped["malformed"] > 0


def test_nobody_takes_over_what_is_anothers(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    """By the ids that the other uses, which are no secret among insiders."""
    keys.admit("gw1")
    keys.admit("boss", Role.OPERATOR)
    insider = Insider(keys.admit("insider"), keys.receiver.public)
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    feed = Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw1"))
    feed.feed(BEFORE)
    state = ask(endpoint, keys.of("boss"))
    (line,) = state["senders"]
    stream = StreamId(bytes.fromhex(line["sender"]), line["started_ns"])
    insider.claim_streams(feed.port, [stream])
    feed.feed(AFTER)
    lines = {line["name"]: line for line in ask(endpoint, keys.of("boss"))["senders"]}
    assert set(lines) == {"gw1", "insider"}
    assert lines["gw1"]["delivered"] == 6_000
    assert lines["gw1"]["unaccounted"] == lines["gw1"]["repeated"] == 0
    assert lines["insider"]["delivered"] == 0
    (own,) = ask(endpoint, keys.of("insider"))["senders"]
    assert own["name"] == "insider"
    sent, _ = feed.finish()
    assert sent["reconnects"] == 0


def ask(endpoint: str, options: list[str | Path]) -> dict[str, list[dict[str, Any]]]:
    """The ledger."""
    done = subprocess.run(
        [BIN / "pcap-zmq", "status", "--json", *options, endpoint],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert not done.stderr
    return dict(json.loads(done.stdout))


# Keys come and go.


def test_a_sender_waits_until_its_key_is_allowed(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    keys.make("gw1")
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    feed = Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw1"))
    feed.give(BEFORE)
    feed.sender.wait_to_say("the receiver does not allow our key")
    receiver.wait_to_say("was refused: its key")
    assert not feed.has_arrived()
    keys.let_in("gw1")
    wait_until(feed.has_arrived, PATIENCE_S, "the packets")
    feed.finish()


@pytest.mark.parametrize("by_signal", [False, True], ids=["by itself", "on SIGHUP"])
def test_a_key_that_is_removed_is_cut_off_and_loses_nothing(
    tools: Tools, tmp_path: Path, keys: Keys, by_signal: bool
) -> None:
    keys.admit("gw1")
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    feed = Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw1"))
    feed.feed(BEFORE)
    (keys.allow / "gw1.key").unlink()
    if by_signal:
        receiver.process.send_signal(signal.SIGHUP)
        receiver.wait_to_say("the list of keys is read again")
    receiver.wait_to_say("gw1 (127.0.0.1) is no longer allowed", 2 * CUT_WITHIN_S)
    feed.give(AFTER)
    feed.sender.wait_to_say("the receiver does not allow our key")
    assert not feed.has_arrived()
    keys.let_in("gw1")
    wait_until(feed.has_arrived, PATIENCE_S, "what was held meanwhile")
    feed.finish()


def test_a_sender_that_listens_has_keys_all_the_same(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    keys.admit("gw1")
    packets.write(tmp_path / "in.pcap", BEFORE)
    options = (*keys.of("gw1"), "--bind", "--name", "somebody else")
    endpoint = f"ipc://{tmp_path}/link"
    sender = tools.send(tmp_path / "in.pcap", endpoint, *options)
    output = tmp_path / "out.pcap"
    receiver = tools.receive(
        endpoint, f"file:{output}", "--connect", "--once", *keys.of_receiver()
    )
    sender.finish()
    receiver.finish()
    assert output.read_bytes() == (tmp_path / "in.pcap").read_bytes()
    assert "sender gw1 is here" in receiver.said()
    assert "somebody else" not in receiver.said()


# What a sender says when it is not let in.


@pytest.mark.parametrize(
    ("has_own", "has_theirs", "hint"),
    [
        (False, True, "the receiver wants keys; give --key and --peer-key"),
        (True, False, "the receiver has no keys; give it --key and --allow"),
    ],
)
def test_who_has_keys_and_who_has_not_do_not_meet(
    tools: Tools, tmp_path: Path, keys: Keys, has_own: bool, has_theirs: bool, hint: str
) -> None:
    keys.admit("gw1")
    options = keys.of_receiver() if has_theirs else []
    receiver, endpoint = receive(tools, tmp_path, *options)
    feed = Feed(
        tools, tmp_path, receiver, endpoint, *(keys.of("gw1") if has_own else [])
    )
    feed.give(BEFORE)
    feed.sender.wait_to_say(hint)
    assert not feed.has_arrived()


def test_who_takes_another_for_the_receiver_is_told_so(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    keys.admit("gw1")
    keys.make("other")
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    options = [*keys.of("gw1")[:-1], keys.directory / "other.key"]
    feed = Feed(tools, tmp_path, receiver, endpoint, *options)
    feed.give(BEFORE)
    feed.sender.wait_to_say("its key is not the one of --peer-key")
    receiver.wait_to_say("takes another key for this receiver's")
    assert not feed.has_arrived()


# Secrets.


def test_no_secret_shows_anywhere(tools: Tools, tmp_path: Path, keys: Keys) -> None:
    own = keys.admit("gw1")
    verbose = ("--log-level", "debug")
    receiver, endpoint = receive(tools, tmp_path, *keys.of_receiver(), *verbose)
    feed = Feed(tools, tmp_path, receiver, endpoint, *keys.of("gw1"), *verbose)
    feed.feed(BEFORE)
    shown = b""
    for process in (receiver, feed.sender):
        for file in ("cmdline", "environ", "status"):
            shown += Path(f"/proc/{process.pid}/{file}").read_bytes()
    feed.finish()
    shown += (receiver.said() + feed.sender.said()).encode()
    for certificate in (own, keys.receiver):
        assert certificate.secret is not None
        assert certificate.secret.reveal().encode() not in shown
    assert re.search(rb"DEBUG", shown)


def test_zeromq_itself_reads_our_certificates(keys: Keys) -> None:
    """So that other programs can speak to a receiver with them."""
    from zmq.auth import load_certificate

    own = keys.make("other")
    public, secret = load_certificate(keys.directory / "other.key_secret")
    assert (public, secret) == (
        own.public.encode(),
        own.secret and own.secret.reveal().encode(),
    )
    assert zmq.curve_public(secret or b"") == public
