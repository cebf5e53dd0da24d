"""pcap-zmq dispatch --redis as a process, with the controllers that pcapdj's README
shows, and with whatever else happens to Redis and to dispatchers."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from pcap_zmq import options
from pcap_zmq.cli.redis import redis_of
from pcap_zmq.errors import ConfigError
from pcap_zmq.tools.dispatch import DispatchConfig
from pcap_zmq.tools.file_tool import FileToolConfig
from pcap_zmq.tools.redis_config import RedisConfig
from pcap_zmq.tools.way_out import WayOutConfig
from pcap_zmq.units import NS_PER_S
from testbed.redis import RedisServer
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.dispatching import dispatch, files, queue
from tests.pipes.readers import KillableReader
from tests.pipes.tools import PATIENCE_S, Tool, Tools
from tests.redis.controllers import (
    Client,
    authorise_by_set,
    authorise_by_string,
    authoriser,
    import_files,
)

TOOL = FileToolConfig(WayOutConfig("out"))
REDIS = RedisConfig("redis://")

CAPACITY = 1 << 24
MEGABYTE = 1_000_000

BY_FORM = [
    pytest.param(("--auth-string",), authorise_by_string, id="string"),
    pytest.param((), authorise_by_set, id="set"),
]


class Consumer:
    """An IDS that reads a FIFO, and may stop doing so."""

    def __init__(self, fifo: Path) -> None:
        wait_until(fifo.exists, PATIENCE_S, f"{fifo}")
        copy = fifo.with_suffix(".read")
        self._reader = KillableReader(fifo, copy, CAPACITY, 1 << 16)

    def wait_for(self, octets: int) -> None:
        """Until it has read so many."""
        wait_until(lambda: self._reader.has_read(octets), PATIENCE_S, "packets")

    def pause(self) -> None:
        self._reader.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._reader.process.send_signal(signal.SIGCONT)

    def is_reading(self) -> bool:
        """Its stream has not ended."""
        return self._reader.process.poll() is None

    def numbers(self) -> list[int]:
        """Of all packets, once the stream has ended: one header, whole packets."""
        self.go_on()
        assert self._reader.process.wait(PATIENCE_S) == 0
        return list(packets.numbers(self._reader.stream()))

    def kill(self) -> None:
        self._reader.kill()


class Scene:
    """Captures in a folder, a server, and dispatchers of one FIFO each."""

    def __init__(self, tools: Tools, folder: Path, server: RedisServer) -> None:
        self.server = server
        self._tools = tools
        self._folder = folder
        self._consumers: list[Consumer] = []
        self.captures = folder / "captures"
        self.captures.mkdir()

    def write(self, *counts: int) -> list[str]:
        """Captures of so many packets each, numbered through."""
        return [str(path) for path in files(self.captures, *counts)]

    def start(self, *options: str | Path) -> tuple[Tool, Consumer]:
        """A dispatcher, and who reads what comes of it."""
        fifo = self._folder / f"{len(self._consumers)}.fifo"
        tool = dispatch(
            self._tools, "--redis", self.server.url, *options, f"fifo:{fifo}"
        )
        self._consumers.append(Consumer(fifo))
        return tool, self._consumers[-1]

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.kill()


@pytest.fixture
def scene(tools: Tools, tmp_path: Path, server: RedisServer) -> Iterator[Scene]:
    with closing(Scene(tools, tmp_path, server)) as scene:
        yield scene


@contextmanager
def is_over(tool: Tool, client: Client, paths: list[str]) -> Iterator[None]:
    """In good order, and Redis knows."""
    yield
    assert tool.wait() == 0, tool.said()
    assert client.get("PCAPDJ_STATE") == b"DONE"
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [p.encode() for p in paths]
    assert client.exists("PCAPDJ_NEXT", "PCAPDJ_AUTH", "PCAPDJ_IN_QUEUE") == 0
    assert "Traceback" not in tool.said()


@pytest.mark.parametrize(("options", "authorise"), BY_FORM)
def test_the_controllers_of_pcapdjs_readme_get_one_stream(
    scene: Scene,
    client: Client,
    options: tuple[str, ...],
    authorise: Callable[[Client, bytes], None],
) -> None:
    # Of the run before; whoever looks must not take it for this one's.
    client.set("PCAPDJ_STATE", "DONE")
    paths = scene.write(700, 0, 1, 5_000)
    (scene.captures / "readme.txt").write_text("no capture")
    import_files(client, scene.captures)
    tool, consumer = scene.start(*options)
    wait_until(lambda: client.lindex("PCAPDJ_NEXT", 0), PATIENCE_S, "a file")
    assert client.exists("PCAPDJ_STATE") == 0
    assert consumer.is_reading()
    with authoriser(client, authorise) as allowed, is_over(tool, client, paths):
        assert consumer.numbers() == list(range(5_701))
    assert allowed == [path.encode() for path in paths]


def test_nothing_flows_and_nothing_ends_before_it_is_allowed(
    scene: Scene, client: Client
) -> None:
    """So that the IDS keeps what it knows of open connections."""
    first, second = scene.write(1_000, 1_000)
    client.rpush("PCAPDJ_IN_QUEUE", first, second)
    tool, consumer = scene.start()
    wait_until(lambda: client.lpop("PCAPDJ_NEXT"), PATIENCE_S, "a file")
    client.sadd("PCAPDJ_AUTH", first)
    consumer.wait_for(200_000)
    wait_until(lambda: client.lpop("PCAPDJ_NEXT"), PATIENCE_S, "the next")
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [first.encode()]
    assert consumer.is_reading()
    assert client.exists("PCAPDJ_STATE") == 0
    with is_over(tool, client, [first, second]):
        client.sadd("PCAPDJ_AUTH", second)
        assert consumer.numbers() == list(range(2_000))


def test_a_wrong_authorisation_is_reported_and_a_late_one_costs_the_file(
    scene: Scene, client: Client
) -> None:
    first, second = scene.write(10, 10)
    client.rpush("PCAPDJ_IN_QUEUE", first, second)
    client.sadd("PCAPDJ_AUTH", second)
    client.set("PCAPDJ_PROCESSED_BY_THE_WAY", "somebody else's")
    tool, consumer = scene.start("--auth-timeout", "2s")
    wait_until(lambda: client.lpop("PCAPDJ_NEXT"), PATIENCE_S, "a file")
    client.sadd("PCAPDJ_AUTH", first.upper())
    tool.wait_to_say(f"wrong authorisation: PCAPDJ_AUTH names {first.upper()}, which")
    tool.wait_to_say(f"{first} is refused: nobody has allowed it for 2 s")
    assert consumer.numbers() == list(range(10, 20))
    assert tool.wait() == 0, tool.said()
    assert client.lrange("PCAPDJ_REFUSED", 0, -1) == [first.encode()]
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == [second.encode()]
    assert client.get("PCAPDJ_STATE") == b"DONE"


def test_a_wrong_string_is_reported(scene: Scene, client: Client) -> None:
    (path,) = scene.write(10)
    client.rpush("PCAPDJ_IN_QUEUE", path)
    tool, consumer = scene.start("--auth-string")
    wait_until(lambda: client.lpop("PCAPDJ_NEXT"), PATIENCE_S, "a file")
    client.set("PCAPDJ_AUTH", f"{path}.gz")
    tool.wait_to_say(f"wrong authorisation: PCAPDJ_AUTH was {path}.gz, and what waits")
    with is_over(tool, client, [path]):
        client.set("PCAPDJ_AUTH", path)
        assert consumer.numbers() == list(range(10))


def test_after_a_kill_the_file_is_the_first_again_and_nobody_is_asked_again(
    scene: Scene, client: Client
) -> None:
    paths = scene.write(20_000, 10)
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    client.sadd("PCAPDJ_AUTH", *paths)
    tool, consumer = scene.start()
    consumer.wait_for(MEGABYTE)
    consumer.pause()
    tool.kill()
    assert client.lrange("PCAPDJ_IN_QUEUE", 0, -1) == [paths[1].encode()]
    client.delete("PCAPDJ_NEXT")
    again, consumer = scene.start()
    with is_over(again, client, paths):
        assert consumer.numbers() == list(range(20_010))
    assert f"{paths[0]} goes back into the queue: nothing is heard" in again.said()


def test_after_a_kill_a_checkpoint_goes_on_to_the_packet(
    scene: Scene, client: Client, tmp_path: Path
) -> None:
    paths = scene.write(20_000, 10)
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    client.sadd("PCAPDJ_AUTH", *paths)
    tool, consumer = scene.start("--checkpoint", tmp_path / "at")
    consumer.wait_for(MEGABYTE)
    consumer.pause()
    tool.kill()
    before = consumer.numbers()
    again, consumer = scene.start("--checkpoint", tmp_path / "at", "--resume")
    with is_over(again, client, paths):
        assert before + consumer.numbers() == list(range(20_010))
    assert 0 < len(before) < 20_000


def test_what_redis_was_not_told_before_a_kill_is_not_played_again(
    scene: Scene, client: Client, tmp_path: Path
) -> None:
    """All of it had arrived, and Redis was away."""
    paths = scene.write(20_000, 10)
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    client.sadd("PCAPDJ_AUTH", *paths)
    tool, consumer = scene.start("--checkpoint", tmp_path / "at")
    consumer.wait_for(MEGABYTE)
    consumer.pause()
    scene.server.kill()
    tool.wait_to_say("; tries go on, and the stream waits")
    consumer.go_on()
    tool.wait_to_say(f"{paths[0]} is processed: 20000 packets")
    tool.kill()
    before = consumer.numbers()
    scene.server.start()
    again, consumer = scene.start("--checkpoint", tmp_path / "at", "--resume")
    with is_over(again, client, paths):
        assert before + consumer.numbers() == list(range(20_010))


def test_who_is_asked_to_end_gives_its_file_back(scene: Scene, client: Client) -> None:
    paths = scene.write(20_000, 10)
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    client.sadd("PCAPDJ_AUTH", *paths)
    tool, consumer = scene.start("--linger", "0s")
    consumer.wait_for(MEGABYTE)
    consumer.pause()
    tool.process.terminate()
    tool.wait()
    expected = [path.encode() for path in paths]
    assert client.lrange("PCAPDJ_IN_QUEUE", 0, -1) == expected
    assert client.exists("PCAPDJ_STATE", "PCAPDJ_INSTANCES", "PCAPDJ_PROCESSED") == 0


def test_redis_may_be_started_anew_in_the_middle(scene: Scene, client: Client) -> None:
    paths = scene.write(20_000, 10, 20)
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    tool, consumer = scene.start()
    with authoriser(client, authorise_by_set):
        consumer.wait_for(MEGABYTE)
        consumer.pause()
        scene.server.kill()
        tool.wait_to_say("; tries go on, and the stream waits")
        scene.server.start()
        tool.wait_to_say("answers again")
        with is_over(tool, client, paths):
            assert consumer.numbers() == list(range(20_030))


def test_two_dispatchers_share_the_files_and_never_one(
    scene: Scene, client: Client
) -> None:
    paths = scene.write(*[200] * 12)
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    started = [scene.start() for _ in range(2)]
    # Each has one before the first may go.
    wait_until(lambda: client.llen("PCAPDJ_NEXT") == 2, PATIENCE_S, "both")
    with authoriser(client, authorise_by_set):
        streams = [consumer.numbers() for _, consumer in started]
    assert [tool.wait() for tool, _ in started] == [0, 0]
    assert all(streams)
    assert sorted(streams[0] + streams[1]) == list(range(2_400))
    assert client.llen("PCAPDJ_PROCESSED") == 12
    assert client.get("PCAPDJ_STATE") == b"DONE"


def test_what_is_broken_is_told_apart(scene: Scene, client: Client) -> None:
    whole, torn = scene.write(10, 10)
    with Path(torn).open("r+b") as file:
        file.truncate(Path(torn).stat().st_size - 5)
    missing, pipe = f"{scene.captures}/missing.pcap", f"{scene.captures}/pipe"
    # Nobody will ever write into it.
    os.mkfifo(pipe)
    paths = [missing, pipe, "-", torn, whole]
    client.rpush("PCAPDJ_IN_QUEUE", *paths)
    client.sadd("PCAPDJ_AUTH", *paths)
    tool, consumer = scene.start()
    assert consumer.numbers() == [*range(10, 19), *range(10)]
    assert tool.wait() == 1, tool.said()
    expected = [path.encode() for path in paths]
    assert client.lrange("PCAPDJ_BROKEN", 0, -1) == expected[:-1]
    # As with pcapdj: what came of it is in the output.
    assert client.lrange("PCAPDJ_PROCESSED", 0, -1) == expected[-2:]
    assert client.get("PCAPDJ_STATE") == b"DONE"


def test_one_that_stays_waits_for_more_and_can_be_asked(
    scene: Scene, client: Client, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    tool, consumer = scene.start("--stay", "--control", control)
    (path,) = scene.write(1_000)
    wait_until(control.exists, PATIENCE_S, "the control socket")
    client.rpush("PCAPDJ_IN_QUEUE", path)
    client.sadd("PCAPDJ_AUTH", path)
    consumer.wait_for(200_000)
    wait_until(lambda: client.llen("PCAPDJ_PROCESSED"), PATIENCE_S, "the file")
    assert queue(control, "status").said["numbers"]["delivered"] == 1_000
    assert "Redis" in queue(control, "list").error
    tool.process.terminate()
    assert consumer.numbers() == list(range(1_000))
    assert tool.wait() == 0, tool.said()


# What an operator gets wrong is one line.


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (DispatchConfig(TOOL, paths=("a",), redis=REDIS), "PATHS and --redis do not"),
        (DispatchConfig(TOOL, merge=True, redis=REDIS), "--merge and --redis do not"),
        (DispatchConfig(TOOL, watch=("a",), redis=REDIS), "--watch and --redis do no"),
        (DispatchConfig(TOOL, approve="ask", redis=REDIS), "--approve and --redis do"),
        (DispatchConfig(TOOL, resume=True, redis=REDIS), "--resume needs"),
        (DispatchConfig(TOOL, redis=RedisConfig("http://")), "http is none of Redis's"),
    ],
)
def test_what_does_not_go_with_redis_is_refused(
    config: DispatchConfig, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        config.check()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("redis_prefix", "a:"),
        ("redis_lease", 2 * NS_PER_S),
        ("auth_timeout", NS_PER_S),
        ("auth_string", True),
        ("redis_ca", Path("ca")),
    ],
)
def test_what_is_for_redis_is_refused_without_it(flag: str, value: object) -> None:
    flags: dict[str, Any] = {
        "redis": None,
        "redis_lease": options.LEASE_NS.default,
        "auth_string": False,
        "auth_timeout": 0,
    }
    option = "--" + flag.replace("_", "-")
    with pytest.raises(ConfigError, match=f"{option} is for --redis, which is not"):
        redis_of({**flags, flag: value})
    assert redis_of(flags) is None


def test_a_server_that_is_not_there_is_one_line(tools: Tools, tmp_path: Path) -> None:
    tool = dispatch(tools, "--redis", "redis://127.0.0.1:1", tmp_path / "out.pcap")
    assert tool.wait() == 4, tool.said()
    assert tool.said().splitlines()[-1] == (
        "error: Redis at redis://127.0.0.1:1 cannot be reached: Connection refused"
    )
    assert "Traceback" not in tool.said()


def test_the_url_may_come_from_a_variable(
    tools: Tools, folder: Path, tmp_path: Path
) -> None:
    """Where no other user sees it, as on a command line."""
    with RedisServer(folder, password="secret") as server:  # noqa: S106
        with redis.Redis(port=server.port, password="secret") as client:  # noqa: S106
            (path,) = map(str, files(tmp_path, 10))
            client.rpush("PCAPDJ_IN_QUEUE", path)
            client.sadd("PCAPDJ_AUTH", path)
        env = {"PCAP_ZMQ_DISPATCH_REDIS": server.url}
        tool = dispatch(tools, tmp_path / "out.pcap", env=env)
        assert tool.wait() == 0, tool.said()
    assert "secret" not in tool.said()


def test_without_its_client_it_says_what_to_install(
    tools: Tools, tmp_path: Path
) -> None:
    (tmp_path / "redis.py").write_text("raise ModuleNotFoundError('redis')")
    tool = dispatch(
        tools,
        *("--redis", "redis://", tmp_path / "out.pcap"),
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert tool.wait() == 2, tool.said()
    assert "pip install 'pcap-zmq[redis]'" in tool.said()
