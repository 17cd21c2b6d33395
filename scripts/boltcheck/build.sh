#!/usr/bin/env bash
# Finds or builds `boltcheck`, a reader and writer of database files around bbolt itself.
#
#   scripts/boltcheck/build.sh [--no-build]
exec "$(dirname "$0")/../gotool.sh" boltcheck go.etcd.io/bbolt@v1.4 "$@"
