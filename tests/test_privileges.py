"""What a process may do beyond others is given up for good, in every thread of it."""

import gzip
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.privileges import drop_to
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import BIN, PATIENCE_S, Tool, Tools, without_capabilities

USER = "nobody"
HELD = ("CapInh", "CapPrm", "CapEff", "CapAmb")
"""What a thread can use or pass on; CapBnd is what it could gain."""

_PROGRAM = """
import json, os, pathlib, resource, subprocess, sys, threading
import linux_ffi
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.privileges import drop_to, harden

user, starts, *groups = sys.argv[1:]
if groups:
    os.setgroups([int(group) for group in groups])
stay = threading.Event()
thread = threading.Thread(target=stay.wait)
try:
    if starts == "first":
        thread.start()
    harden()
    if starts == "between":
        thread.start()
    drop_to(user or None)
    if starts == "last":
        thread.start()
except PcapZmqError as error:
    print(json.dumps({"error": type(error).__name__, "said": str(error)}))
    stay.set()
    sys.exit()

def refused(attempt):
    try:
        attempt()
    except PermissionError:
        return True
    return False

def fields(text):
    return dict(line.split(":", 1) for line in text.splitlines())

tasks = pathlib.Path("/proc/self/task").iterdir()
child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True)
print(json.dumps({
    "uids": os.getresuid(),
    "gids": os.getresgid(),
    "groups": os.getgroups(),
    "tasks": [fields((task / "status").read_text()) for task in tasks],
    "child": fields(child.stdout),
    "may dump": linux_ffi.may_dump(),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "refused": [
        refused(lambda: os.setuid(0)),
        refused(lambda: os.seteuid(0)),
        refused(lambda: os.setresgid(0, 0, 0)),
        refused(lambda: os.setgroups([0])),
        refused(lambda: os.chroot("/")),
    ],
}))
stay.set()
"""


def as_root() -> list[str]:
    """What makes a command root: nothing where we are, else a user namespace that has
    other users than root."""
    if os.geteuid() == 0:
        return []
    unshare = ["unshare", "--user", "--map-root-user", "--map-auto", "--"]
    if (
        shutil.which("newuidmap")
        and not subprocess.run(
            [*unshare, "true"], capture_output=True, check=False
        ).returncode
    ):
        return unshare
    pytest.skip("needs root, or newuidmap and a range in /etc/subuid")


def dropped(
    user: str, *groups: int, starts: str = "last", within: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a process that was root finds itself to be. user: "" for none. starts: when
    its second thread does."""
    arguments = [*as_root(), *within, sys.executable, "-c", _PROGRAM, user, starts]
    done = subprocess.run(
        [*arguments, *map(str, groups)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert "error" in found or len(found["tasks"]) == 2
    return found


def sets(statuses: list[dict[str, str]], *kinds: str) -> set[int]:
    """The capability sets of these kinds, over all threads."""
    return {int(status[kind], 16) for status in statuses for kind in kinds}


# What cannot be given up, or would not be.


def test_a_thread_that_started_too_early_is_noticed() -> None:
    found = dropped("", starts="first")
    assert found["error"] == "PrivilegeError"
    assert "kept capabilities" in found["said"]


def test_a_thread_that_could_still_gain_privileges_is_noticed() -> None:
    """Becoming another user takes the capabilities of all threads, but no more."""
    found = dropped(USER, starts="first")
    assert found["error"] == "PrivilegeError"
    assert "may still gain privileges" in found["said"]


def test_a_thread_that_started_before_the_drop_is_noticed() -> None:
    found = dropped("", starts="between")
    assert found["error"] == "PrivilegeError"
    assert "kept capabilities: CapPrm is not empty" in found["said"]


def test_root_that_may_not_change_says_so() -> None:
    """As in a container that was given few capabilities."""
    within = ("setpriv", "--bounding-set=-setuid", "--inh-caps=-all", "--")
    found = dropped(USER, within=within)
    assert found["error"] == "PrivilegeError"
    assert f"cannot become {USER}" in found["said"]


def test_a_user_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="there is no such user"):
        drop_to("nobody-of-this-name")


# Becoming another.


def test_user_and_group_are_the_users_in_all_three_places() -> None:
    entry = pwd.getpwnam(USER)
    found = dropped(USER)
    assert found["uids"] == [entry.pw_uid] * 3
    assert found["gids"] == [entry.pw_gid] * 3


def test_the_groups_of_root_are_gone() -> None:
    entry = pwd.getpwnam(USER)
    found = dropped(USER, 0, 1, 2)
    assert set(found["groups"]) == set(os.getgrouplist(USER, entry.pw_gid))


def test_every_thread_is_the_user() -> None:
    entry = pwd.getpwnam(USER)
    found = dropped(USER)
    uids = {tuple(task["Uid"].split()) for task in found["tasks"]}
    assert uids == {(str(entry.pw_uid),) * 4}


def test_there_is_no_way_back() -> None:
    assert dropped(USER)["refused"] == [True] * 5


def test_what_would_survive_the_change_is_given_up_all_the_same() -> None:
    """With this bit the kernel clears no capability when root becomes another."""
    within = ("setpriv", "--securebits=+no_setuid_fixup", "--")
    found = dropped(USER, within=within)
    assert sets(found["tasks"], *HELD) == {0}
    assert found["refused"] == [True] * 5


# With or without another user.


@pytest.mark.parametrize("user", [USER, "root", ""])
def test_no_capability_is_left_in_any_thread_nor_can_be_gained(user: str) -> None:
    found = dropped(user)
    assert sets(found["tasks"], *HELD, "CapBnd") == {0}
    assert {task["NoNewPrivs"].strip() for task in found["tasks"]} == {"1"}


def test_what_root_executes_afterwards_has_no_capability_either() -> None:
    """Else root would have all of them again: capabilities(7), on execve(2)."""
    found = dropped("")
    assert found["uids"] == [0] * 3
    assert sets([found["child"]], *HELD) == {0}


@pytest.mark.parametrize("user", [USER, ""])
def test_neither_dumps_nor_tracing_by_the_same_user_are_possible(user: str) -> None:
    found = dropped(user)
    assert (found["may dump"], found["core"]) == (False, [0, 0])


@pytest.mark.parametrize("user", [USER, ""])
def test_ambient_capabilities_go_though_the_user_stays(user: str) -> None:
    """As a service manager starts us: with another user and one capability."""
    entry = pwd.getpwnam(USER)
    within = (
        *("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}"),
        *("--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin", "--"),
    )
    found = dropped(user, within=within)
    assert sets(found["tasks"], *HELD) == {0}
    assert found["uids"] == [entry.pw_uid] * 3


def test_without_the_right_to_it_the_bounding_set_stays_and_bounds_nothing() -> None:
    """As in a container: no program gains a capability in any case."""
    within = ("setpriv", "--bounding-set=-setpcap", "--inh-caps=-all", "--")
    found = dropped("", within=within)
    assert sets(found["tasks"], *HELD) == {0}
    assert sets(found["tasks"], "CapBnd") != {0}
    assert sets([found["child"]], *HELD) == {0}


# Our commands, as they run.


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    with Tools(tmp_path) as tools:
        yield tools


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    """Gzipped: what undoes it is a thread, and so is what reads ahead."""
    path = tmp_path / "in.pcap.gz"
    path.write_bytes(gzip.compress(packets.header() + packets.records(range(9), 60)))
    return path


def threads_of(tool: Tool) -> dict[str, dict[str, str]]:
    """/proc/PID/task/TID/status of each thread, by name of the thread and its field."""
    threads: dict[str, dict[str, str]] = {}
    for task in Path(f"/proc/{tool.pid}/task").iterdir():
        try:
            lines = (task / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            continue
        status = {name: text.strip() for name, text in (x.split(":", 1) for x in lines)}
        threads[f"{status['Name']} {task.name}"] = status
    return threads


def await_thread(tool: Tool, name: str) -> list[dict[str, str]]:
    """The status of all threads, once one of this name is there."""

    def found() -> list[dict[str, str]]:
        assert tool.process.poll() is None, tool.said()
        threads = threads_of(tool)
        is_there = any(thread.startswith(name) for thread in threads)
        return list(threads.values()) if is_there else []

    return wait_until(found, PATIENCE_S, f"the thread {name}")


def assert_confined(statuses: list[dict[str, str]]) -> None:
    """Nothing can be done or gained beyond what anybody may."""
    bounding = {0} if os.geteuid() == 0 else sets(statuses, "CapBnd")
    assert sets(statuses, *HELD) == {0}
    assert sets(statuses, "CapBnd") == bounding
    assert {status["NoNewPrivs"] for status in statuses} == {"1"}


def test_no_thread_of_a_receiver_has_a_capability(tools: Tools, tmp_path: Path) -> None:
    receiver = tools.receive(f"ipc://{tmp_path}/link", tmp_path / "fifo")
    statuses = await_thread(receiver, "ZMQbg/IO")
    assert len(statuses) >= 3
    assert_confined(statuses)


def test_no_thread_of_a_sender_of_a_savefile_has_a_capability(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    sender = tools.send(savefile, f"ipc://{tmp_path}/link")
    statuses = await_thread(sender, "ZMQbg/IO")
    assert len(statuses) >= 3
    assert_confined(statuses)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="there is no root to give up")


@needs_root
def test_a_receiver_becomes_its_user_and_replaces_its_fifo(
    tools: Tools, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.chown(theirs, USER)
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o011)
    receiver, endpoint = tools.receive_on_tcp(
        theirs / "fifo", "--user", USER, "--linktype", "raw"
    )
    uid = str(pwd.getpwnam(USER).pw_uid)
    statuses = await_thread(receiver, "ZMQbg/IO")
    assert {tuple(status["Uid"].split()) for status in statuses} == {(uid,) * 4}
    assert_confined(statuses)
    for _ in range(2):
        inode = (theirs / "fifo").stat().st_ino
        subprocess.run(["head", "-c", "24", theirs / "fifo"], check=True, timeout=30)
        assert (theirs / "fifo").stat().st_ino != inode
        assert (theirs / "fifo").stat().st_uid == int(uid)
    assert "cannot be replaced" not in receiver.said()
    assert endpoint.startswith("tcp://")


@needs_root
def test_what_only_root_may_write_is_refused_to_the_user_of_a_receiver(
    tools: Tools, tmp_path: Path
) -> None:
    receiver = tools.receive(
        f"ipc://{tmp_path}/link", tmp_path / "fifo", "--user", USER
    )
    assert receiver.wait() == 3
    assert "(--user)" in receiver.said()


@needs_root
def test_root_passes_over_no_file_mode_and_is_told_how_to(
    tools: Tools, tmp_path: Path
) -> None:
    """What takes CAP_DAC_OVERRIDE is refused at the start, not when a reader comes."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    shutil.chown(theirs, USER)
    receiver = tools.receive(f"ipc://{tmp_path}/link", theirs / "fifo")
    assert receiver.wait() == 3
    assert str(theirs / "fifo") in receiver.said()
    assert "(--user)" in receiver.said()


@needs_root
def test_a_savefile_that_only_root_may_read_is_read_by_another_user(
    tools: Tools, tmp_path: Path, savefile: Path
) -> None:
    savefile.chmod(0o600)
    output = tmp_path / "out.pcap"
    receiver, endpoint = tools.receive_on_tcp(f"file:{output}", "--once")
    tools.send(savefile, endpoint, "--user", USER).finish()
    assert receiver.finish()["written"] == 9


_WATCH_IMPORTS = """
import os, sys

def watch(event, arguments):
    if event == "import" and os.getuid() != 0:
        with open(os.environ["IMPORTS"], "a") as imports:
            print(arguments[0], file=imports)

sys.addaudithook(watch)
"""


@needs_root
@pytest.mark.parametrize("codec", ["zlib", "zstd", "lz4"])
def test_another_user_need_not_be_able_to_read_our_modules(
    tools: Tools, tmp_path: Path, savefile: Path, codec: str
) -> None:
    """They may lie below /root: so nothing is imported any more by then."""
    (tmp_path / "sitecustomize.py").write_text(_WATCH_IMPORTS)
    imports = tmp_path / "imports"
    imports.touch()
    imports.chmod(0o666)
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o011)
    env = {"PYTHONPATH": str(tmp_path), "IMPORTS": str(imports)}
    keys = tmp_path / "keys"
    for name in ("gateway", "ids"):
        argv = [str(BIN / "pcap-zmq"), "keygen", "--name", name, str(keys)]
        subprocess.run(argv, check=True, capture_output=True)
    allowed = tmp_path / "allowed"
    allowed.mkdir(mode=0o755)
    shutil.copy(keys / "gateway.key", allowed)
    # With all that loads something of its own.
    as_user = ("--user", USER, "--metrics", "127.0.0.1:0", "--statsd", "127.0.0.1")
    receiver = tools.start(
        "pcap-zmq-recv",
        *("tcp://127.0.0.1:*", "-", "--once", *as_user),
        *("--key", keys / "ids.key_secret", "--allow", allowed),
        stdout=subprocess.PIPE,
        env=env,
    )
    receiver.wait_to_say("listening on")
    endpoint = receiver.said().split("listening on ")[1].split()[0]
    compressed = ("--codec", codec, "--low-watermark", "1KiB/s")
    own = ("--key", keys / "gateway.key_secret", "--peer-key", keys / "ids.key")
    arguments = (savefile, endpoint, *compressed, *as_user, *own)
    sender = tools.start("pcap-zmq-send", *arguments, env=env)
    sender.finish()
    assert receiver.finish()["written"] == 9
    assert imports.read_text().split() == []


@needs_root
def test_a_process_of_the_same_user_cannot_look_into_a_receiver(
    tools: Tools, tmp_path: Path
) -> None:
    output = ("-", "--user", USER)
    receiver, _ = tools.receive_on_tcp(*output, stdout=subprocess.PIPE)
    entry = pwd.getpwnam(USER)
    ids = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
    as_user = ("setpriv", *ids, "--")
    pipe = subprocess.PIPE
    with subprocess.Popen([*as_user, "cat"], stdin=pipe, stdout=pipe) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        # What comes back has been through cat, which is the user by then.
        other.stdin.write(b"ready\n")
        other.stdin.flush()
        assert other.stdout.readline() == b"ready\n"
        seen = {}
        for name, pid in (("ours", receiver.pid), ("another", other.pid)):
            done = subprocess.run(
                [*as_user, "cat", f"/proc/{pid}/environ"],
                capture_output=True,
                check=False,
                timeout=30,
            )
            seen[name] = b"Permission denied" not in done.stderr
        other.communicate()
    assert seen == {"ours": False, "another": True}


def test_a_container_that_may_not_drop_the_bounding_set_is_good_enough(
    tools: Tools, tmp_path: Path
) -> None:
    within = without_capabilities("setpcap")
    receiver = tools.receive(f"ipc://{tmp_path}/link", tmp_path / "fifo", within=within)
    statuses = await_thread(receiver, "ZMQbg/IO")
    assert sets(statuses, *HELD) == {0}
    assert {status["NoNewPrivs"] for status in statuses} == {"1"}
