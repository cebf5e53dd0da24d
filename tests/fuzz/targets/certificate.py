"""Invariant: any octets are a certificate or a FormatError of one short line; what is
read has keys that are keys and a name that is one, is the same when it is written and
read again, and shows nothing of its secret.

Input: the file.
"""

from pcap_zmq.errors import FormatError
from pcap_zmq.formats import certificate, z85
from pcap_zmq.formats.certificate import Certificate

MESSAGE_MAX = 500


def check(octets: bytes) -> None:
    try:
        read = certificate.decode(octets)
    except FormatError as error:
        said = str(error)
        assert len(said) <= MESSAGE_MAX
        assert said.isprintable()
        return
    check_keys(read)
    if read.name:
        certificate.check_name(read.name)
    again = certificate.decode(certificate.encode(read).encode())
    assert (again.public, again.name, again.role) == (read.public, read.name, read.role)
    assert secret_of(again) == secret_of(read)


def check_keys(read: Certificate) -> None:
    assert z85.encode(z85.decode_key(read.public)) == read.public
    secret = secret_of(read)
    if secret:
        assert z85.encode(z85.decode_key(secret)) == secret
        assert secret not in repr(read) or secret in (read.public, read.name)


def secret_of(read: Certificate) -> str:
    return read.secret.reveal() if read.secret is not None else ""
