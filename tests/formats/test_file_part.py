"""A file's packets are where the receipts of their batches say."""

from pcap_zmq.counters import Reason
from pcap_zmq.formats.file_part import FilePart, FileTally


def test_packets_that_a_reader_left_unread_are_not_written() -> None:
    tally = FileTally("a file", read=4)
    part = FilePart(tally, 4)
    part.count_written(4)
    part.count_written(-1)
    assert (tally.written, tally.is_settled) == (3, False)


def test_a_receiver_has_the_whole_batch() -> None:
    tally = FileTally("a file", read=4)
    part = FilePart(tally, 4)
    part.count_dropped(Reason.LINKTYPE, 1)
    part.settle()
    assert (tally.written, tally.is_settled) == (3, True)


def test_what_was_counted_packet_by_packet_is_not_counted_again() -> None:
    tally = FileTally("a file", read=4)
    part = FilePart(tally, 4)
    part.count_written(4)
    part.settle()
    assert tally.written == 4
