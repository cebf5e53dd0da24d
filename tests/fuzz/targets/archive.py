"""Invariant: any octets are an archive's members or a SavefileError of one line; no
member gives more octets than the archive says that it has; and a name has a place of
its own below a folder.

Input: the archive.
"""

import io

from pcap_zmq.captures.archive import archived
from pcap_zmq.errors import SavefileError
from pcap_zmq.formats.member_names import MemberNames

PIECE = 700
READ_MAX = 1 << 20
"""A sparse member may say that it is of any size."""


def check(octets: bytes) -> None:
    names = MemberNames()
    places = set()
    try:
        for member in archived("a.tar", io.BytesIO(octets)):
            read = 0
            while read < READ_MAX and (piece := member.read(PIECE)):
                assert len(piece) <= PIECE
                read += len(piece)
            assert read <= max(member.size, 0)
            place = names.place(member.name)
            assert place not in places
            assert not {"", ".", ".."} & set(place.split("/"))
            places.add(place)
    except SavefileError as error:
        check_line(str(error))


def check_line(text: str) -> None:
    assert len(text.splitlines()) == 1
