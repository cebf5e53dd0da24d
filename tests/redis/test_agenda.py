"""The agenda against a real server: whose a file is, who may say what, what is left."""

import logging
import os
from collections.abc import Callable
from contextlib import closing

import pytest

from pcap_zmq.agenda.port import Ending, Verdict
from pcap_zmq.agenda.redis_server import RedisServer as Connection
from pcap_zmq.agenda.redis_server import Tls
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import redis_url
from pcap_zmq.units import NS_PER_MS, NS_PER_S
from testbed.redis import RedisServer
from tests.redis.controllers import Client
from tests.redis.desk import Desk

Open = Callable[..., Desk]

QUEUE, NEXT, AUTH = "PCAPDJ_IN_QUEUE", "PCAPDJ_NEXT", "PCAPDJ_AUTH"
REQUEUED = "PCAPDJ_REQUEUED:PCAPDJ_IN_QUEUE"


def left(client: Client) -> dict[bytes, bytes]:
    """What is still there, by type."""
    return {key: client.type(key) for key in client.scan_iter()}


def queue_of(client: Client) -> object:
    return client.lrange(QUEUE, 0, -1)


def put_stranger(
    client: Client, *entries: str, lease_ms: int | None, queue: str = QUEUE
) -> None:
    """A dispatcher of another host, with these files; None: without a lease."""
    client.hset("PCAPDJ_INSTANCES", "stranger", f"here {queue}")
    client.rpush("PCAPDJ_PROCESSING:stranger", *entries)
    if lease_ms is not None:
        client.set("PCAPDJ_LEASE:stranger", "1", px=lease_ms)


# Permissions.


def test_nothing_is_allowed_by_what_only_begins_like_it(
    desk: Desk, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.sadd(AUTH, "/a.pcap.gz", "/a.pca", "./a.pcap")
    client.rpush(QUEUE, "/a.pcap")
    claim = desk.claim()
    desk.until(lambda: caplog.text.count("wrong authorisation") == 3, "complaints")
    assert "PCAPDJ_AUTH names ./a.pcap, which is not queued" in caplog.text
    assert desk.agenda.verdict(claim, desk.now) is None
    client.sadd(AUTH, "/a.pcap")
    assert desk.verdict(claim) is Verdict.ALLOW
    assert client.sismember(AUTH, "/a.pcap") == 0


def test_a_permission_may_come_before_its_file(desk: Desk, client: Client) -> None:
    client.sadd(AUTH, "/b", "/a")
    client.rpush(QUEUE, "/a", "/b")
    assert desk.verdict(desk.claim()) is Verdict.ALLOW
    assert desk.verdict(desk.claim()) is Verdict.ALLOW
    assert client.exists(AUTH) == 0


def test_a_permission_is_for_one_file_only(open_desk: Open, client: Client) -> None:
    client.rpush(QUEUE, "/a", "/a")
    one, other = open_desk(), open_desk()
    claims = [(desk, desk.claim()) for desk in (one, other)]
    client.sadd(AUTH, "/a")

    def said() -> list[Verdict]:
        for desk, _ in claims:
            desk.agenda.serve(desk.now)
        found = (desk.agenda.verdict(claim, desk.now) for desk, claim in claims)
        return [verdict for verdict in found if verdict is not None]

    assert one.until(said, "a verdict") == [Verdict.ALLOW]
    # Both have looked again since.
    client.sadd(AUTH, "/b")
    client.rpush(QUEUE, "/b")
    third = open_desk()
    assert third.verdict(third.claim()) is Verdict.ALLOW
    assert said() == [Verdict.ALLOW]


def test_a_wrong_string_is_taken_away_and_told(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_desk(auth_string=True)
    client.rpush(QUEUE, "/a.pcap")
    claim = desk.claim()
    client.set(AUTH, "/a.pcap.gz")
    desk.until(lambda: "wrong authorisation" in caplog.text, "a complaint")
    assert "PCAPDJ_AUTH was /a.pcap.gz, and what waits is /a.pcap" in caplog.text
    assert client.exists(AUTH) == 0
    assert desk.agenda.verdict(claim, desk.now) is None
    client.set(AUTH, "/a.pcap")
    assert desk.verdict(claim) is Verdict.ALLOW
    assert client.exists(AUTH) == 0


def test_a_string_for_another_dispatcher_is_left_to_it(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_desk(auth_string=True)
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    put_stranger(client, "other/1 w /b", lease_ms=60_000)
    client.set(AUTH, "/b")
    desk.wait_for_a_look(client)
    assert client.get(AUTH) == b"/b"
    assert "wrong" not in caplog.text
    client.set(AUTH, "/a")
    assert desk.verdict(claim) is Verdict.ALLOW


@pytest.mark.parametrize(
    ("auth_string", "advice"), [(False, "; use --auth"), (True, "leave out --auth")]
)
def test_permissions_of_the_other_form_are_told(
    open_desk: Open,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    auth_string: bool,
    advice: str,
) -> None:
    desk = open_desk(auth_string=auth_string)
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    if auth_string:
        client.sadd(AUTH, "/a")
    else:
        client.set(AUTH, "/a")
    desk.until(lambda: advice in caplog.text, "a complaint")
    assert desk.agenda.verdict(claim, desk.now) is None
    assert client.exists(AUTH) == 1


def test_who_is_not_allowed_in_time_is_refused(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_desk(auth_timeout_ns=NS_PER_S)
    client.rpush(QUEUE, "/a", "/b")
    claim = desk.claim()
    due_ns = desk.agenda.due()
    assert due_ns is not None
    desk.pass_time(due_ns - desk.now.mono_ns)
    assert desk.verdict(claim) is Verdict.DENY
    assert "/a is refused: nobody has allowed it for 1 s" in caplog.text
    desk.wait_for_a_look(client)
    client.sadd(AUTH, "/a")
    desk.wait_for_a_look(client)
    # It is not used up.
    assert client.sismember(AUTH, "/a") == 1
    desk.done(claim, Ending.DENIED)
    second = desk.claim()
    assert second.path == "/b"
    # Who looks for what is next does not find what is refused.
    assert client.lrange(NEXT, 0, -1) == [b"/b"]
    assert client.lrange("PCAPDJ_REFUSED", 0, -1) == [b"/a"]
    client.sadd(AUTH, "/b")
    assert desk.verdict(second) is Verdict.ALLOW


@pytest.mark.parametrize("word", ["DENY", "SKIP"])
def test_a_file_can_be_refused_by_name(desk: Desk, client: Client, word: str) -> None:
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    client.sadd(f"PCAPDJ_{word}", "/a")
    assert desk.verdict(claim) is Verdict(word.lower())
    assert client.exists(f"PCAPDJ_{word}") == 0


def test_what_is_being_played_can_be_skipped(desk: Desk, client: Client) -> None:
    client.rpush(QUEUE, "/a")
    client.sadd(AUTH, "/a")
    claim = desk.claim()
    assert desk.verdict(claim) is Verdict.ALLOW
    client.sadd("PCAPDJ_SKIP", "/a")
    desk.until(lambda: desk.agenda.verdict(claim, desk.now) is Verdict.SKIP, "the word")


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        (AUTH, Verdict.ALLOW),
        ("PCAPDJ_DENY", Verdict.DENY),
        ("PCAPDJ_SKIP", Verdict.SKIP),
    ],
)
def test_a_word_is_heard_although_its_answer_was_lost(
    server: RedisServer, desk: Desk, client: Client, key: str, verdict: Verdict
) -> None:
    """Redis did what it was asked, and then the connection broke."""
    (name,) = client.hkeys("PCAPDJ_INSTANCES")
    client.rpush(QUEUE, "/a")
    connection = Connection(redis_url.parse(server.url), None, Tls())
    ours = ("", QUEUE, name, 60_000)
    entry = connection.run((*ours, "claim", f"{name.decode()}/lost"))
    claim = desk.claim()
    assert entry.split()[0].decode() == claim.key
    client.sadd(key, "/a")
    with closing(connection):
        connection.run((*ours, "look", "set", 0, claim.key, "w", "/a"))
    assert client.exists(key) == 0
    assert desk.verdict(claim) is verdict


# Whose a file is.


def test_no_file_goes_to_two(open_desk: Open, client: Client) -> None:
    paths = [f"/{number}" for number in range(24)]
    client.rpush(QUEUE, *paths)
    desks = [open_desk() for _ in range(3)]
    claimed: list[str] = []
    while len(claimed) < len(paths):
        for desk in desks:
            desk.agenda.serve(desk.now)
            claim = desk.agenda.claim(desk.now)
            if claim is not None:
                claimed.append(claim.path)
                desk.done(claim, Ending.PROCESSED)
    assert sorted(claimed) == sorted(paths)
    assert all(desk.is_drained() for desk in desks)
    done = client.lrange("PCAPDJ_PROCESSED", 0, -1)
    assert sorted(done) == sorted(path.encode() for path in paths)


def test_a_file_of_one_that_is_gone_is_the_next_one_again(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """And comes before what was behind it."""
    put_stranger(client, "old/1 w /a b", "old/2 a /b", lease_ms=50)
    client.rpush(NEXT, "/a b")
    client.rpush(QUEUE, "/c")
    desk = open_desk()
    first = desk.claim()
    assert (first.path, first.key, first.is_allowed) == ("/a b", "old/1", False)
    assert "nothing is heard of stranger, which has files of this queue" in caplog.text
    assert "/a b goes back into the queue: nothing is heard any more" in caplog.text
    second = desk.claim()
    # It had been allowed, so nobody is asked again.
    assert (second.path, second.key, second.is_allowed) == ("/b", "old/2", True)
    assert desk.verdict(second) is Verdict.ALLOW
    third = desk.claim()
    assert (third.path, third.is_allowed) == ("/c", False)
    assert client.lrange(NEXT, 0, -1) == [b"/a b", b"/c"]
    assert client.hkeys("PCAPDJ_INSTANCES") != [b"stranger"]


def test_who_lives_keeps_its_file_and_holds_nobody_up(
    open_desk: Open, client: Client
) -> None:
    put_stranger(client, "other/1 a /a", lease_ms=60_000)
    client.rpush(QUEUE, "/b")
    desk = open_desk()
    desk.agenda.claim(desk.now)
    desk.until(lambda: desk.agenda.queued() == 1, "a look")
    assert not desk.agenda.is_drained()
    # It has renewed it.
    client.set("PCAPDJ_LEASE:stranger", "2", px=60_000)
    claim = desk.claim()
    assert claim.path == "/b"
    desk.done(claim, Ending.PROCESSED)
    assert desk.is_drained()
    # Of one that comes later the same.
    client.hset("PCAPDJ_INSTANCES", "later", f"here {QUEUE}")
    client.rpush("PCAPDJ_PROCESSING:later", "later/1 a /c")
    client.set("PCAPDJ_LEASE:later", "1", px=60_000)
    desk.until(lambda: not desk.agenda.is_drained(), "doubts")
    client.set("PCAPDJ_LEASE:later", "2", px=60_000)
    assert desk.is_drained()
    desk.agenda.close()
    # Not everything is done.
    assert client.exists("PCAPDJ_STATE") == 0
    assert client.lrange("PCAPDJ_PROCESSING:stranger", 0, -1) == [b"other/1 a /a"]


def test_a_lost_lease_is_taken_up_again_while_nobody_has_the_file(
    open_desk: Open, client: Client
) -> None:
    """As after a time without network."""
    desk = open_desk()
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    name = client.hkeys("PCAPDJ_INSTANCES")[0].decode()
    key, _, path = client.lpop(f"PCAPDJ_PROCESSING:{name}").split(b" ", 2)
    client.lpush(QUEUE, path)
    client.hset(REQUEUED, path, key + b" w")
    desk.until(lambda: client.llen(QUEUE) == 0, "the file")
    assert client.llen(f"PCAPDJ_PROCESSING:{name}") == 1
    assert client.exists(REQUEUED) == 0
    client.sadd(AUTH, "/a")
    assert desk.verdict(claim) is Verdict.ALLOW


def test_a_file_that_went_to_another_meanwhile_is_left_to_it(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_desk()
    client.rpush(QUEUE, "/a")
    client.sadd(AUTH, "/a")
    claim = desk.claim()
    assert desk.verdict(claim) is Verdict.ALLOW
    name = client.hkeys("PCAPDJ_INSTANCES")[0].decode()
    entry = client.lindex(f"PCAPDJ_PROCESSING:{name}", 0)
    put_stranger(client, entry.decode(), lease_ms=60_000)
    client.delete(f"PCAPDJ_PROCESSING:{name}")
    desk.until(lambda: desk.agenda.verdict(claim, desk.now) is Verdict.SKIP, "the word")
    assert "/a is left to stranger" in caplog.text
    desk.done(claim, Ending.SKIPPED)
    desk.agenda.close()
    assert client.exists("PCAPDJ_REFUSED", QUEUE) == 0
    assert client.lrange("PCAPDJ_PROCESSING:stranger", 0, -1) == [entry]


def test_a_file_of_another_queue_goes_back_there(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    put_stranger(client, "old/1 a /a", lease_ms=600_000, queue="OTHER")
    client.rpush(QUEUE, "/b")
    desk = open_desk()
    # It holds nobody up here.
    assert desk.claim().path == "/b"
    client.delete("PCAPDJ_LEASE:stranger")
    desk.until(lambda: client.llen("OTHER"), "the file")
    claim = open_desk(queue="OTHER").claim()
    assert (claim.path, claim.key, claim.is_allowed) == ("/a", "old/1", True)


def test_what_was_said_of_files_is_forgotten_with_the_queue(
    desk: Desk, client: Client
) -> None:
    client.hset(REQUEUED, "/a", "old/1 a")
    assert desk.is_drained()
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    assert (claim.path, claim.is_allowed) == ("/a", False)


def test_what_was_allowed_before_it_was_taken_out_is_asked_for_anew(
    open_desk: Open, client: Client
) -> None:
    client.rpush(QUEUE, "/a", "/b")
    client.sadd(AUTH, "/a")
    desk = open_desk()
    claim = desk.claim()
    assert desk.verdict(claim) is Verdict.ALLOW
    desk.agenda.close()
    assert client.lpop(QUEUE) == b"/a"
    desk = open_desk()
    assert desk.claim().path == "/b"
    client.rpush(QUEUE, "/a")
    again = desk.claim()
    assert (again.path, again.is_allowed) == ("/a", False)
    assert again.key != claim.key


def test_what_is_given_back_is_the_first_again_and_is_the_same(
    open_desk: Open, client: Client
) -> None:
    client.rpush(QUEUE, "/a", "/b")
    desk = open_desk()
    claim = desk.claim()
    client.sadd(AUTH, "/a")
    assert desk.verdict(claim) is Verdict.ALLOW
    desk.until(lambda: desk.agenda.queued() == 1, "the other one")
    desk.done(claim, Ending.REQUEUE, packets=3)
    assert desk.agenda.queued() == 2
    desk.agenda.close()
    assert queue_of(client) == [b"/a", b"/b"]
    assert client.exists("PCAPDJ_STATE") == 0
    again = open_desk().claim()
    assert (again.key, again.path, again.is_allowed) == (claim.key, "/a", True)
    assert client.exists(REQUEUED) == 0


def test_what_is_not_done_at_the_end_goes_back(open_desk: Open, client: Client) -> None:
    client.rpush(QUEUE, "/a", "/b")
    desk = open_desk()
    desk.claim()
    desk.claim()
    desk.agenda.close()
    desk.agenda.close()
    assert queue_of(client) == [b"/a", b"/b"]
    assert client.exists(NEXT) == 0


# What is left.


def test_after_the_last_file_only_what_pcapdj_leaves_is_left(
    open_desk: Open, client: Client
) -> None:
    """And the lists of what went wrong."""
    client.set("PCAPDJ_STATE", "DONE")
    client.rpush(QUEUE, "/a", "/b", "/c", "/d", "/e")
    desk = open_desk()
    # Of an earlier run.
    assert client.exists("PCAPDJ_STATE") == 0
    for ending, packets in (
        (Ending.PROCESSED, 3),
        (Ending.BROKEN, 3),
        (Ending.BROKEN, 0),
        (Ending.DENIED, 0),
        (Ending.SKIPPED, 1),
    ):
        desk.done(desk.claim(), ending, packets)
    assert desk.is_drained()
    assert client.exists("PCAPDJ_STATE") == 0
    desk.agenda.close()
    assert client.get("PCAPDJ_STATE") == b"DONE"
    # As pcapdj has it, what was played up to where it breaks has been processed.
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [b"/a", b"/b"]
    assert client.lrange("PCAPDJ_BROKEN", 0, -1) == [b"/b", b"/c"]
    assert client.lrange("PCAPDJ_REFUSED", 0, -1) == [b"/d", b"/e"]
    assert left(client) == {
        b"PCAPDJ_STATE": b"string",
        b"PCAPDJ_PROCESSED": b"list",
        b"PCAPDJ_BROKEN": b"list",
        b"PCAPDJ_REFUSED": b"list",
    }


def test_who_leaves_says_nothing_of_those_who_are_at_work(
    open_desk: Open, client: Client
) -> None:
    client.rpush(QUEUE, "/a", "/b")
    one, other = open_desk(), open_desk()
    first, second = one.claim(), other.claim()
    one.done(first, Ending.PROCESSED)
    one.agenda.close()
    assert client.exists("PCAPDJ_STATE") == 0
    # What the other has announced has not been read yet.
    assert b"/b" in client.lrange(NEXT, 0, -1)
    other.done(second, Ending.PROCESSED)
    other.agenda.close()
    assert client.get("PCAPDJ_STATE") == b"DONE"
    assert client.exists(NEXT, "PCAPDJ_INSTANCES") == 0


def test_prefix_and_queue_keep_dispatchers_apart(
    open_desk: Open, client: Client
) -> None:
    client.rpush(QUEUE, "/not this")
    client.rpush("ids1:MINE", "/a")
    client.sadd("ids1:PCAPDJ_AUTH", "/a")
    desk = open_desk(prefix="ids1:", queue="MINE")
    claim = desk.claim()
    assert claim.path == "/a"
    assert client.lrange("ids1:PCAPDJ_NEXT", 0, -1) == [b"/a"]
    assert desk.verdict(claim) is Verdict.ALLOW
    desk.done(claim, Ending.PROCESSED)
    assert desk.is_drained()
    desk.agenda.close()
    assert left(client) == {
        QUEUE.encode(): b"list",
        b"ids1:PCAPDJ_STATE": b"string",
        b"ids1:PCAPDJ_PROCESSED": b"list",
    }


def test_a_path_may_be_any_octets(desk: Desk, client: Client) -> None:
    path = b"/a b\n\xff\xe4 w /x"
    client.rpush(QUEUE, path)
    client.sadd(AUTH, path)
    claim = desk.claim()
    assert claim.path.encode(errors="surrogateescape") == path
    assert desk.verdict(claim) is Verdict.ALLOW
    desk.done(claim, Ending.PROCESSED)
    assert desk.is_drained()
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [path]


def test_an_empty_queue_is_no_end_for_one_who_follows(
    open_desk: Open, client: Client
) -> None:
    desk = open_desk(stays=True)
    assert desk.agenda.claim(desk.now) is None
    desk.until(lambda: desk.is_ready() or True, "a turn")
    assert not desk.agenda.is_drained()
    # Said by one that left.
    client.set("PCAPDJ_STATE", "DONE")
    client.rpush(QUEUE, "/a")
    assert desk.claim().path == "/a"
    assert client.exists("PCAPDJ_STATE") == 0
    assert not desk.agenda.is_drained()


def test_one_of_several_can_be_suspended(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk = open_desk()
    client.set("PCAPDJ_SUSPEND", "1")
    client.rpush(QUEUE, "/a")
    desk.claim()
    assert not desk.agenda.is_paused()
    name = client.hkeys("PCAPDJ_INSTANCES")[0]
    client.set("PCAPDJ_SUSPEND", name)
    desk.until(desk.agenda.is_paused, "a pause")
    client.set("PCAPDJ_SUSPEND", os.getpid() + 1)
    desk.until(lambda: not desk.agenda.is_paused(), "its end")
    # As pcapdj has it.
    client.set("PCAPDJ_SUSPEND", os.getpid())
    desk.until(desk.agenda.is_paused, "a pause")
    client.delete("PCAPDJ_SUSPEND")
    desk.until(lambda: not desk.agenda.is_paused(), "its end")
    assert "the stream goes on: PCAPDJ_SUSPEND" in caplog.text


def test_keys_of_somebody_else_are_not_touched(open_desk: Open, client: Client) -> None:
    client.sadd(NEXT, "theirs")
    with pytest.raises(
        ConfigError, match=r"PCAPDJ_NEXT .* is a set, not a list; .*fix"
    ):
        open_desk()
    assert left(client) == {NEXT.encode(): b"set"}


# A server that comes and goes.


def test_a_server_that_is_away_is_waited_for(
    server: RedisServer,
    open_desk: Open,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    desk = open_desk(auth_timeout_ns=NS_PER_S)
    client.rpush(QUEUE, "/a", "/b")
    claim = desk.claim()
    server.kill()
    desk.until(lambda: "tries go on" in caplog.text, "a warning")
    # Nobody could allow anything.
    desk.pass_time(2 * NS_PER_S)
    desk.agenda.serve(desk.now)
    assert desk.agenda.verdict(claim, desk.now) is None
    assert desk.agenda.due() is None
    server.start()
    desk.until(lambda: "answers again" in caplog.text, "it")
    due_ns = desk.agenda.due()
    assert due_ns is not None
    assert due_ns > desk.now.mono_ns + 900 * NS_PER_MS
    client.sadd(AUTH, "/a")
    assert desk.verdict(claim) is Verdict.ALLOW
    desk.done(claim, Ending.PROCESSED)
    assert desk.claim().path == "/b"
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [b"/a"]
    # It has announced each of them once.
    assert client.lrange(NEXT, 0, -1) == [b"/a", b"/b"]
    assert "Traceback" not in caplog.text


def test_what_is_done_meanwhile_is_told_afterwards(
    server: RedisServer,
    open_desk: Open,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = open_desk()
    client.rpush(QUEUE, "/a", "/b")
    client.sadd(AUTH, "/a", "/b")
    claim = desk.claim()
    assert desk.verdict(claim) is Verdict.ALLOW
    server.kill()
    desk.until(lambda: "tries go on" in caplog.text, "a warning")
    desk.done(claim, Ending.PROCESSED)
    assert desk.agenda.claim(desk.now) is None
    server.start()
    assert desk.verdict(desk.claim()) is Verdict.ALLOW
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [b"/a"]


def test_a_server_that_has_forgotten_everything_is_told_what_is_ours(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It kept nothing on its disk."""
    desk = open_desk()
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    client.flushall()
    desk.until(lambda: "has been told" in caplog.text, "a warning")
    assert client.lrange(NEXT, 0, -1) == [b"/a"]
    client.sadd(AUTH, "/a")
    assert desk.verdict(claim) is Verdict.ALLOW
    desk.done(claim, Ending.PROCESSED)
    assert desk.is_drained()
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [b"/a"]


def test_a_server_that_has_lost_its_last_second_is_told_again(
    server: RedisServer,
    open_desk: Open,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Then it has forgotten that /a is done, and that /b is ours."""
    caplog.set_level(logging.INFO)
    # Not soon enough to be told anyway.
    desk = open_desk(lease_ns=60 * NS_PER_S)
    client.rpush(QUEUE, "/a", "/b", "/c")
    (name,) = client.hkeys("PCAPDJ_INSTANCES")
    first = desk.claim()
    held = b"PCAPDJ_PROCESSING:" + name
    (entry,) = client.lrange(held, 0, -1)
    desk.done(first, Ending.PROCESSED)
    second = desk.claim()
    client.delete("PCAPDJ_PROCESSED", held)
    client.rpush(held, entry)
    client.lpush(QUEUE, second.path)
    server.kill()
    desk.until(lambda: "tries go on" in caplog.text, "a warning")
    server.start()
    desk.until(lambda: "answers again" in caplog.text, "it")
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [b"/a"]
    assert queue_of(client) == [b"/c"]
    assert desk.claim().path == "/c"
    assert client.llen(held) == 2


def test_a_key_that_becomes_another_s_is_told_and_waited_for(
    open_desk: Open, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_desk()
    client.set("PCAPDJ_DENY", "theirs")
    client.rpush(QUEUE, "/a")
    client.sadd(AUTH, "/a")
    claim = desk.claim()
    desk.until(lambda: "refuses: WRONGTYPE" in caplog.text, "a warning")
    client.delete("PCAPDJ_DENY")
    assert desk.verdict(claim) is Verdict.ALLOW


def test_who_cannot_say_how_it_ended_says_that(
    server: RedisServer,
    open_desk: Open,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = open_desk()
    client.rpush(QUEUE, "/a")
    claim = desk.claim()
    server.kill()
    desk.until(lambda: "tries go on" in caplog.text, "a warning")
    desk.done(claim, Ending.PROCESSED)
    desk.agenda.close()
    assert "could not be told how it ended" in caplog.text


def test_what_somebody_else_puts_into_our_list_is_not_the_end(
    desk: Desk, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended the thread that asks, and with it the stream."""
    (me,) = client.hkeys("PCAPDJ_INSTANCES")
    client.rpush(b"PCAPDJ_PROCESSING:" + me, "nonsense")
    client.rpush(QUEUE, "/a")
    assert desk.agenda.claim(desk.now) is None
    desk.until(lambda: "makes no sense" in caplog.text, "a word about it")
    client.delete(b"PCAPDJ_PROCESSING:" + me)
    assert desk.claim().path == "/a"


def test_a_file_that_can_have_no_name_is_claimed_like_any_other(
    desk: Desk, client: Client
) -> None:
    path = b"/a\0b\n\xff\x1b[31m"
    client.rpush(QUEUE, path)
    claim = desk.claim()
    assert os.fsencode(claim.path) == path
    client.sadd(AUTH, path)
    assert desk.verdict(claim) is Verdict.ALLOW
