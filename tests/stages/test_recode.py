"""What a relay makes of batches: as they were, compressed, or plain again."""

import os

import pytest

from link_ffi import Lanes, Shares
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.codec import Codec, compressor, decompress
from pcap_zmq.formats.relayed import Passed
from pcap_zmq.formats.stream import Receipt
from pcap_zmq.formats.wire import RAW_LENGTH_MAX
from pcap_zmq.packet import EncodedBatch
from pcap_zmq.stages.recode import Recoder, Recoding
from tests.pipes import packets
from tests.support.records import NOW, RAW

RECORDS = packets.records(range(100))


def receipt(count: int) -> Receipt:
    """Of so many packets of a sender that was forgotten."""
    lanes = Lanes(1 << 20, 0)
    lane = lanes.add(b"s" * 24, 1)
    lanes.take(lane, 1, 100, count)
    return Receipt(Shares.of(lanes, lane, 1, count), {})


class Case:
    """A recoder, and what it told others."""

    def __init__(self, **recoding: object) -> None:
        self.counters = ReceiverCounters()
        self.blamed: list[object] = []
        self.linktypes: list[int] = []
        self.recoder = Recoder(
            Recoding(**recoding),  # type: ignore[arg-type]
            sender_of=lambda receipt: "somebody",
            blame=lambda receipt, why, now: self.blamed.append(receipt),
            announce=self.linktypes.append,
            counters=self.counters,
        )

    def feed(self, item: EncodedBatch) -> EncodedBatch:
        """What became of one batch, whose packets are still its sender's."""
        (made,) = self.recoder.feed(item, NOW)
        assert isinstance(made.receipt, Passed)
        assert made.receipt.receipt is item.receipt
        assert made.receipt.packets == made.count
        return made


def batch(codec: Codec = Codec.NONE, records: bytes = RECORDS) -> EncodedBatch:
    payload = compressor(codec)(records) if codec else records
    return EncodedBatch(RAW, 100, codec, len(records), payload, receipt=receipt(100))


@pytest.mark.parametrize(
    ("recoding", "codec"),
    [
        ({"checks": True}, Codec.NONE),
        ({"checks": True}, Codec.ZLIB),
        ({"codec": Codec.NONE}, Codec.ZLIB),
        ({"codec": Codec.ZSTD, "recompress": True}, Codec.ZLIB),
    ],
)
def test_a_batch_that_lies_is_dropped_where_it_is_looked_into(
    recoding: dict[str, object], codec: Codec
) -> None:
    case = Case(**recoding)
    for records in (RECORDS[:-1], bytes(len(RECORDS)), b""):
        made = case.feed(batch(codec, records))
        assert (made.count, bytes(made.payload)) == (0, b"")
    assert case.counters.dropped == {Reason.MALFORMED: 300}
    assert len(case.blamed) == 3


def test_a_length_beyond_all_bounds_is_never_passed_on() -> None:
    case = Case()
    item = EncodedBatch(RAW, 5, 1, RAW_LENGTH_MAX + 1, b"x", receipt=receipt(5))
    assert case.feed(item).count == 0
    assert case.counters.dropped == {Reason.MALFORMED: 5}


def test_a_level_that_the_codec_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="--level 9"):
        Case(codec=Codec.ZLIB, level=9)


def test_by_default_nothing_is_touched() -> None:
    case = Case()
    for codec in Codec:
        item = batch(codec)
        made = case.feed(item)
        assert made.payload is item.payload
        assert (made.codec, made.count) == (codec, 100)
    # Not even what nobody could decompress.
    junk = EncodedBatch(RAW, 7, Codec.ZLIB, 50, b"junk", receipt=receipt(7))
    assert case.feed(junk).payload is junk.payload


def test_what_is_looked_into_and_fine_goes_on_as_it_came() -> None:
    case = Case(checks=True)
    for codec in Codec:
        item = batch(codec)
        assert case.feed(item).payload is item.payload


def test_compression_is_undone() -> None:
    case = Case(codec=Codec.NONE)
    for codec in Codec:
        made = case.feed(batch(codec))
        assert (made.codec, bytes(made.payload)) == (Codec.NONE, RECORDS)


def test_what_came_plain_is_compressed_and_the_rest_left() -> None:
    case = Case(codec=Codec.ZSTD)
    made = case.feed(batch())
    assert made.codec is Codec.ZSTD
    assert bytes(decompress(Codec.ZSTD, made.payload, made.raw_length)) == RECORDS
    left = batch(Codec.LZ4)
    assert case.feed(left).payload is left.payload


def test_what_came_plain_is_looked_into_first_where_asked_for() -> None:
    case = Case(codec=Codec.ZSTD, checks=True)
    assert case.feed(batch()).codec is Codec.ZSTD
    assert case.feed(batch(records=RECORDS[:-1])).count == 0


def test_another_codec_is_replaced_where_asked_for() -> None:
    case = Case(codec=Codec.ZSTD, recompress=True)
    made = case.feed(batch(Codec.LZ4))
    assert bytes(decompress(Codec.ZSTD, made.payload, made.raw_length)) == RECORDS
    same = batch(Codec.ZSTD)
    assert case.feed(same).payload is same.payload


def test_what_does_not_shrink_goes_plain() -> None:
    case = Case(codec=Codec.ZLIB)
    random = os.urandom(4000)
    made = case.feed(batch(records=random))
    assert (made.codec, made.payload) == (Codec.NONE, random)
    small = batch(records=RECORDS[:500])
    assert case.feed(small).payload is small.payload


def test_an_announcement_is_told_and_does_not_go_on() -> None:
    case = Case()
    assert list(case.recoder.feed(EncodedBatch(1, 0, 0, 0, b""), NOW)) == []
    assert case.linktypes == [1]


def test_a_batch_of_no_packets_goes_on_so_that_it_is_acknowledged() -> None:
    case = Case(checks=True)
    item = EncodedBatch(RAW, 0, 0, 0, b"", receipt=receipt(0))
    assert case.feed(item).count == 0
    assert case.blamed == []
