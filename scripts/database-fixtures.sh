#!/usr/bin/env bash
# Writes tests/fixtures/database anew: snapshots of real single-member clusters, one of each minor
# version, and what etcd and its tools say of them.
#
#   scripts/database-fixtures.sh [MINOR...]
#
# A member takes puts, a transaction, leases, deletes, compactions, an alarm and a learner,
# enough for a snapshot of its log and a database of several pages. Kept are its database as
# `etcdctl snapshot save` gets it, its newest `.snap` file, and beside them a line each from
# `endpoint hashkv`, `Maintenance.Hash` and `etcdutl snapshot status`.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
minors=("$@")
[ ${#minors[@]} -gt 0 ] || minors=(3.4 3.5 3.6 3.7)
# shellcheck source=scripts/fixture-member.sh
source "$root/scripts/fixture-member.sh"

# binary NAME MINOR: the path of a tool of that version.
binary() {
    "$root/scripts/peers.sh" --tools --no-build "$2" | sed -n "s/^$1-$2=//p"
}

put() { call kv/put "{\"key\":\"$(encode "$1")\",\"value\":\"$(encode "$2")\"}"; }

fill() {
    local index
    call lease/grant '{"ID":7,"TTL":3600}'
    call lease/grant '{"ID":4660,"TTL":60}'
    for index in $(seq 240); do
        put "key$((index % 80))" "value $index"
    done
    call kv/put "{\"key\":\"$(encode large)\",\"value\":\"$(head -c 9000 /dev/zero | base64 -w0)\"}"
    call kv/put "{\"key\":\"$(encode leased)\",\"value\":\"\",\"lease\":7}"
    call kv/txn "{\"success\":[{\"requestPut\":{\"key\":\"$(encode t)\"}},
        {\"requestDeleteRange\":{\"key\":\"$(encode key1)\",\"range_end\":\"$(encode key3)\"}}]}"
    call kv/compaction '{"revision":60,"physical":true}'
    call kv/deleterange "{\"key\":\"$(encode key5)\",\"range_end\":\"$(encode key6)\"}"
    call kv/compaction '{"revision":90,"physical":true}'
    call cluster/member/add '{"peerURLs":["http://127.0.0.1:1"],"isLearner":true}'
    call maintenance/alarm '{"action":"ACTIVATE","memberID":"5","alarm":"NOSPACE"}'
}

record() {
    local minor=$1 into=$2 work=$3 etcd etcdctl
    etcd=$(binary etcd "$minor")
    etcdctl="$(binary etcdctl "$minor") --endpoints $client"
    start_member "$etcd" "$work/data" "$work/log" 100
    # Until the version that the members agree on is stored.
    sleep 2
    fill >"$work/answers"
    sleep 1
    ETCDCTL_API=3 $etcdctl endpoint hashkv -w json 2>/dev/null |
        sed 's/"Endpoint":"[^"]*",//' >"$into/HASHKV"
    call maintenance/hash '{}' >"$into/HASH"
    ETCDCTL_API=3 $etcdctl snapshot save "$work/saved" >/dev/null 2>&1
    stop_member
}

for minor in "${minors[@]}"; do
    work=$(mktemp -d)
    into=$root/tests/fixtures/database/$minor
    mkdir -p "$into"
    rm -f "$into"/*
    record "$minor" "$into" "$work"
    cp "$work/saved" "$into/snapshot.db"
    newest=$(find "$work/data/member/snap" -name '*.snap' | sort | tail -n 1)
    cp "$newest" "$into/"
    tool=$minor
    [ "$minor" != 3.4 ] || tool=3.5
    "$(binary etcdutl "$tool")" snapshot status "$into/snapshot.db" -w json \
        >"$into/STATUS" 2>/dev/null
    "$(binary etcd "$minor")" --version | sed -n 1p >"$into/VERSION"
    chmod 644 "$into"/*
    rm -rf "$work"
done
