# What the examples have in common; they source it. Leaves in $work a folder that goes
# at the end, and in $captures those to work with: captures.py makes some.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH="$here/../../.venv/bin:$PATH:/usr/sbin:/sbin"
for program in pcap-zmq suricata python3; do
    command -v "$program" >/dev/null || {
        echo "$0 needs $program on PATH" >&2
        exit 2
    }
done
work=$(mktemp -d)
# shellcheck disable=SC2046  # one word for each
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
captures=$work/captures
python3 "$here/captures.py" "$captures"

# ids NAME OPTIONS...: Suricata, with what it says in the folder NAME.
ids() {
    name=$1
    shift
    mkdir -p "$work/$name"
    suricata -c "$here/suricata.yaml" -S "$here/suricata.rules" -l "$work/$name" "$@"
}

# alerts NAME: what it said.
alerts() {
    python3 - "$work/$1/eve.json" <<'END'
import json
import sys

for line in open(sys.argv[1]):
    event = json.loads(line)
    if event["event_type"] == "alert":
        ends = "{src_ip}:{src_port} -> {dest_ip}:{dest_port}".format(**event)
        print("alert:", event["alert"]["signature"], ends)
    if event["event_type"] == "stats":
        packets = event["stats"]["decoder"]["pkts"]
print("packets:", packets)
END
}
