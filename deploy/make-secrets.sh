#!/bin/sh
# Make what deploy/compose.yaml needs to run secured: a CA, a certificate for each node, and tokens.
#
#     docker compose run --rm secrets            (the compose file calls this script)
#     make-secrets.sh FOLDER                     with raftq installed, anywhere
#
# What is there already is kept, so it can be run again; delete a file to have it made anew.
set -eu

folder=${1:?usage: make-secrets.sh FOLDER}
mkdir -p "$folder"
# Nobody but the owner reaches the files; inside, containers get single ones and must read them.
chmod 0700 "$folder"
# An early `up` leaves empty folders in the place of files that are not there yet.
find "$folder" -mindepth 1 -maxdepth 1 -type d -empty -delete

for node in n1 n2 n3; do
    [ -e "$folder/$node.key" ] || raftq certs new --out "$folder" --node "$node" >/dev/null
    chmod 0444 "$folder/$node.key"
done

for name in operator example prometheus; do
    [ -e "$folder/$name.token" ] && continue
    made=$(raftq token new "$name")
    printf '%s\n' "$made" | sed -n 's/^line *//p' >>"$folder/tokens"
    printf '%s\n' "$made" | sed -n 's/^token *//p' >"$folder/$name.token"
done
chmod 0444 "$folder"/*.token
# Hashes, no secrets; written to again when a token is added.
chmod 0644 "$folder/tokens"
echo "secrets are in $folder; keep ca.key somewhere else, no node needs it"
