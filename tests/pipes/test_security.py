"""Keys between real processes, and hostile peers beside a sender that works."""

import json
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq

from pcap_zmq.formats.certificate import Role
from pcap_zmq.formats.wire import StreamId
from testbed.waiting import wait_until
from tests.pipes import hostile, packets
from tests.pipes.guarded import Feed, Keys, receive
from tests.pipes.hostile import Attack, Insider
from tests.pipes.tools import BIN, PATIENCE_S, Tools, Totals

BEFORE, AFTER = range(2_000), range(2_000, 6_000)
CUT_WITHIN_S = 2.0
"""And as much again for a machine that does much else."""


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys")


@pytest.fixture
def insider(keys: Keys) -> Insider:
    """Allowed from the beginning of `secured`."""
    return Insider(keys.admit("insider"), keys.receiver.public)


@pytest.fixture
def secured(tools: Tools, tmp_path: Path, keys: Keys, insider: Insider) -> Feed:
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
    secured: Feed, insider: Insider, deed: str
) -> None:
    _, received = withstand(secured, getattr(insider, deed))
    assert received["received"] == 6_500
    assert "refused" not in received.line
    if deed == "flood_with_nonsense":
        assert received["cut off"] >= 1


def test_who_sends_broken_batches_is_cut_off(secured: Feed, insider: Insider) -> None:
    _, received = withstand(secured, insider.send_broken_batches)
    assert received["cut off"] >= 1
    assert received["dropped"] == received.dropped["malformed"] > 0


def test_nobody_takes_over_what_is_anothers(
    tools: Tools, tmp_path: Path, keys: Keys, insider: Insider
) -> None:
    """By the ids that the other uses, which are no secret among insiders."""
    keys.admit("gw1")
    keys.admit("boss", Role.OPERATOR)
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


def test_a_receiver_that_connects_tries_again_after_a_handshake_that_failed(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    """ZeroMQ by itself would not."""
    keys.admit("gw1")
    packets.write(tmp_path / "in.pcap", BEFORE)
    endpoint, output = f"ipc://{tmp_path}/link", tmp_path / "out.pcap"
    without = tools.send(tmp_path / "in.pcap", endpoint, "--bind")
    receiver = tools.receive(
        endpoint, f"file:{output}", "--connect", "--once", *keys.of_receiver()
    )
    without.wait_to_say("keys")
    without.kill()
    tools.send(tmp_path / "in.pcap", endpoint, "--bind", *keys.of("gw1")).finish()
    receiver.finish()
    assert output.read_bytes() == (tmp_path / "in.pcap").read_bytes()


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
    feed.sender.wait_to_say("it has another key than the one of --peer-key")
    receiver.wait_to_say("takes another key for this receiver's")
    assert not feed.has_arrived()


# Secrets.


def test_a_sender_with_an_operators_key_is_told_of_that(
    tools: Tools, tmp_path: Path, keys: Keys
) -> None:
    keys.admit("boss", Role.OPERATOR)
    _, endpoint = receive(tools, tmp_path, *keys.of_receiver())
    savefile = tmp_path / "in.pcap"
    packets.write(savefile, BEFORE)
    sender = tools.send(savefile, endpoint, *keys.of("boss"))
    sender.wait_to_say("or our key is an operator's, who sends nothing")


def test_a_hangup_reads_the_list_at_the_receiver_and_ends_the_sender(
    secured: Feed,
) -> None:
    """Which has nothing to read again."""
    secured.feed(BEFORE)
    totals = secured.sender.stop(signal.SIGHUP)
    assert totals["acknowledged"] == len(BEFORE)
    receiver = secured.receiver
    receiver.process.send_signal(signal.SIGHUP)
    receiver.wait_to_say("the list of keys is read again")
    assert receiver.stop()["written"] == len(BEFORE)


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
