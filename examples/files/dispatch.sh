#!/bin/sh
# Rotated files become one stream into one Suricata: it sees whole flows, although each of
# them goes on over the ends of files. Where Suricata is given the files one by one it
# sees pieces.
. "$(dirname "$0")/setup.sh"

mkfifo "$work/fifo"
ids one -r "$work/fifo" &
pcap-zmq dispatch "$captures/rotated" "fifo:$work/fifo"
wait $!
alerts one

# The same, and somebody says of each file that it may go.
mkfifo "$work/fifo-asked"
ids asked -r "$work/fifo-asked" &
pcap-zmq dispatch --approve control --control "$work/control" \
    "$captures/rotated" "fifo:$work/fifo-asked" &
dispatching=$!
until pcap-zmq queue --control "$work/control" allow --all 2>/dev/null; do
    kill -0 "$dispatching"
done
wait
alerts asked
