#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the documentation as a site: scripts/docs.sh PROGRAM, the moe whose commands and settings it shows.
# What it builds with is scripts/requirements-docs.txt, in .deps/docs. A link that leads nowhere is an error.
# MOE_REPOSITORY: the address that links to sources lead to; without it, the sources are put into the site.
set -euo pipefail
program=$(realpath "${1:?usage: scripts/docs.sh PROGRAM}")
cd "$(dirname "$0")/.."
venv=.deps/docs stamp=.deps/docs/requirements.sha256
wanted=$(sha256sum <scripts/requirements-docs.txt)
if [ ! -x $venv/bin/mkdocs ] || [ "$(cat $stamp 2>/dev/null)" != "$wanted" ]; then
  echo "docs: fetching mkdocs-material into $venv"
  rm -rf $venv
  python3 -m venv $venv
  $venv/bin/python3 -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 5 \
    -r scripts/requirements-docs.txt
  echo "$wanted" >$stamp
fi
python3 tools/check_links.py
MOE_PROGRAM=$program NO_MKDOCS_2_WARNING=1 $venv/bin/mkdocs build --strict
echo "docs: build/docs/index.html"
