"""What the programs are told about keys: the one place where a world's are made."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import zmq.auth

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
    """A pair for the receiver, for each sender and for who asks, in files as any ZeroMQ
    program makes them."""

    def __init__(self, directory: Path, senders: Sequence[str]) -> None:
        self._directory = directory / "keys"
        self._allow = directory / "allow"
        self._directory.mkdir()
        self._allow.mkdir()
        for name in (RECEIVER, OPERATOR, *senders):
            role = "operator" if name == OPERATOR else "sender"
            public, secret = zmq.auth.create_certificates(
                self._directory, name, metadata={"name": name, "role": role}
            )
            Path(secret).chmod(0o600)
            if name != RECEIVER:
                shutil.copy(public, self._allow)

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
