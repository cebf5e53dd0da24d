"""Every fault that the soak picks from: what it touches, and how it begins and ends."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from testbed import faults
from testbed.numbered import Witness
from tests.faults.disk import SmallDisk
from tests.faults.load import GATEWAYS, Load
from tests.faults.swarm import Swarm
from tests.faults.world import IDS_HOST
from tests.netns.pipe import PORT
from tests.pipes.tools import assert_receiver_conserves

Undo = Callable[[], object]

RECEIVER, IDS, CLOCK, DISK = "receiver", "ids", "clock", "disk"
MIB = 1 << 20
HOUR_S = 3_600

DISK_PORT = PORT + 1
"""Of the receiver that writes a file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One that can be there for a while. Two that touch the same are never there at
    once: between them they lose packets that neither does."""

    name: str
    touches: frozenset[str]
    begin: Callable[[], Undo]
    waits: bool = False
    """Its end waits for packets to come out, so other faults have to be over."""


def table(load: Load, random: Random) -> list[Fault]:
    """All of them, for this load."""
    found = [
        _fault(
            "receiver killed", {RECEIVER, IDS, CLOCK}, partial(_kill_receiver, load)
        ),
        _fault("receiver stopped", {RECEIVER, IDS}, partial(_stop_receiver, load)),
        _fault("receiver paused", {RECEIVER}, partial(_pause_receiver, load)),
        _fault("ids killed in a record", {IDS}, partial(_kill_ids, load)),
        _fault("ids stands still", {IDS}, partial(_pause_ids, load)),
        _fault("clock steps", {CLOCK, *GATEWAYS}, partial(_step_clock, load, random)),
    ]
    for name in GATEWAYS:
        cable = f"link of {name}"
        found += [
            _fault(f"{cable} down", {cable}, partial(_pull_cable, load, name)),
            _fault(f"{cable} silent", {cable}, partial(_silence, load, name, random)),
            _fault(f"{cable} reset", {cable}, partial(_reset, load, name)),
            _fault(f"address of {name} changes", {cable}, partial(_move, load, name)),
            _fault(f"sender {name} killed", {name}, partial(_kill, load, name)),
            _fault(f"sender {name} stopped", {name}, partial(_stop, load, name)),
            _fault(f"sender {name} paused", {name}, partial(_pause, load, name)),
            _fault(
                f"{name} overrun",
                {name, RECEIVER, IDS, cable},
                partial(_overrun, load, name),
            ),
            _swarms(f"crowd on {name}", {RECEIVER, cable}, partial(_crowd, load, name)),
            _swarms(f"churn on {name}", {RECEIVER, cable}, partial(_churn, load, name)),
            _swarms(f"disk full for {name}", {DISK, cable}, partial(_fill, load, name)),
            _swarms(f"flood on {name}", {RECEIVER, cable}, partial(_flood, load, name)),
        ]
    return found


def _fault(name: str, touches: set[str], begin: Callable[[], Undo]) -> Fault:
    return Fault(name, frozenset(touches), begin)


def _swarms(name: str, touches: set[str], begin: Callable[[], Undo]) -> Fault:
    return Fault(name, frozenset(touches), begin, waits=True)


def _kill_receiver(load: Load) -> Undo:
    load.allow_rewinds()
    load.receiver.kill()
    return load.start_receiver


def _stop_receiver(load: Load) -> Undo:
    load.receiver.stop()
    return load.start_receiver


def _pause_receiver(load: Load) -> Undo:
    load.receiver.pause()
    return load.receiver.resume


def _kill_ids(load: Load) -> Undo:
    load.ids.kill_in_a_record(load.lanes[GATEWAYS[0]].flow)
    return load.ids.kill


def _pause_ids(load: Load) -> Undo:
    load.ids.pause()
    return load.ids.resume


def _step_clock(load: Load, random: Random) -> Undo:
    load.clock.set_off(random.choice((-HOUR_S, HOUR_S)))
    return partial(load.clock.set_off, 0)


def _pull_cable(load: Load, name: str) -> Undo:
    gateway = load.world.network[name]
    faults.pull_cable(gateway, IDS_HOST)
    return partial(faults.plug_cable, gateway, IDS_HOST)


def _silence(load: Load, name: str, random: Random) -> Undo:
    network = load.world.network
    ends = [(network[name], IDS_HOST), (network[IDS_HOST], name)]
    deaf = random.choice((ends, ends[:1], ends[1:]))
    for host, other in deaf:
        faults.silence(host, other)

    def undo() -> None:
        for host, other in deaf:
            faults.end_silence(host, other)

    return undo


def _reset(load: Load, name: str) -> Undo:
    gateway, ids_host = load.world.network[name], load.world.ids_host
    faults.reset(ids_host, name)
    faults.reset(gateway, IDS_HOST)

    def undo() -> None:
        faults.end_reset(gateway, IDS_HOST)
        faults.end_reset(ids_host, name)

    return undo


def _move(load: Load, name: str) -> Undo:
    number = GATEWAYS.index(name)
    here, there = f"10.0.{number}.1/24", f"10.0.{number}.7/24"
    gateway = load.world.network[name]
    faults.change_address(gateway, IDS_HOST, here, there)
    return partial(faults.change_address, gateway, IDS_HOST, there, here)


def _kill(load: Load, name: str) -> Undo:
    load.end_sender(name, by_force=True)
    return partial(load.start_sender, name)


def _stop(load: Load, name: str) -> Undo:
    load.end_sender(name, by_force=False)
    return partial(load.start_sender, name)


def _pause(load: Load, name: str) -> Undo:
    load.lanes[name].sender.pause()
    return load.lanes[name].sender.resume


def _overrun(load: Load, name: str) -> Undo:
    sender = load.lanes[name].sender
    sender.pause()
    burst = load.burst(name)

    def undo() -> None:
        burst.stop()
        sender.resume()

    return undo


def _crowd(load: Load, name: str) -> Undo:
    senders, batches = 1_000, 3
    return _swarm(load, name, senders, batches)


def _churn(load: Load, name: str) -> Undo:
    return _swarm(load, name, 50, 20, restless=True)


def _flood(load: Load, name: str) -> Undo:
    return _swarm(load, name, 1, 2_000, packets=100, octets=1_000)


def _swarm(
    load: Load, name: str, senders: int, batches: int, **options: int | bool
) -> Undo:
    """Senders beside ours, who have to be done before the fault is over."""
    marks = load.new_marks(senders)
    swarm = Swarm(
        load.world,
        name,
        senders=senders,
        batches=batches,
        first_mark=marks.start,
        **options,
    )

    def undo() -> None:
        outcome = swarm.outcome()
        packets = batches * int(options.get("packets", 1))
        assert outcome["acknowledged"] == senders * packets
        for mark in marks:
            load.ids.wait_for(mark, packets)
            seen = load.ids.witness.marks.pop(mark)
            assert (seen.missing, seen.repeated) == ([], []), mark

    return undo


def _fill(load: Load, name: str) -> Undo:
    """A receiver of its own, that writes a file, and senders for it."""
    senders, batches, packets, octets = 10, 100, 10, 200
    world = load.world
    marks = load.new_marks(senders)
    disk = SmallDisk(world, world.directory / f"disk-{marks.start}", 4 * MIB)
    disk.run("fallocate", "-l", f"{4 * MIB - MIB // 4}", f"{disk.path}/filling")
    output = f"file:{disk.path}/out.pcap"
    receiver = world.receive(output=output, port=DISK_PORT, within=disk.entry)
    swarm = Swarm(
        world,
        name,
        port=DISK_PORT,
        senders=senders,
        batches=batches,
        packets=packets,
        octets=octets,
        first_mark=marks.start,
    )
    receiver.wait_to_say("No space left on device")

    def undo() -> None:
        disk.run("rm", f"{disk.path}/filling")
        swarm.outcome()
        assert_receiver_conserves(receiver.stop())
        witness = Witness()
        witness.begin()
        witness.feed(disk.read("out.pcap"))
        assert witness.end() == 0
        for mark in marks:
            seen = witness[mark]
            assert (seen.packets, seen.missing) == (batches * packets, [])
            assert seen.repeated == []
        disk.close()

    return undo
