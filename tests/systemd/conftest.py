"""Which of these tests are asked for."""

import os

# They boot a systemd of their own, with its own control groups and a file system laid
# over this one. Not every machine that runs tests allows that: `make booted` asks.
collect_ignore = [] if os.environ.get("BOOT_SYSTEMD") else ["test_booted.py"]
