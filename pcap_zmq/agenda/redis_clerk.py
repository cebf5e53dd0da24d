"""Goes to Redis for the loop, in a thread: requests in, events out. Nothing outside of
this file knows of threads.

A server that is away is asked again, less and less often.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pcap_zmq.agenda.redis_errands import Errands, Habits
from pcap_zmq.agenda.redis_events import Away, Back, Ended, Event
from pcap_zmq.agenda.redis_server import RedisServer
from pcap_zmq.clock import NS_PER_MS, NS_PER_S, SystemClock
from pcap_zmq.errors import TransportError
from pcap_zmq.poll import READABLE, Watch, new_wake

POLL_NS = (5 * NS_PER_MS, 100 * NS_PER_MS)
"""How long it waits between two turns: at first, since most controllers answer at once,
and at most, as pcapdj does."""

AWAY_NS = (100 * NS_PER_MS, 5 * NS_PER_S)
"""How long it waits for a server that is away: at first, and at most."""

JOIN_S = 3.0
"""A thread that a server keeps waiting is left to the end of the process."""


class Clerk:
    """Of one dispatcher; server: its own from here on. Raises TransportError where the
    server cannot be used, ConfigError where its keys are something else."""

    def __init__(self, server: RedisServer, habits: Habits) -> None:
        self._server = server
        self._lease_ns = habits.lease_ns
        self._clock = SystemClock()
        self._is_leaving = self._is_away = self._is_closed = False
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._wake, self._woken = new_wake()
        try:
            self._errands = Errands(server, habits, self._tell)
        except BaseException:
            self._release()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def want(self) -> None:
        """A file is wanted: Claimed follows, sooner or later; until then Empty."""
        self._requests.put(self._errands.want)

    def done(self, key: str, lists: Sequence[str]) -> None:
        """It is over with a file, which goes to these lists; none: to the front of the
        queue again. Heard follows."""
        self._requests.put(partial(self._errands.end, key, lists))

    def refuse(self, key: str) -> None:
        """Nobody is asked about it any more."""
        self._requests.put(partial(self._errands.refuse, key))

    def events(self) -> Iterable[Event]:
        """What came since this was asked last."""
        while not self._events.empty():
            os.read(self._wake, 1)
            yield self._events.get_nowait()

    def watch(self) -> Iterable[Watch]:
        """Readable while there are events."""
        if not self._is_closed:
            yield Watch(self._wake, READABLE)

    def close(self) -> bool:
        """Says what is left to say, and takes leave. False: the server could not be
        told. Once."""
        self._is_closed = True
        self._requests.put(self._set_leaving)
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            return False
        self._release()
        return not self._is_away

    def _release(self) -> None:
        os.close(self._wake)
        os.close(self._woken)
        self._server.close()

    def _set_leaving(self) -> None:
        self._is_leaving = True

    def _run(self) -> None:
        try:
            pause_ns = POLL_NS[1]
            while not self._is_leaving:
                self._take_requests(pause_ns)
                pause_ns = self._try_turn(pause_ns)
        finally:
            if not self._is_leaving:
                self._tell(Ended())

    def _take_requests(self, pause_ns: int) -> None:
        """Waits for one, and then takes what there is."""
        try:
            self._requests.get(timeout=pause_ns / NS_PER_S)()
            while not self._requests.empty():
                self._requests.get_nowait()()
        except queue.Empty:
            pass

    def _try_turn(self, pause_ns: int) -> int:
        """How long to wait before the next one."""
        now_ns = self._clock.now().mono_ns
        try:
            if self._is_leaving:
                self._errands.leave(now_ns)
                has_asked = False
            else:
                has_asked = self._errands.turn(now_ns)
        except TransportError as error:
            return self._note_absence(str(error), pause_ns)
        if self._is_away:
            self._is_away = False
            self._tell(Back())
        return POLL_NS[0] if has_asked else min(2 * pause_ns, POLL_NS[1])

    def _note_absence(self, why: str, pause_ns: int) -> int:
        self._errands.note_absence()
        if self._is_away:
            # Sooner than others take our lease for run out, when it is back.
            return min(2 * pause_ns, AWAY_NS[1], self._lease_ns // 2)
        self._is_away = True
        self._tell(Away(why))
        return AWAY_NS[0]

    def _tell(self, event: Event) -> None:
        # First the octet: whoever finds the event finds an octet for it to read.
        os.write(self._woken, b"\0")
        self._events.put(event)
