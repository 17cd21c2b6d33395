#!/usr/bin/env bash
# Finds or builds real etcd binaries to compare with.
#
#   scripts/peers.sh [--tools] [--no-build] MINOR...
#       MINOR is 3.4, 3.5, 3.6, 3.7 or all (3.5 to 3.7)
#
# Prints one line per binary on standard output, `etcd-3.6=/path/to/etcd`, and with --tools also
# `etcdctl-3.6=` and `etcdutl-3.6=`. Progress and complaints go to standard error. With --no-build
# it only looks.
#
# Looked for in $DETCD_PEERS_DIR, then in the cache ($XDG_CACHE_HOME/detcd-peers), both laid out as
# MINOR/etcd. What is missing is built from etcd's published Go modules at the newest patch of the
# minor, in a throw-away module, with the go command as this machine has it configured. 3.4 was not
# published as a usable module: it is unpacked from Debian's package, if that is what Debian has.
#
# Exit codes: 0 everything asked for was printed; 2 usage; 3 something could not be had, and
# standard error says what and why. What was found is printed all the same.
set -uo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/detcd-peers
missing=0
may_build=yes
binaries=(etcd)
minors=()

say() { echo "peers: $*" >&2; }

usage() {
    sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
}

# module BINARY: the Go module whose root is the binary's main package.
module() {
    case $1 in
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        *) echo "go.etcd.io/etcd/$1/v3" ;;
    esac
}

# is_minor BINARY_PATH MINOR: whether the binary runs and says that it is of the minor.
is_minor() {
    local said
    case $1 in
        */etcd) said=$("$1" --version 2>/dev/null) ;;
        *) said=$("$1" version 2>/dev/null) ;;
    esac
    grep -qiE "version: ${2//./\\.}\." <<<"$said"
}

# found BINARY MINOR: the path of a binary that is already there.
found() {
    local dir path
    for dir in "${DETCD_PEERS_DIR:-}" "$cache"; do
        [ -n "$dir" ] || continue
        path=$dir/$2/$1
        [ -x "$path" ] || continue
        if is_minor "$path" "$2"; then
            echo "$path"
            return 0
        fi
        say "$path is not $1 $2, passing it over"
    done
    return 1
}

# build BINARY MINOR: builds into the cache. The file appears there whole or not at all.
build() {
    local work log started=$SECONDS
    if ! command -v go >/dev/null; then
        say "no go command: cannot build $1 $2 (put a binary at \$DETCD_PEERS_DIR/$2/$1)"
        return 1
    fi
    mkdir -p "$cache/$2" || return 1
    work=$(mktemp -d) || return 1
    log=$work/log
    say "building $1 $2 from $(module "$1")"
    (
        cd "$work" &&
            export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=mod" GOWORK=off &&
            go mod init peers.invalid/build &&
            go get "$(module "$1")@v$2" &&
            nice go build -trimpath -ldflags='-s -w' -o "$work/out" "$(module "$1")" &&
            mv "$work/out" "$cache/$2/.$1.$$" &&
            mv "$cache/$2/.$1.$$" "$cache/$2/$1"
    ) >"$log" 2>&1
    local status=$?
    if [ $status -ne 0 ]; then
        say "cannot build $1 $2:"
        tail -n 5 "$log" | sed 's/^/peers:   /' >&2
    else
        say "built $1 $2 in $((SECONDS - started)) s"
    fi
    rm -rf "$work"
    return $status
}

# unpack_debian: etcd 3.4 out of Debian's packages, without installing them.
unpack_debian() {
    local work status=1
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        say "no apt-get and dpkg-deb: cannot unpack etcd 3.4"
        return 1
    fi
    work=$(mktemp -d) || return 1
    chmod 755 "$work"
    say "unpacking etcd 3.4 from Debian's packages"
    if (cd "$work" && apt-get download etcd-server etcd-client) >"$work/log" 2>&1; then
        for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/tree"; done
        mkdir -p "$cache/3.4" &&
            cp "$work"/tree/usr/bin/etcd "$work"/tree/usr/bin/etcdctl "$cache/3.4/" && status=0
    else
        tail -n 3 "$work/log" | sed 's/^/peers:   /' >&2
    fi
    rm -rf "$work"
    return $status
}

# obtain BINARY MINOR: prints its line, or counts it as missing.
obtain() {
    local path
    if ! path=$(found "$1" "$2"); then
        case $may_build-$1-$2 in
            *-etcdutl-3.4) return 0 ;;
            no-*) ;;
            *-3.4) unpack_debian ;;
            *) build "$1" "$2" ;;
        esac
        path=$(found "$1" "$2") || {
            say "NO $1 $2: whatever compares with it must be skipped, and say so"
            missing=1
            return 0
        }
    fi
    echo "$1-$2=$path"
}

for argument in "$@"; do
    case $argument in
        --no-build) may_build=no ;;
        --tools) binaries=(etcd etcdctl etcdutl) ;;
        all) minors+=(3.5 3.6 3.7) ;;
        3.4 | 3.5 | 3.6 | 3.7) minors+=("$argument") ;;
        *) usage ;;
    esac
done
[ ${#minors[@]} -gt 0 ] || usage

for minor in "${minors[@]}"; do
    for binary in "${binaries[@]}"; do
        obtain "$binary" "$minor"
    done
done
[ $missing -eq 0 ] || exit 3
