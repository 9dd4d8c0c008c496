#!/bin/sh
# Fill a folder with everything that the image's build takes from PyPI.
#
#     deploy/offline/fetch-wheels.sh [FOLDER] [PYTHON_VERSION]
#
# FOLDER is deploy/offline/wheels by default; PYTHON_VERSION is that of the base image, 3.11 by
# default. PIP names the pip to use (it must be 23 or newer).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/wheels}
version=${2:-3.11}
pip=${PIP:-pip3}

requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
# The project's own list, and what builds it; PySyncObj has no wheel and is fetched apart.
python3 - "$here/../../pyproject.toml" >"$requirements" <<'PYTHON'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    found = tomllib.load(file)
wanted = [*found["project"]["dependencies"], *found["build-system"]["requires"]]
print("\n".join([*(each for each in wanted if not each.startswith("pysyncobj")), "setuptools", "wheel"]))
PYTHON
pysyncobj=$(sed -n 's/^ *"\(pysyncobj==[^"]*\)",$/\1/p' "$here/../../pyproject.toml")

"$pip" download --quiet --dest "$folder" --python-version "$version" \
    --only-binary=:all: --requirement "$requirements"
"$pip" download --quiet --dest "$folder" --no-deps --no-binary=pysyncobj "$pysyncobj"
echo "fetched into $folder"
