"""Root is given up for good: groups, group, user, capabilities, in every thread."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from typing import Any

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.privileges import drop_to

USER = "nobody"

_PROGRAM = """
import json, os, pathlib, sys, threading
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.privileges import drop_to

user, *groups = sys.argv[1:]
os.setgroups([int(group) for group in groups])
stay = threading.Event()
thread = threading.Thread(target=stay.wait)
thread.start()
try:
    drop_to(user)
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

tasks = []
for task in pathlib.Path("/proc/self/task").iterdir():
    lines = (task / "status").read_text().splitlines()
    tasks.append(dict(line.split(":", 1) for line in lines))
print(json.dumps({
    "uids": os.getresuid(),
    "gids": os.getresgid(),
    "groups": os.getgroups(),
    "tasks": tasks,
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


def dropped(user: str, *groups: int, within: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a process that was root finds itself to be."""
    arguments = [*as_root(), *within, sys.executable, "-c", _PROGRAM, user]
    done = subprocess.run(
        [*arguments, *map(str, groups)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_user_and_group_are_the_users_in_all_three_places() -> None:
    entry = pwd.getpwnam(USER)
    found = dropped(USER)
    assert found["uids"] == [entry.pw_uid] * 3
    assert found["gids"] == [entry.pw_gid] * 3


def test_the_groups_of_root_are_gone() -> None:
    entry = pwd.getpwnam(USER)
    found = dropped(USER, 0, 1, 2)
    assert set(found["groups"]) == set(os.getgrouplist(USER, entry.pw_gid))


@pytest.mark.parametrize("kind", ["CapInh", "CapPrm", "CapEff", "CapAmb"])
def test_every_capability_is_gone_in_every_thread(kind: str) -> None:
    found = dropped(USER)
    assert len(found["tasks"]) >= 2
    assert {int(task[kind], 16) for task in found["tasks"]} == {0}


def test_every_thread_is_the_user() -> None:
    entry = pwd.getpwnam(USER)
    found = dropped(USER)
    uids = {tuple(task["Uid"].split()) for task in found["tasks"]}
    assert uids == {(str(entry.pw_uid),) * 4}


def test_there_is_no_way_back() -> None:
    assert dropped(USER)["refused"] == [True] * 5


def test_root_that_may_not_change_says_so() -> None:
    """As in a container that was given few capabilities."""
    within = ("setpriv", "--bounding-set=-setuid", "--inh-caps=-all", "--")
    found = dropped(USER, within=within)
    assert found["error"] == "PrivilegeError"
    assert f"cannot become {USER}" in found["said"]


def test_what_would_survive_is_noticed() -> None:
    """With this bit the kernel clears no capability when root becomes another."""
    within = ("setpriv", "--securebits=+no_setuid_fixup", "--")
    found = dropped(USER, within=within)
    assert found["error"] == "PrivilegeError"


def test_a_user_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="there is no such user"):
        drop_to("nobody-of-this-name")


def test_becoming_who_one_is_changes_nothing() -> None:
    before = (os.getresuid(), os.getresgid(), os.getgroups())
    drop_to(pwd.getpwuid(os.geteuid()).pw_name)
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before
