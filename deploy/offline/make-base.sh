#!/bin/sh
# Write a base image's file system, from Debian packages only: for machines without a registry.
#
#     deploy/offline/make-base.sh base.tar && docker import base.tar raftq-base:bookworm
#
# Needs root and the Debian package mmdebstrap.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 FILE.tar" >&2
    exit 2
fi
exec mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    bookworm "$1"
