#!/bin/sh
# Of much traffic only the flows that alerted are kept: Suricata says the same of them.
. "$(dirname "$0")/setup.sh"

mkfifo "$work/fifo"
ids all -r "$work/fifo" &
pcap-zmq dispatch "$captures/rotated" "fifo:$work/fifo"
wait $!
alerts all
pcap-zmq filter --eve "$work/all/eve.json" "$captures/rotated" "$work/kept.pcap"
ids kept -r "$work/kept.pcap"
alerts kept
