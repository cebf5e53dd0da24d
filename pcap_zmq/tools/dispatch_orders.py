"""What somebody tells a dispatcher on its control socket, done."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pcap_zmq.agenda.port import Agenda, Verdict
from pcap_zmq.agenda.queue import QueueAgenda
from pcap_zmq.captures.inputs import find_captures
from pcap_zmq.errors import FormatError, PcapZmqError
from pcap_zmq.formats.checkpoint import Item
from pcap_zmq.formats.control import Reply, Request, decode_request, encode_reply
from pcap_zmq.sources.dispatch import DispatchSource

logger = logging.getLogger(__name__)


class Orders:
    """numbers: what else there is to say of how things stand."""

    def __init__(
        self,
        agenda: Agenda,
        source: DispatchSource,
        numbers: Callable[[], dict[str, object]],
    ) -> None:
        self._agenda = agenda
        self._source = source
        self._numbers = numbers

    def answer(self, line: bytes) -> bytes:
        """To a line of the control socket."""
        try:
            reply = self._do(decode_request(line))
        except FormatError as error:
            reply = Reply(str(error))
        except PcapZmqError as error:
            reply = Reply(str(error))
        self._source.wake()
        return encode_reply(reply)

    def _do(self, request: Request) -> Reply:
        match request.do:
            case "status":
                return Reply(said=self._status())
            case "pause" | "resume":
                self._source.pause(paused=request.do == "pause")
                logger.info("%s, as somebody says", request.do)
                return Reply()
        if not isinstance(self._agenda, QueueAgenda):
            return Reply("the queue is not here: it is in Redis, ask there")
        match request.do:
            case "list":
                items = [_said_of(item) for item in self._agenda.listed()]
                return Reply(said={"files": items})
            case "add":
                return _add(self._agenda, request.files)
            case _:
                return _say(self._agenda, request)

    def _status(self) -> dict[str, Any]:
        playing = self._source.playing
        return {
            "queued": self._agenda.queued(),
            "paused": self._source.is_paused,
            "waiting": [claim.path for claim in self._source.asked],
            "playing": [] if playing is None else playing[0],
            "arrived": 0 if playing is None else playing[1],
            "numbers": self._numbers(),
        }


def _add(agenda: QueueAgenda, files: Sequence[str]) -> Reply:
    if not files:
        return Reply("no FILES to add")
    # Who asks may be in another folder than we are.
    strays = [name for name in files if not Path(name).is_absolute()]
    if strays:
        return Reply(f"{strays[0]} is no absolute path")
    added = agenda.add(str(path) for path in find_captures(files))
    return Reply(said={"files": [_said_of(item) for item in added]})


def _say(agenda: QueueAgenda, request: Request) -> Reply:
    verdict = Verdict(request.do)
    if request.is_for_all:
        agenda.default = verdict
        return Reply()
    said_of, unknown = agenda.say(verdict, request.files)
    said = {"files": [_said_of(item) for item in said_of]}
    if unknown:
        return Reply(f"{', '.join(unknown)}: waits for nothing", said)
    if not said_of:
        return Reply("nothing waits for a word", said)
    return Reply(said=said)


def _said_of(item: Item) -> dict[str, Any]:
    return {
        "number": item.number,
        "path": item.path,
        "state": item.where.value,
        "said": item.verdict,
        "packets": item.packets,
        "why": item.why,
    }
