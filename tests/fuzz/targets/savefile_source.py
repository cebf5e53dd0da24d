"""Invariant: whatever a savefile consists of, it is refused with a SavefileError or
gives batches of nothing but whole records, as many as they say and as were counted;
then it ends, with a SavefileError or with none; and gzip around it changes nothing.

Input: 1 octet, whether to compress it too; the file.
"""

import gzip
import os

from pcap_zmq.counters import SenderCounters
from pcap_zmq.errors import SavefileError
from pcap_zmq.formats.compressed import Kind, kind_of
from tests.fuzz.octets import Front
from tests.sources.reading import read_all


def check(octets: bytes) -> None:
    front = Front(octets)
    compressed = front.number() & 1
    savefile = front.rest()
    given = outcome(savefile)
    if compressed and savefile and kind_of(savefile) is not Kind.GZIP:
        assert outcome(gzip.compress(savefile, 1)) == given


def outcome(savefile: bytes) -> tuple[bytes, bool] | None:
    """All records, and whether it ended well; None where it was refused."""
    counters = SenderCounters()
    descriptor = os.memfd_create("savefile")
    try:
        os.write(descriptor, savefile)
        read = read_all(f"/proc/self/fd/{descriptor}", counters)
    except SavefileError:
        return None
    finally:
        os.close(descriptor)
    assert counters.received == sum(batch.count for batch in read.batches)
    assert read.failure is None or isinstance(read.failure, SavefileError)
    return read.records, read.failure is None
