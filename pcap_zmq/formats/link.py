"""Who may send what when: what the two ends of the link have in common.

Specification: docs/wire.md.

Theory of operation. A connection delivers in order and loses nothing, until it breaks,
when it loses an unknown end of what was under way in either direction. So a sender
keeps every batch until the receiver has said that it is written, and numbers them. On
each new connection it says HELLO; the answer, WELCOME, names the batch that the
receiver wants next, and from there the sender goes on. The receiver takes only the
batch that it wants next: an earlier one is a repetition, a later one means that
something was lost, which another WELCOME mends.

A window bounds what a sender has under way. The receiver shares its queue out as
windows and may lower one at any time; a sender says in each message which window it
goes by, and until it has said so the receiver reserves the larger one. A sender may
begin its last batch as long as anything of the window is left, so a window may be
exceeded by less than one batch.

    sender       connected          WELCOME            depart, all acknowledged
      DOWN  ──────────────► GREETING ───────► UP ────────────────────────────► LEAVING
       ▲                        │             │          FAREWELL                 │
       └──── disconnected ──────┴─────────────┘             GONE ◄────────────────┘
"""

ACK_NS = 250_000_000
"""So long an acknowledgement may wait for company, unless a quarter of the window or a
MiB waits for it, or its sender has said a heartbeat since: a thousand senders with a
packet now and then are not answered each time."""

HEARTBEAT_NS = 1_000_000_000
"""A link on which nothing else was said says this much, so that both ends know."""

PATIENCE_NS = 5_000_000_000
"""After this long without any reply the sender greets (or takes its leave) again."""

SILENCE_NS = 15_000_000_000
"""A sender not heard for this long gives its window back; its place is kept."""
