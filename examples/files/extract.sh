#!/bin/sh
# Suricata keeps all packets, a log for each of its threads; of the first alert the packets
# of its flow are taken out of them. Then a file out of an archive.
. "$(dirname "$0")/setup.sh"

mkfifo "$work/fifo"
# One thread: with several, and packets that are not of today, logs get the same name twice.
ids log -r "$work/fifo" --runmode single --set outputs.1.pcap-log.enabled=yes &
pcap-zmq dispatch "$captures/rotated" "fifo:$work/fifo"
wait $!
ls "$work/log"
grep -m 1 '"event_type":"alert"' "$work/log/eve.json" >"$work/event.json"
pcap-zmq extract --event "$work/event.json" "$work/log" "$work/flow.pcap"
pcap-zmq map "$work/flow.pcap"

tar -C "$captures" -czf "$work/week.tar.gz" rotated taps
pcap-zmq extract --members '*/gateway-[01].*' --dry-run "$work/week.tar.gz"
pcap-zmq extract --members '*/gateway-[01].*' "$work/week.tar.gz" "folder:$work/out"
find "$work/out" -type f
