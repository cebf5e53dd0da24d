"""When a batch has arrived, for whoever gave it a receipt; what can be taken back."""

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.send_queue import SendQueue
from pcap_zmq.formats.sender_link import SenderLink, State
from pcap_zmq.formats.wire import MessageType, Reply, ReplyType, Role, StreamId
from pcap_zmq.packet import EncodedBatch
from tests.support.list_spool import ListSpool

STREAM = StreamId(b"s" * 16, 1)
COST = wire.cost_of(100)


def batch(receipt: object = None, linktype: int = 101) -> EncodedBatch:
    return EncodedBatch(linktype, 1, 0, 100, bytes(100), receipt)


def queue(spool: ListSpool | None = None) -> SendQueue:
    """Memory for three batches."""
    return SendQueue(3 * COST, SenderCounters(), spool)


def link(linktype: int | None = 101, spool: ListSpool | None = None) -> SenderLink:
    return SenderLink(
        STREAM,
        "one",
        linktype,
        3 * COST,
        SenderCounters(),
        lambda: wire.NO_TOTALS,
        spool,
        role=Role.RELAY,
    )


def reply(kind: ReplyType, written: int) -> Reply:
    return Reply(kind, STREAM, written, written + 1, 1 << 20, 1)


def welcome(sender: SenderLink) -> None:
    sender.connected(0)
    assert sender.outgoing(0) is not None
    sender.receive(reply(ReplyType.WELCOME, 0), 0)
    while sender.outgoing(0) is not None:
        pass


def test_what_is_given_up_from_memory_never_arrives() -> None:
    held = queue()
    for name in "abc":
        assert held.offer(batch(name))
    assert held.abandon() == 3
    assert held.arrived == []
    assert list(held.expected) == []


def test_a_batch_has_arrived_when_it_is_acknowledged_and_not_before() -> None:
    sender = link()
    for name in "abc":
        assert sender.offer(batch(name))
    welcome(sender)
    assert sender.arrived() == ()
    assert list(sender.expected) == [("a", 1), ("b", 1), ("c", 1)]
    sender.receive(reply(ReplyType.ACK, 2), 0)
    assert list(sender.arrived()) == ["a", "b"]
    assert sender.arrived() == ()
    assert list(sender.expected) == [("c", 1)]


def test_nothing_is_kept_for_who_gives_no_receipts() -> None:
    sender = link()
    for _ in range(3):
        assert sender.offer(batch())
    welcome(sender)
    sender.receive(reply(ReplyType.ACK, 3), 0)
    assert sender.arrived() == ()


def test_what_goes_to_the_disk_has_arrived_in_order_and_once() -> None:
    spool = ListSpool()
    held = queue(spool)
    for name in "abcde":
        assert held.offer(batch(name))
    # The head went there first, when there was no room for the fourth.
    assert held.arrived == list("abcde")
    assert list(held.expected) == []
    for sequence in (1, 2, 3):
        held.send(sequence)
    assert len(list(held.acknowledge(3))) == 3
    assert held.arrived == list("abcde")


def test_while_nobody_answers_each_batch_arrives_on_the_disk_at_once() -> None:
    held = queue(ListSpool())
    held.is_shelving = True
    assert held.offer(batch("a"))
    assert held.arrived == ["a"]


def test_a_disk_that_takes_nothing_is_nowhere_to_arrive() -> None:
    spool = ListSpool()
    spool.is_full = True
    held = queue(spool)
    held.is_shelving = True
    assert held.offer(batch("a"))
    assert held.arrived == []
    assert list(held.expected) == [("a", 1)]


def test_only_what_was_never_sent_can_be_taken_back_and_its_numbers_are_free() -> None:
    sender = link()
    first, second, third = batch("a"), batch("b"), batch("c")
    sender.offer(first)
    welcome(sender)
    sender.disconnected()
    assert sender.offer(second)
    assert sender.offer(third)
    assert sender.has_unsent
    assert sender.withdraw() == [second, third]
    assert sender.held_packets == 1
    assert sender.has_room(100)
    assert sender.offer(batch("d"))
    sender.connected(0)
    assert sender.outgoing(0) is not None
    sender.receive(reply(ReplyType.WELCOME, 1), 0)
    message = sender.outgoing(0)
    assert message is not None
    assert (message.type, message.sequence) == (MessageType.BATCH, 2)
    sender.receive(reply(ReplyType.ACK, 2), 0)
    assert list(sender.arrived()) == ["a", "d"]


def test_one_that_has_left_has_room_for_nothing() -> None:
    sender = link()
    sender.abandon()
    assert not sender.has_room(1)


def test_nothing_is_said_before_a_link_type_is_known() -> None:
    sender = link(linktype=None)
    sender.connected(0)
    assert sender.outgoing(0) is None
    assert sender.state is State.GREETING
    assert sender.due() is None
    sender.know(113)
    sender.know(1)
    hello = sender.outgoing(0)
    assert hello is not None
    assert (hello.type, hello.linktype, hello.codec) == (
        MessageType.HELLO,
        113,
        Role.RELAY,
    )


def test_the_link_type_is_that_of_the_first_batch_also_on_the_disk() -> None:
    offered = link(linktype=None)
    offered.offer(batch(linktype=1))
    spool = ListSpool()
    spool.append(batch(linktype=1), is_taken=False)
    found = link(linktype=None, spool=spool)
    for sender in (offered, found):
        sender.connected(0)
        hello = sender.outgoing(0)
        assert hello is not None
        assert hello.linktype == 1


def test_what_is_sent_to_nobody_is_dropped_for_its_reason_and_not_acknowledged() -> (
    None
):
    counters = SenderCounters()
    held = SendQueue(3 * COST, counters)
    held.offer(batch("a"))
    held.abandon()
    assert counters.dropped[Reason.SHUTDOWN] == 1
    assert counters.acknowledged == 0
