#!/bin/sh
# Install the Debian packages that some tests use, where that is possible; say what is missing.
#
#     tests/install-tools.sh [PACKAGE…]      all of them by default
#
# Without them the tests that need them are skipped and say so.
set -eu

packages=${*:-docker.io docker-compose mmdebstrap iproute2 util-linux prometheus shellcheck}
missing=
for package in $packages; do
    status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing, and not installed because that needs root and apt-get:$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # A list of words.
apt-get install -qq --yes --no-install-recommends $missing
