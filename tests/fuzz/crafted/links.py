"""Seeds of the two ends of the link: what happens to each, step by step."""

from tests.fuzz.crafted.common import Seeds, little16


def sender_link() -> Seeds:
    connected, speak, down, wait, leave = 5, 4, 6, 7, 8
    offer = bytes([0]) + little16(100) + b"\3"

    def reply(kind: int, written: int, wanted: int, window: int = 0xFFFF) -> bytes:
        """Numbers near the last that was sent: 8 is that one."""
        octets = bytes([1, kind, 0, written, wanted, 0])
        return octets + window.to_bytes(2, "big")

    welcome, ack, farewell = 0, 1, 2
    up = bytes([connected, speak]) + reply(welcome, 8, 9)
    yield "up", b"\4" + up
    sent = b"\4" + offer * 3 + up + bytes([speak])
    yield "acknowledged", sent + reply(ack, 8, 9)
    yield "acknowledged-in-part", sent + reply(ack, 6, 8)
    yield "a-gap", sent + reply(welcome, 5, 7) + bytes([speak])
    yield "acknowledged-unsent", sent + reply(ack, 10, 11)
    broken = sent + bytes([down, connected, speak]) + reply(welcome, 6, 8)
    yield "broken-and-back", broken + bytes([speak])
    yield "patience", sent + bytes([wait, 3, speak])
    departed = sent + bytes([leave, 2]) + reply(ack, 8, 9) + bytes([speak])
    yield "departed", departed + reply(farewell, 8, 9) + bytes([speak])
    hurried = sent + bytes([leave, 0, speak])
    yield "left-in-a-hurry", hurried + reply(farewell, 7, 9) + bytes([speak])
    yield "abandoned", sent + bytes([leave, 1, speak]) + reply(ack, 8, 9)
    closed = b"\4" + offer * 2 + bytes([connected, speak]) + reply(welcome, 8, 9, 0)
    yield "a-window-of-nothing", closed + bytes([speak]) + reply(ack, 8, 9, 600)


def spooled_link() -> Seeds:
    """The same, with a queue that has room for one batch."""
    for name, octets in sender_link():
        yield name, b"\2" + octets[1:]


def receiver_link() -> Seeds:
    write, lose, speak, drop, look, flood, wait = range(4, 11)
    hello, batch, heartbeat, goodbye = range(4)

    def say(
        kind: int,
        near: int = 4,
        peer: int = 0,
        sender: int = 0,
        start: int = 0,
        manner: int = 0,
    ) -> bytes:
        """Numbers near the batch that is wanted: 4 is that one. manner: 2 where the
        link is not asked about what is plain."""
        place = bytes([0, peer, sender, start, near, kind, manner])
        # The window that it was given, three packets, no counters, 256 octets.
        return place + b"\3\0\1\0"

    here = b"\3" + say(hello) + bytes([speak])
    yield "hello", here
    yield "batches", here + say(batch) * 3 + bytes([write, 3, speak])
    yield "a-gap", here + say(batch, 6) + bytes([speak]) + say(batch)
    yield "a-repetition", here + say(batch) + say(batch, 3) + bytes([speak])
    yield "uncalled", b"\3" + say(batch) + bytes([speak])
    yield "goodbye", here + say(batch) + say(goodbye) + bytes([speak, write, 1, speak])
    two = here + say(hello, peer=1, sender=1) + bytes([speak]) + say(heartbeat)
    yield "two-senders", two + say(batch, peer=1, sender=1) + bytes([speak])
    again = say(hello, start=1)
    yield "another-run", here + say(batch) + again + bytes([speak])
    yield "two-streams-on-a-connection", here + say(hello, sender=1) + say(batch)
    # The first stream comes back, and the second one moves on.
    swapped = here + say(hello, sender=1) + say(hello) + say(hello, sender=1, peer=1)
    yield "a-connection-changes-hands", swapped + say(batch) + bytes([speak])
    moved = here + say(batch) + say(hello, peer=1) + bytes([speak])
    yield "moved", moved + say(batch) + say(batch, peer=1) + bytes([write, 2, speak])
    yield "silence", here + bytes([wait, 4, speak]) + say(heartbeat) + bytes([speak])
    yield "lost", here + say(batch) + bytes([lose, 0, speak, write, 1]) + say(hello)
    full = b"\0" + say(hello) + bytes([speak]) + say(batch) * 3
    yield "dropped", here + say(batch) * 2 + bytes([drop, 1, look, write, 1, look])
    empty = say(batch)[:-4] + b"\0" + say(batch)[-3:]
    superseded = here + empty + again + bytes([wait, 2, speak])
    late = superseded + say(hello) + bytes([write, 1, speak])
    yield "an-empty-batch-of-an-earlier-run", late
    yield "never-acknowledged", here + bytes([flood, 0, 255, flood, 0, 255, look])
    plain = say(batch, manner=2)
    yield "plain", here + say(batch) + plain * 3 + bytes([write, 4, wait, 2, speak])
    yield "plain-and-moved", here + say(batch) + plain + say(hello, peer=1) + plain
    yield "plain-after-a-gap", here + say(batch) + say(batch, 6) + plain * 2
    yield "plain-after-the-end", here + say(batch) + say(goodbye) + plain
    keyed = b"\3" + say(hello, peer=2) + say(hello, peer=3) + bytes([speak])
    yield "one-id-with-two-names", keyed + say(batch, peer=2) + say(batch, peer=3)
    yield (
        "no-room",
        full + bytes([wait, 2, speak, write, 1, wait, 2, speak]) + say(batch),
    )


def intake() -> Seeds:
    say, anything, take, settle, toggle, remove = 0, 3, 4, 6, 7, 8
    windows, acknowledge, over = range(9, 12)

    def batch(
        who: int = 0,
        delta: int = 0,
        packets: int = 2,
        length: int = 20,
        manner: int = 0,
        twist: bytes = b"\0",
    ) -> bytes:
        """Plain; manner: one bit for each way in which it is not."""
        return bytes([say, who, delta & 0xFF, packets, length, manner]) + twist

    ample = b"\xff\xff"
    yield "gathered", ample + (batch() + bytes([take])) * 3
    several = batch(0) + batch(1) + bytes([take]) + batch(0) + batch(2)
    yield (
        "of-several",
        ample + several + bytes([take, settle, settle, acknowledge, 200]),
    )
    for bit in range(8):
        odd = ample + batch(manner=1 << bit) + bytes([take]) + batch()
        yield f"manner-{bit}", odd + bytes([take])
    yield "a-gap", ample + batch(delta=1) + batch() + bytes([take] * 2)
    yield "a-repetition", ample + batch() + bytes([take]) + batch(delta=-1)
    yield "no-packets", ample + batch(packets=0) + bytes([take])
    yield "no-room", b"\5\0" + batch(length=10) + batch(length=200) + bytes([take] * 2)
    yield "a-torn-record", ample + batch(twist=b"\x01" + little16(188 + 8))
    yield "another-version", ample + batch(twist=b"\x03" + little16(4))
    yield "another-window", ample + bytes([windows, 1, 255]) + batch(manner=8)
    yield "frames", ample + bytes([anything, 0, 6]) + b"\1x\0\2yz" * 2
    yield "only-a-peer", ample + bytes([anything, 0, 0, take])
    yield "closed", ample + bytes([toggle]) + batch() + bytes([take, toggle]) + batch()
    gone = batch() + bytes([take, remove]) + batch() + bytes([take, settle, settle])
    yield "forgotten", ample + gone + bytes([acknowledge, 200])
    held = ample + batch() + bytes([take, over, 3, 9]) + batch() + bytes([take])
    yield "started-over", held + bytes([settle, settle, acknowledge, 0])
    beyond = ample + bytes([windows, 0, 0]) + (batch() + bytes([take])) * 3
    yield "beyond-its-window", beyond + bytes([settle, take])
