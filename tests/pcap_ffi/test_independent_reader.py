"""What we write, python-libpcap reads: as far as it can, which is whole seconds."""

from pathlib import Path

import pytest
from pylibpcap.exception import LibpcapError
from pylibpcap.pcap import rpcap, wpcap

from pcap_ffi import Capture, new_buffer
from pcap_zmq.formats.savefile import encode_file_header
from tests.pcap_ffi.savefiles import RECORDS, packed

# It takes the time for a signed number.
BEFORE_2038 = [record for record in RECORDS if record.seconds < 1 << 31]


@pytest.mark.parametrize("nanoseconds", [True, False], ids=["nano", "micro"])
@pytest.mark.parametrize("linktype", [1, 101])
def test_lengths_octets_and_whole_seconds_are_what_we_wrote(
    nanoseconds: bool, linktype: int, tmp_path: Path
) -> None:
    path = tmp_path / "ours.pcap"
    header = encode_file_header(linktype, nanoseconds=nanoseconds)
    path.write_bytes(header + packed(BEFORE_2038))
    assert list(rpcap(str(path))) == [
        (len(record.data), record.seconds, record.data) for record in BEFORE_2038
    ]


def test_a_torn_file_of_ours_is_not_one_to_it(tmp_path: Path) -> None:
    path = tmp_path / "torn.pcap"
    path.write_bytes(encode_file_header(101)[:-1])
    with pytest.raises(LibpcapError):
        list(rpcap(str(path)))


def test_what_it_writes_we_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pcap"
    wpcap([record.data for record in RECORDS], str(path))
    buffer = new_buffer(1 << 19)
    octets = path.read_bytes()
    taken, used, count, _ = Capture().read(octets, buffer)
    assert taken == len(octets)
    assert count == len(RECORDS)
    datas = b"".join(record.data for record in RECORDS)
    assert used == 16 * count + len(datas)
