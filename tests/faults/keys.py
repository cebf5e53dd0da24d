"""What the programs are told about keys: the one place where a world's are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import zmq

from pcap_zmq.formats.certificate import Certificate, Role, Secret, encode

RECEIVER, OPERATOR = "receiver", "operator"


class Security(Protocol):
    """The options of each program."""

    def of_receiver(self) -> Sequence[str]: ...

    def of_sender(self, name: str) -> Sequence[str]: ...

    def of_status(self) -> Sequence[str]: ...


class Without:
    """No keys at all."""

    def of_receiver(self) -> Sequence[str]:
        return ["--insecure"]

    def of_sender(self, name: str) -> Sequence[str]:
        return ["--insecure"]

    def of_status(self) -> Sequence[str]:
        return []


class Keys:
    """A pair for the receiver, for each sender and for who asks."""

    def __init__(self, directory: Path, senders: Sequence[str]) -> None:
        self._directory = directory / "keys"
        self._allow = directory / "allow"
        self._directory.mkdir()
        self._allow.mkdir(0o755)
        for name in (RECEIVER, OPERATOR, *senders):
            public, secret = (half.decode() for half in zmq.curve_keypair())
            role = Role.OPERATOR if name == OPERATOR else Role.SENDER
            certificate = encode(Certificate(public, None, name, role))
            places = [self._directory, *([self._allow] if name != RECEIVER else [])]
            for place in places:
                # Whatever the umask, nobody else may write it.
                (place / f"{name}.key").touch(0o644)
                (place / f"{name}.key").write_text(certificate)
            own = self._directory / f"{name}.key_secret"
            own.touch(0o600)
            own.write_text(encode(Certificate(public, Secret(secret), name, role)))

    def of_receiver(self) -> Sequence[str]:
        return [*self._own(RECEIVER), "--allow", str(self._allow)]

    def of_sender(self, name: str) -> Sequence[str]:
        return [*self._own(name), *self._receivers()]

    def of_status(self) -> Sequence[str]:
        return [*self._own(OPERATOR), *self._receivers()]

    def _own(self, name: str) -> Sequence[str]:
        return ["--key", str(self._directory / f"{name}.key_secret")]

    def _receivers(self) -> Sequence[str]:
        return ["--peer-key", str(self._directory / f"{RECEIVER}.key")]
