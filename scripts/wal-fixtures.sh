#!/usr/bin/env bash
# Writes tests/fixtures/wal anew: logs of real single-member clusters, one of each minor version.
#
#   scripts/wal-fixtures.sh [MINOR...]
#
# A member takes puts, a transaction, a lease, a delete, a compaction and a learner over its JSON
# gateway, enough for several snapshots of every 10 entries, and is stopped. Its segment is kept
# without the zeros of its preallocation; readers put them back or not, as they like.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
minors=("$@")
[ ${#minors[@]} -gt 0 ] || minors=(3.5 3.6 3.7)
port=$((20000 + RANDOM % 20000))
client=http://127.0.0.1:$port
peer=http://127.0.0.1:$((port + 1))

# call METHOD JSON: one call, its answer thrown away.
call() {
    curl --silent --show-error --fail --output /dev/null --data "$2" "$client/v3/$1"
}

encode() { printf %s "$1" | base64 -w0; }

record() {
    local etcd=$1 data=$2 index
    "$etcd" --name fixture --data-dir "$data" --snapshot-count 10 \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --initial-cluster "fixture=$peer" --log-level error >"$data.log" 2>&1 &
    local member=$!
    for _ in $(seq 100); do
        curl --silent --fail --output /dev/null "$client/health" && break
        sleep 0.1
    done
    for index in $(seq 12); do
        call kv/put "{\"key\":\"$(encode "key$index")\",\"value\":\"$(encode "value $index")\"}"
    done
    call kv/put "{\"key\":\"$(encode large)\",\"value\":\"$(head -c 3000 /dev/zero | base64 -w0)\"}"
    call lease/grant '{"ID":7,"TTL":3600}'
    call kv/put "{\"key\":\"$(encode leased)\",\"value\":\"\",\"lease\":7}"
    call kv/txn "{\"success\":[{\"requestPut\":{\"key\":\"$(encode t)\"}}]}"
    call kv/deleterange "{\"key\":\"$(encode key1)\",\"range_end\":\"$(encode key3)\"}"
    call kv/compaction '{"revision":5}'
    call cluster/member/add '{"peerURLs":["http://127.0.0.1:1"],"isLearner":true}'
    kill -TERM "$member"
    wait "$member" || true
}

for minor in "${minors[@]}"; do
    etcd=$("$root/scripts/peers.sh" "$minor")
    etcd=${etcd#*=}
    work=$(mktemp -d)
    record "$etcd" "$work/data"
    into=$root/tests/fixtures/wal/$minor
    mkdir -p "$into"
    rm -f "$into"/*.wal
    for segment in "$work"/data/member/wal/*.wal; do
        kept=$into/$(basename "$segment")
        perl -0777 -pe 's/\0+\z//' "$segment" >"$kept"
        truncate --size=%8 "$kept"
    done
    "$etcd" --version | sed -n 1p >"$into/VERSION"
    rm -rf "$work"
done
