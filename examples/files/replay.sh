#!/bin/sh
# Two taps saw a direction each. Merged by time Suricata sees both sides of each flow, at
# a hundred times the speed of the original.
. "$(dirname "$0")/setup.sh"

mkfifo "$work/fifo"
ids both -r "$work/fifo" &
pcap-zmq replay --speed 100 "$captures/taps" "fifo:$work/fifo"
wait $!
alerts both
