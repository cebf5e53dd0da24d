"""NFLOG in Python: one line for each packet that netfilter logs to a group.

As root, or with CAP_NET_ADMIN, after for example

    nft add table inet ten
    nft add chain inet ten out '{ type filter hook output priority 0; }'
    nft add rule inet ten out log group 5

run: python nflog_in_ten_lines.py 5
"""

import struct
import sys

from nflog_ffi import NflogSocket

with NflogSocket(groups=[int(group) for group in sys.argv[1:]]) as nflog:
    while True:
        records, at = nflog.read(timeout_s=1.0), 0
        while at < len(records):
            # A packet record as in a savefile: pcap-savefile(5); link type 101, raw IP.
            seconds, ns, caplen, origlen = struct.unpack_from("<IIII", records, at)
            packet = records[at + 16 : at + 16 + caplen]
            print(f"{seconds}.{ns:09} {origlen} {packet[:40].hex()}", flush=True)
            at += 16 + caplen
