"""The queue of files within this process, and somebody at the terminal who is asked,
file by file, whether the next one may go.

Specification: termios(3); in the ordinary mode of a terminal a read gives a line.
"""

import os
import sys
from collections.abc import Callable, Iterable

from pcap_zmq.agenda.port import Claim, Verdict
from pcap_zmq.agenda.queue import QueueAgenda
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.errors import ConfigError
from pcap_zmq.packet import Instant
from pcap_zmq.poll import READABLE, Watch

LINE_MAX = 4096

_ANSWERS = {"y": Verdict.ALLOW, "n": Verdict.DENY, "s": Verdict.SKIP}


class TerminalAgenda(QueueAgenda):
    """quit_: ends the dispatch. Raises ConfigError where nobody can be asked."""

    def __init__(
        self, checkpoint: Checkpoint, quit_: Callable[[], None], *, stays: bool = False
    ) -> None:
        super().__init__(checkpoint, None, stays=stays)
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigError(
                "--approve ask needs a terminal to ask at; elsewhere use --approve "
                "control"
            )
        self._quit = quit_
        self._fd = sys.stdin.fileno()
        self._asked = ""
        self._watch = Watch(self._fd, READABLE, is_ready=False)
        self._has_quit = False

    def watch(self) -> Iterable[Watch]:
        """An answer, while one is waited for."""
        if self._asked:
            yield self._watch

    def verdict(self, claim: Claim, now: Instant) -> Verdict | None:
        """Asks once, and then hears what is answered."""
        said = super().verdict(claim, now)
        if said is not None or self._has_quit:
            return said
        if not self._asked:
            self._asked = claim.key
            self._ask(claim)
        elif self._asked == claim.key and self._watch.is_ready:
            self._hear(claim)
            return super().verdict(claim, now)
        return None

    def _ask(self, claim: Claim) -> None:
        # An answer to what was asked before is none to this.
        self._watch.is_ready = False
        # Control characters of a name shall do nothing to the terminal.
        name = "".join(c if c.isprintable() else "?" for c in claim.path)
        text = f"{name}: play it? [y]es, [n]o, [s]kip, [a]ll from here on, [q]uit: "
        os.write(sys.stderr.fileno(), text.encode("utf-8", "replace"))

    def _hear(self, claim: Claim) -> None:
        answer = os.read(self._fd, LINE_MAX).decode("utf-8", "replace")
        word = answer.strip().lower()[:1]
        if word in _ANSWERS:
            self.say(_ANSWERS[word], [f"#{claim.key}"])
        elif word == "a":
            self.default = Verdict.ALLOW
        elif word == "q" or not answer:
            # Nothing at all is the end of the terminal: Ctrl-D.
            self._has_quit = True
            self._quit()
        else:
            self._ask(claim)
            return
        self._asked = ""
