"""What a dispatcher has to do at Redis, a turn at a time; waits for the network.

Theory of operation. In each turn, whatever there is to do of this, in this order. Each
is a step of redis_agenda.lua that can be done again where its answer was lost:

    hold    the lease, and what we have of it: at first, after an absence, and in time
    done    what has become of files, in the order it was said
    sweep   puts files of those who are gone back into the queue
    claim   the next file, where one is wanted
    look    what was said of those we have
    stray   permissions that nobody waits for

A server that was away may have forgotten the last it was told, or all of it: so that is
told again.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pcap_zmq.agenda.instance import new_name
from pcap_zmq.agenda.redis_events import (
    Claimed,
    Complaint,
    Empty,
    Event,
    Heard,
    Said,
    Seen,
)
from pcap_zmq.agenda.redis_others import Others
from pcap_zmq.agenda.redis_server import RedisServer
from pcap_zmq.clock import NS_PER_MS, NS_PER_S
from pcap_zmq.errors import ConfigError, PcapZmqError

STRAY_NS = NS_PER_S
STRAYS_MAX = 16
STRAYS_TOLD_MAX = 1024

SAID_MAX = 16
"""So many of the last are said again to a server that was away."""

WAITS, ALLOWED = "w", "a"
_STATES = {"allow": ALLOWED, "deny": "d", "skip": "s"}
"""As redis_agenda.lua has them."""

_ADVICE = {b"string": b"; use --auth-string", b"set": b"; leave out --auth-string"}


@dataclass(frozen=True, slots=True)
class Habits:
    """What is before every key; the input list, without that; whether permissions are
    members of a set, or one string; and how long our files stay ours when nothing is
    heard of us."""

    prefix: str
    queue: str
    auth_string: bool
    lease_ns: int


@dataclass(slots=True)
class _Held:
    path: bytes
    state: str
    is_refused: bool = False

    @property
    def is_open(self) -> bool:
        """Something that is said of it would change anything."""
        return not self.is_refused and self.state in {WAITS, ALLOWED}


class Errands:
    """Of one dispatcher. tell: takes events. What takes no time changes only what is to
    be done; all else raises TransportError. A new one raises ConfigError where keys are
    something else."""

    def __init__(
        self, server: RedisServer, habits: Habits, tell: Callable[[Event], None]
    ) -> None:
        self._server = server
        self._habits = habits
        self._tell = tell
        self._name = new_name()
        self._auth_key = os.fsencode(f"{habits.prefix}PCAPDJ_AUTH")
        self._form = b"string" if habits.auth_string else b"set"
        self._others = Others(
            self._step, self._complain, queue=habits.queue, lease_ns=habits.lease_ns
        )
        self._held: dict[str, _Held] = {}
        self._outcomes: list[tuple[str, Sequence[str]]] = []
        self._said: deque[tuple[str, Sequence[str]]] = deque(maxlen=SAID_MAX)
        self._wants = self._has_begun = False
        self._holds = self._claims = 0
        self._hold_due_ns = self._sweep_due_ns = self._stray_due_ns = 0
        self._strays: set[tuple[bytes, bytes]] = set()
        self._type_of_auth = b"none"
        self._seen: Seen | None = None
        self._empty: Empty | None = None
        with self._sensible():
            self._join()

    # What there is to do.

    def want(self) -> None:
        """A file."""
        self._wants = True

    def end(self, key: str, lists: Sequence[str]) -> None:
        """It is over with a file, which goes to these lists; none: to the front of the
        queue again."""
        self._outcomes.append((key, lists))

    def refuse(self, key: str) -> None:
        """Nobody is asked about it any more."""
        if key in self._held:
            self._held[key].is_refused = True

    def note_absence(self) -> None:
        """Whatever the server knew of us, or of the last second, may be gone."""
        self._hold_due_ns = 0
        self._others.forget()
        self._outcomes[:0] = self._said
        self._said.clear()

    # Doing it.

    def turn(self, now_ns: int) -> bool:
        """Whether somebody was asked for a permission just now."""
        with self._sensible():
            return self._turn(now_ns)

    def _turn(self, now_ns: int) -> bool:
        self._settle(now_ns)
        if now_ns >= self._sweep_due_ns:
            self._others.sweep()
            self._sweep_due_ns = now_ns + self._habits.lease_ns // 3
        has_asked = self._wants and self._claim(now_ns)
        if self._look() and now_ns >= self._stray_due_ns:
            self._stray_due_ns = now_ns + STRAY_NS
            self._stray()
        return has_asked

    def leave(self, now_ns: int) -> None:
        """What is still ours goes back."""
        with self._sensible():
            self._settle(now_ns)
            self._step("leave")

    @contextmanager
    def _sensible(self) -> Iterator[None]:
        """What is in the keys may be whatever somebody has put there."""
        try:
            yield
        except PcapZmqError:
            # Some of these are errors of values, too.
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise self._server.nonsense() from error

    def _settle(self, now_ns: int) -> None:
        if now_ns >= self._hold_due_ns:
            self._hold()
            self._hold_due_ns = now_ns + self._habits.lease_ns // 3
        while self._outcomes:
            key, lists = self._outcomes[0]
            self._step("done", key, *lists)
            self._held.pop(key, None)
            self._said.append(self._outcomes.pop(0))
            self._tell(Heard(key))

    def _join(self) -> None:
        for complaint in self._step("join"):
            key, found, wanted = _text(complaint).rsplit(" ", 2)
            raise ConfigError(
                f"{key} in Redis at {self._server.url} is a {found}, not a {wanted}; "
                "delete it, or keep apart from whoever uses it by --redis-prefix"
            )
        self._hold()

    def _hold(self) -> None:
        self._holds += 1
        held = list(self._held.items())
        asked = [part for key, file in held for part in (key, file.state, file.path)]
        become = self._step("hold", self._holds, *asked)
        for (key, file), outcome in zip(held, become, strict=True):
            if outcome.startswith(b"lost "):
                del self._held[key]
                self._tell(Said(key, "lost", _text(outcome.removeprefix(b"lost "))))
            elif outcome == b"told":
                self._complain(
                    "Redis did not know any more that %s is ours: it has been told; "
                    "does it keep its data over a restart?",
                    file.path,
                )

    def _claim(self, now_ns: int) -> bool:
        # What somebody had who is gone comes before what he had not yet.
        if not self._has_begun and self._others.may_return_files(now_ns):
            self._tell_empty(Empty(is_over=False))
            return False
        self._has_begun = True
        self._claims += 1
        entry = self._step("claim", f"{self._name}/{self._claims}", *self._held)
        if not entry:
            self._tell_empty(Empty(is_over=not self._others.missing()))
            return False
        name, state, path = entry.split(b" ", 2)
        found = Claimed(_text(name), path, _text(state) == ALLOWED)
        # What else was said of it is found when it is looked at.
        self._held[found.key] = _Held(path, ALLOWED if found.is_allowed else WAITS)
        self._wants = False
        self._empty = None
        # Whoever allows it gets a while to do so.
        self._stray_due_ns = now_ns + STRAY_NS
        self._tell(found)
        return True

    def _tell_empty(self, empty: Empty) -> None:
        if self._empty != empty:
            self._empty = empty
            self._tell(empty)

    def _look(self) -> bool:
        """Whether a file still waits to be allowed."""
        held = [item for item in self._held.items() if item[1].is_open]
        asked = [part for key, file in held for part in (key, file.state, file.path)]
        queued, is_suspended, type_of_auth, wrong, *words = self._step(
            "look", self._form, os.getpid(), *asked
        )
        for (key, file), word in zip(held, map(_text, words), strict=True):
            if word:
                file.state = _STATES[word]
                self._tell(Said(key, word))
        seen = Seen(int(queued), bool(is_suspended))
        if seen != self._seen:
            self._seen = seen
            self._tell(seen)
        waiting = [file.path for _, file in held if file.state == WAITS]
        if wrong and waiting:
            self._complain(
                "wrong authorisation: %s was %s, and what waits is %s",
                self._auth_key,
                wrong,
                waiting[0],
            )
        if waiting:
            self._check_form(type_of_auth)
        return bool(waiting)

    def _check_form(self, found: bytes) -> None:
        if found == self._type_of_auth:
            return
        self._type_of_auth = found
        if found not in {b"none", self._form}:
            self._complain(
                "%s is a %s, and we wait for a %s: nothing is allowed by it%s",
                self._auth_key,
                found,
                self._form,
                _ADVICE.get(found, b""),
            )

    def _stray(self) -> None:
        found = self._step("stray", STRAYS_MAX)
        for stray in zip(found[::2], found[1::2], strict=True):
            if stray in self._strays or len(self._strays) >= STRAYS_TOLD_MAX:
                continue
            self._strays.add(stray)
            self._complain(
                "wrong authorisation: %s names %s, which is not queued; it takes the "
                "very octets of the queue",
                *stray,
            )

    def _step(self, step: str, *arguments: str | bytes | int) -> Any:
        habits = self._habits
        lease_ms = habits.lease_ns // NS_PER_MS
        return self._server.run(
            (habits.prefix, habits.queue, self._name, lease_ms, step, *arguments)
        )

    def _complain(self, message: str, *values: bytes) -> None:
        self._tell(Complaint(message, tuple(map(_text, values))))


def _text(octets: bytes) -> str:
    return os.fsdecode(octets)
