#!/usr/bin/env bash
# Starts N Redis servers on ports 7101…, without persistence, until Ctrl-C; leaves nothing behind.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

count=${1:-5}
[[ $count =~ ^[1-9]$|^1[0-6]$ ]] || { say "nodes: give a number from 1 to 16"; exit 2; }
has redis-server || { say "nodes: redis-server is missing; run: just setup"; exit 1; }

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
urls=()
for ((port = 7101; port < 7101 + count; port++)); do
    mkdir "$folder/$port"
    redis-server --port "$port" --bind 127.0.0.1 --dir "$folder/$port" --save '' --appendonly no \
        >"$folder/$port/log" &
    urls+=("redis://localhost:$port")
done
(IFS=,; echo "REDLATCH_NODES=${urls[*]}")
wait -n
say "nodes: a server has ended; is its port taken?"
tail -n 2 "$folder"/*/log >&2
exit 1
