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
# shellcheck source=scripts/fixture-member.sh
source "$root/scripts/fixture-member.sh"

fill() {
    local index
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
}

for minor in "${minors[@]}"; do
    etcd=$("$root/scripts/peers.sh" "$minor")
    etcd=${etcd#*=}
    work=$(mktemp -d)
    start_member "$etcd" "$work/data" "$work/data.log" 10
    fill >/dev/null
    stop_member
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
