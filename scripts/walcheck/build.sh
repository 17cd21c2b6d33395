#!/usr/bin/env bash
# Finds or builds `walcheck`, a reader of write-ahead logs around etcd's own package.
#
#   scripts/walcheck/build.sh [--no-build]
exec "$(dirname "$0")/../gotool.sh" walcheck go.etcd.io/etcd/server/v3@v3.6 "$@"
