#!/usr/bin/env bash
# Finds or builds a small Go program around one of etcd's own packages.
#
#   scripts/gotool.sh NAME MODULE@VERSION [--no-build]
#
# NAME is a folder beside this file that holds its main.go. Prints the path of the binary, kept
# beside the peers of scripts/peers.sh in the cache ($XDG_CACHE_HOME/detcd-peers). Exit code 3: it
# could not be had, and standard error says why.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=$1
module=$2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/detcd-peers/3.6
# A binary of another source is not this program.
binary=$cache/$name-$(cksum <"$here/$name/main.go" | cut -d' ' -f1)

if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi
if [ "${3:-}" = --no-build ]; then
    echo "$name: not there, scripts/$name/build.sh builds it" >&2
    exit 3
fi
if ! command -v go >/dev/null; then
    echo "$name: no go command" >&2
    exit 3
fi
work=$(mktemp -d) || exit 3
trap 'rm -rf "$work"' EXIT
cp "$here/$name/main.go" "$work/" || exit 3
(
    cd "$work" &&
        export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=mod" GOWORK=off &&
        go mod init "$name.invalid" &&
        go get "$module" &&
        nice go build -trimpath -ldflags='-s -w' -o "$work/$name" . &&
        mkdir -p "$cache" &&
        mv "$work/$name" "$binary.$$" &&
        mv "$binary.$$" "$binary"
) >"$work/log" 2>&1 || {
    echo "$name: cannot build:" >&2
    tail -n 5 "$work/log" >&2
    exit 3
}
echo "$binary"
