#!/bin/sh
# What is in many capture files: a table; an index, by which the second time is at once;
# and what jq or a spreadsheet can take.
. "$(dirname "$0")/setup.sh"

pcap-zmq map "$captures" --index "$work/index.json"
pcap-zmq map "$captures" --index "$work/index.json" --format csv | cut -d , -f 1,9,16,17
