"""Members of archives are read in one pass, and up to where the archive breaks."""

import contextlib
import gzip
import io
import random
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from pcap_zmq.captures.archive import (
    GLOBAL_MAX,
    HEADERS_MAX,
    LONG_HEADER_MAX,
    archived,
)
from pcap_zmq.captures.inputs import members
from pcap_zmq.errors import SavefileError

CONTENT = bytes(range(256)) * 3_000


def tar(*members_given: tuple[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, content in members_given:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def all_of(octets: bytes) -> tuple[dict[str, bytes], str]:
    """What each member holds, as far as it goes, and how the archive breaks."""
    found: dict[str, bytes] = {}
    why = ""
    try:
        for member in archived("a.tar", io.BytesIO(octets)):
            found[member.name] = b""
            while piece := member.read(100_000):
                found[member.name] += piece
    except SavefileError as error:
        why = str(error)
    return found, why


# Unhappy paths.


@pytest.mark.parametrize("missing", [1, 5_000, 500_000])
def test_of_a_torn_archive_all_is_read_that_is_there(missing: int) -> None:
    whole = tar(("a", b"first"), ("b", CONTENT))
    end = whole.index(CONTENT[:512]) + len(CONTENT) - missing
    found, why = all_of(whole[:end])
    assert found == {"a": b"first", "b": CONTENT[:-missing]}
    assert why == "a.tar: the archive breaks: it ends in the middle of a member"


def header(kind: bytes, size: int) -> bytes:
    """Of a member of this kind; a size that octal digits do not hold, too."""
    member = tarfile.TarInfo("a")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def entry(kind: bytes, content: bytes) -> bytes:
    return header(kind, len(content)) + content + bytes(-len(content) % 512)


def said(**values: str) -> bytes:
    """Records of pax."""
    lines = (f" {key.replace('_', '.')}={value}\n" for key, value in values.items())
    # So long that two digits say it.
    return b"".join(f"{len(line) + 2}{line}".encode() for line in lines)


ENDLESS = {
    "names": (entry(tarfile.GNUTYPE_LONGNAME, b"name\0") * 2_000, "recursion"),
    "values": (entry(tarfile.XHDTYPE, said(comment="x" * 10)) * 2_000, "recursion"),
    "a map of holes": (
        entry(
            tarfile.XHDTYPE,
            said(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_name="x"),
        )
        + entry(tarfile.REGTYPE, b"900000000\n" + b"0\n" * (HEADERS_MAX // 2)),
        "headers of more than 4 MiB",
    ),
    "digits": (
        entry(tarfile.XHDTYPE, b"1" * LONG_HEADER_MAX),
        "a number that is none",
    ),
    "values for all": (
        entry(
            tarfile.XGLTYPE,
            b"".join(said(**{f"k{n:09}": "v"}) for n in range(GLOBAL_MAX + 1)),
        ),
        "more than 64 things of all members",
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_headers_without_end_are_refused(what: str) -> None:
    """Each took minutes or gigabytes, or ended the process, and packs very well."""
    octets, complaint = ENDLESS[what]
    found, why = all_of(octets + tar(("a", b"first")))
    assert found == {}
    assert why.startswith("a.tar: the archive breaks: ")
    assert complaint in why


@pytest.mark.parametrize("size", [1 << 40, 1 << 80, -512, -(1 << 62)])
@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_a_size_that_cannot_be_ends_what_nobody_reads(size: int, kind: bytes) -> None:
    """Past the end tarfile went on for as long as it would have taken to read it."""
    octets = tar(("a", b"first"))[:1024] + header(kind, size) + bytes(512)
    names = []
    with contextlib.suppress(SavefileError):
        names += [member.name for member in archived("a.tar", io.BytesIO(octets))]
    assert len(names) <= 2


def test_holes_that_never_end_are_refused() -> None:
    values = said(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_name="x")
    values += b"36 GNU.sparse.realsize=100000000000\n"
    octets = entry(tarfile.XHDTYPE, values) + entry(
        tarfile.REGTYPE, b"1\n0\n1\n".ljust(512, b"\0") + b"x"
    )
    found, why = all_of(octets + bytes(1024))
    assert not any(found.values())
    assert "holes make 100000000000 octets of it" in why


def test_of_one_torn_between_members_all_is_read() -> None:
    whole = tar(("a", b"first"), ("b", CONTENT))
    found, why = all_of(whole[:1024])
    assert (found, why) == ({"a": b"first"}, "")


def test_of_a_torn_compressed_archive_all_is_read_that_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tgz"
    # Noise, so that what is missing of it is as much of what it holds.
    noise = random.Random(5).randbytes(len(CONTENT))  # noqa: S311
    octets = gzip.compress(tar(("a", b"first"), ("b", noise)))
    path.write_bytes(octets[: len(octets) * 9 // 10])
    found: dict[str, bytes] = {}
    why = []

    def read_all() -> None:
        with members(path) as inside:
            for member in inside:
                name = member.name.removeprefix(f"{path}:")
                found[name] = b""
                try:
                    while piece := member.octets.read(1 << 20):
                        found[name] += piece
                except SavefileError as error:
                    why.append(str(error))

    with pytest.raises(SavefileError, match="gzip data end"):
        read_all()
    assert found["a"] == b"first"
    assert noise.startswith(found["b"])
    assert len(found["b"]) > len(noise) * 8 // 10
    assert why == [f"{path}: the archive breaks: the gzip data end in the middle"]


def test_a_header_that_is_longer_than_names_are_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("x" * (LONG_HEADER_MAX + 1))
        archive.addfile(member)
    found, why = all_of(out.getvalue())
    assert (found, "a header of" in why) == ({}, True)


def test_any_octet_that_is_wrong_is_an_error_or_none() -> None:
    whole = tar(("a", b"first"), ("b", b"second"))
    for place in range(0, 1536, 7):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        found, why = all_of(bytes(broken))
        assert set(found) <= {"a", "b"} or not why


# What is in one.


@pytest.mark.parametrize(
    "kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]
)
def test_members_come_with_names_and_contents(kind: int) -> None:
    given = {"a": b"", "day/b.pcap": CONTENT, "c": b"x"}
    found, why = all_of(tar(*given.items(), kind=kind))
    assert (found, why) == (given, "")


def test_members_that_nobody_reads_are_passed_over() -> None:
    octets = tar(("a", CONTENT), ("b", CONTENT), ("c", b"x"))
    names, read = [], b""
    for member in archived("a.tar", io.BytesIO(octets)):
        names.append(member.name)
        read += member.read(1)
    assert names == ["a", "b", "c"]
    assert read == CONTENT[:1] * 2 + b"x"


def test_links_have_no_octets_and_folders_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("folder", tarfile.DIRTYPE),
            ("symbolic", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("fifo", tarfile.FIFOTYPE),
            ("device", tarfile.CHRTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "target"
            archive.addfile(member)
    with path.open("rb") as file:
        found = [
            (each.name, each.link_to, each.is_hard_link, each.read(10))
            for each in archived("a", file)
        ]
    assert found == [
        ("symbolic", "target", False, b""),
        ("hard", "target", True, b""),
    ]
    # Whoever reads captures has no use for them.
    with members(path) as inside:
        assert list(inside) == []


def test_an_archive_of_very_many_members_takes_no_memory() -> None:
    one = tar(("a.pcap", b""))[:512]

    class Many:
        """Octets of five thousand members."""

        left = 5_000 * 512

        def read(self, size: int, /) -> bytes:
            count = min(size, self.left) // 512
            self.left -= 512 * count
            return one * count

    tracemalloc.start()
    count = sum(1 for _ in archived("a", Many()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 4 << 20
