#!/usr/bin/env bash
# Starts N Redis servers on ports 7101…, without persistence, until Ctrl-C or until none is left; leaves nothing behind.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

count=${1:-5}
[[ $count =~ ^[1-9]$|^1[0-6]$ ]] || { say "nodes: give a number from 1 to 16"; exit 2; }
has redis-server || { say "nodes: redis-server is missing; run: just setup"; exit 1; }

folder=$(mktemp -d)
# KILL also ends a server that somebody has stopped (SIGSTOP).
trap 'cat "$folder"/*/pid 2>/dev/null | xargs kill -KILL 2>/dev/null || true; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
urls=()
for ((port = 7101; port < 7101 + count; port++)); do
    mkdir "$folder/$port"
    redis-server --port "$port" --bind 127.0.0.1 --dir "$folder/$port" --save '' --appendonly no \
        >"$folder/$port/log" &
    echo $! >"$folder/$port/pid"
    disown # or bash reports each that is killed
    urls+=("redis://localhost:$port")
done
(IFS=,; echo "REDLATCH_NODES=${urls[*]}")
for file in "$folder"/*/pid; do
    echo "  $(basename "$(dirname "$file")"): process $(cat "$file")"
done
# Servers may be killed one by one, to see what becomes of the locks. (Bash 3.2 has no `wait -n`.)
while ls "$folder"/*/pid >/dev/null 2>&1; do
    sleep 1
    for file in "$folder"/*/pid; do
        kill -0 "$(cat "$file")" 2>/dev/null && continue
        say "nodes: the server on port $(basename "$(dirname "$file")") has ended"
        grep -E 'Failed|Fatal|rror' "$(dirname "$file")/log" >&2 || true
        rm "$file"
    done
done
say "nodes: no server is left; are the ports taken?"
exit 1
