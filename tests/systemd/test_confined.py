"""Our commands make no system call that their units do not allow."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipes import packets
from tests.pipes.tools import BIN, Tool, Tools
from tests.systemd.units import RECEIVER, ROOT, SENDER, allowed_calls

WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with Tools(tmp_path) as tools:
        yield tools


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Of a gateway and of an IDS host; the gateway's is allowed."""
    for name in ("gateway", "ids"):
        argv = [str(BIN / "pcap-zmq"), "keygen", "--name", name, str(tmp_path / "keys")]
        subprocess.run(argv, check=True, capture_output=True)
    allowed = tmp_path / "keys" / "allow"
    allowed.mkdir(0o755)
    (tmp_path / "keys" / "gateway.key").rename(allowed / "gateway.key")
    return tmp_path / "keys"


def start(tools: Tools, unit: Path, command: str, *arguments: str | Path) -> Tool:
    confined = (sys.executable, "-m", "tests.systemd.confined", str(unit))
    within = (*WITHOUT_CAPABILITIES, *confined) if os.geteuid() == 0 else confined
    env = {"PYTHONPATH": str(ROOT)}
    return tools.start(command, *arguments, within=within, env=env)


def test_a_call_that_is_not_allowed_ends_the_process() -> None:
    """That the other tests can fail."""
    argv = [sys.executable, "-m", "tests.systemd.confined", str(RECEIVER)]
    program = "import os; os.sched_setaffinity(0, {0})"
    done = subprocess.run(
        [*argv, sys.executable, "-c", program], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGSYS
    assert "sched_setaffinity" not in allowed_calls(RECEIVER)


@pytest.mark.parametrize(
    ("codec", "output"), [("zlib", "fifo"), ("zstd", "file"), ("lz4", "file")]
)
def test_what_our_commands_do_is_what_their_units_allow(
    tools: Tools, tmp_path: Path, keys: Path, codec: str, output: str
) -> None:
    """With keys, an exporter and a reload: all that takes other calls."""
    savefile = tmp_path / "in.pcap"
    savefile.write_bytes(packets.header() + packets.records(range(2_000), 900))
    where = tmp_path / "out"
    receiver = start(
        tools,
        RECEIVER,
        "pcap-zmq-recv",
        *("tcp://127.0.0.1:*", f"{output}:{where}", "--once", "--linktype", "raw"),
        *("--key", keys / "ids.key_secret", "--allow", keys / "allow"),
        *("--metrics", "127.0.0.1:0"),
    )
    receiver.wait_to_say("listening on")
    receiver.process.send_signal(signal.SIGHUP)
    if output == "fifo":
        reader = subprocess.Popen(["cat", where], stdout=subprocess.DEVNULL)
    endpoint = receiver.said().split("listening on tcp://")[1].split()[0]
    sender = start(
        tools,
        SENDER,
        "pcap-zmq-send",
        *(savefile, f"tcp://{endpoint}", "--codec", codec),
        *("--low-watermark", "1KiB/s"),
        *("--key", keys / "gateway.key_secret", "--peer-key", keys / "ids.key"),
    )
    assert sender.finish()["acknowledged"] == 2_000
    assert receiver.finish()["written"] == 2_000
    if output == "fifo":
        assert reader.wait(30) == 0


def test_a_child_files_and_a_live_stream_are_what_the_unit_allows(
    tools: Tools, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    # What a crash has left is mended first.
    left = out / "gw-1.pcap.part"
    left.write_bytes(packets.header() + packets.record(0) + b"torn")
    receiver = start(
        tools,
        RECEIVER,
        "pcap-zmq-recv",
        f"ipc://{tmp_path}/link",
        f"file:{out}/gw-%s.pcap,size=64KiB,age=1h",
        f"file:{out}/gz-%s.pcap,compress=gzip,count=3",
        "pcap-over-ip://127.0.0.1:0",
        "--exec",
        f"sh -c 'exec cat > {tmp_path}/child'",
        "--once",
    )
    receiver.wait_to_say("listening on")
    packets.write(tmp_path / "in.pcap", range(2_000))
    tools.send(tmp_path / "in.pcap", f"ipc://{tmp_path}/link").finish()
    receiver.finish()
    stream = (tmp_path / "child").read_bytes()
    assert packets.numbers(stream) == list(range(2_000))
    assert (out / "gw-1.pcap").read_bytes() == packets.header() + packets.record(0)
    assert not list(out.glob("*.part"))
