#!/usr/bin/env bash
# Finds or builds `walcheck`, a reader of write-ahead logs around etcd's own package.
#
#   scripts/walcheck/build.sh [--no-build]
#
# Prints the path of the binary, kept beside the peers of scripts/peers.sh in the cache
# ($XDG_CACHE_HOME/detcd-peers). Exit code 3: it could not be had, and standard error says why.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
minor=3.6
cache=${XDG_CACHE_HOME:-$HOME/.cache}/detcd-peers/$minor
# A binary of another source is not this program.
binary=$cache/walcheck-$(cksum <"$here/main.go" | cut -d' ' -f1)

if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi
if [ "${1:-}" = --no-build ]; then
    echo "walcheck: not there, scripts/walcheck/build.sh builds it" >&2
    exit 3
fi
if ! command -v go >/dev/null; then
    echo "walcheck: no go command" >&2
    exit 3
fi
work=$(mktemp -d) || exit 3
trap 'rm -rf "$work"' EXIT
cp "$here/main.go" "$work/" || exit 3
(
    cd "$work" &&
        export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=mod" GOWORK=off &&
        go mod init walcheck.invalid &&
        go get "go.etcd.io/etcd/server/v3@v$minor" &&
        nice go build -trimpath -ldflags='-s -w' -o "$work/walcheck" . &&
        mkdir -p "$cache" &&
        mv "$work/walcheck" "$binary.$$" &&
        mv "$binary.$$" "$binary"
) >"$work/log" 2>&1 || {
    echo "walcheck: cannot build:" >&2
    tail -n 5 "$work/log" >&2
    exit 3
}
echo "$binary"
