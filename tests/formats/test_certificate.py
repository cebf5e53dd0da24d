"""Certificate files: what is none, what is kept secret, and who else reads them."""

import copy
import pickle
from pathlib import Path

import pytest
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import certificate, z85
from pcap_zmq.formats.certificate import NAME_MAX, Certificate, Role, Secret

PUBLIC = z85.encode(bytes(range(32)))
HIDDEN = z85.encode(bytes(range(32, 64)))

names = st.text(min_size=1, max_size=20).filter(
    lambda name: (
        name.isprintable()
        and name == name.strip()
        and not set(name) & set("\"'/\\")
        and not name.startswith(".")
        and len(name.encode(errors="replace")) <= NAME_MAX
        and name.isascii()
    )
)


def text(*lines: str) -> bytes:
    """A certificate with these lines in its section curve."""
    return "\n".join(["curve", *(f"    {line}" for line in lines)]).encode()


@given(st.binary())
def test_any_octets_are_a_certificate_or_a_format_error(octets: bytes) -> None:
    try:
        certificate.decode(octets)
    except FormatError:
        return


@given(st.text(st.sampled_from("curve\n =\"'#-key public secret metadata")))
def test_text_that_nearly_is_one_is_no_surprise(nearly: str) -> None:
    try:
        certificate.decode(nearly.encode())
    except FormatError:
        return


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no public-key"),
        (b"\xff\xfe", "no text"),
        (b"#" * (certificate.SIZE_MAX + 1), "more than"),
        (b"-----BEGIN PRIVATE KEY-----\n", "line 1"),
        (f'public-key = "{PUBLIC}"'.encode(), "no public-key"),
        (text('public-key = "short"'), "5 characters"),
        (text(f'public-key = "{PUBLIC}'), "line 2"),
        (text(f'public-key = "{PUBLIC}"', f'public-key = "{HIDDEN}"'), "again"),
        (text(f'public-key = "{PUBLIC}"', 'secret-key = "short"'), "5 characters"),
        (b'metadata\n    name = "a/b"\n' + text(f'public-key = "{PUBLIC}"'), "a/b"),
        (
            b'metadata\n    role = "king"\n' + text(f'public-key = "{PUBLIC}"'),
            "sender or operator",
        ),
    ],
)
def test_what_is_none_says_why(octets: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        certificate.decode(octets)


@pytest.mark.parametrize("cut", [1, 2, 3, 30, 40])
def test_no_error_shows_a_secret(cut: int) -> None:
    own = certificate.encode(Certificate(PUBLIC, Secret(HIDDEN), "gateway"))
    broken = own.rstrip()[:-cut].encode()
    with pytest.raises(FormatError) as caught:
        certificate.decode(broken)
    shown = repr(caught.value) + repr(caught.value.__cause__)
    assert not any(HIDDEN[at : at + 5] in shown for at in range(35))


def test_nothing_shows_or_keeps_a_secret() -> None:
    own = Certificate(PUBLIC, Secret(HIDDEN), "gateway")
    assert own.secret is not None
    assert HIDDEN not in f"{own} {own!r} {own.secret} {own.secret!r}"
    for keep in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            keep(own.secret)
    assert own.secret.reveal() == HIDDEN


@given(names, st.sampled_from(Role), st.booleans())
def test_a_certificate_comes_back_as_it_was(
    name: str, role: Role, has_secret: bool
) -> None:
    made = Certificate(PUBLIC, Secret(HIDDEN) if has_secret else None, name, role)
    found = certificate.decode(certificate.encode(made).encode())
    assert (found.public, found.name, found.role) == (PUBLIC, name, role)
    assert (found.secret.reveal() if found.secret else None) == (
        HIDDEN if has_secret else None
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "a/b",
        "a\\b",
        'a"b',
        "a'b",
        "a\nb",
        "..",
        ".a",
        "\ud800",
        "ä" * 33,
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        certificate.check_name(name)


def test_zmq_auth_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key_secret"
    path.write_text(certificate.encode(Certificate(PUBLIC, Secret(HIDDEN), "gateway")))
    assert zmq.auth.load_certificate(path) == (PUBLIC.encode(), HIDDEN.encode())


def test_we_read_what_zmq_auth_writes(tmp_path: Path) -> None:
    public, secret = zmq.auth.create_certificates(
        tmp_path, "gateway", {"name": "gw 1", "place": "cellar"}
    )
    shown = certificate.decode(Path(public).read_bytes())
    own = certificate.decode(Path(secret).read_bytes())
    # It writes metadata into the secret one only, and no quotes.
    assert (shown.name, own.name) == ("", "gw 1")
    assert (shown.role, shown.secret) == (Role.SENDER, None)
    assert own.secret is not None
    assert (own.public.encode(), own.secret.reveal().encode()) == (
        zmq.auth.load_certificate(secret)
    )


def test_we_read_the_other_ways_to_write_it() -> None:
    """CZMQ puts no quotes around what needs none; keys may begin with a #."""
    key = z85.encode(b"\xfd\xff\xff\xff" * 8)
    written = f"metadata\n\tname = gw1\n\ncurve\n\tpublic-key = '{key}'\n"
    assert certificate.decode(written.encode()) == Certificate(key, None, "gw1")
