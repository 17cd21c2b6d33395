# Sourced by the scripts that write fixtures: one real member that is its cluster, on ports of this
# run. Not a command.

port=$((20000 + RANDOM % 20000))
client=http://127.0.0.1:$port
peer=http://127.0.0.1:$((port + 1))

# call METHOD JSON: one call over the gateway, its answer on standard output.
call() {
    curl --silent --show-error --fail --data "$2" "$client/v3/$1"
    echo
}

encode() { printf %s "$1" | base64 -w0; }

# start_member ETCD DATA LOG COUNT: starts it, with snapshots of its log every COUNT entries, and
# waits until it serves.
start_member() {
    "$1" --name fixture --data-dir "$2" --snapshot-count "$4" \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
        --initial-cluster "fixture=$peer" --log-level error >"$3" 2>&1 &
    member=$!
    for _ in $(seq 100); do
        curl --silent --fail --output /dev/null "$client/health" && break
        sleep 0.1
    done
}

stop_member() {
    kill -TERM "$member"
    wait "$member" || true
}
