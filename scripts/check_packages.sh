#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what `make bundle wheel deb` made on systems that have neither a compiler nor a clone, and trains
# there.
# usage: scripts/check_packages.sh [bookworm|trixie|noble ...]: in a new root of each of these releases, or of
#          all. mmdebstrap makes it: what the release calls essential, and apt. As root.
#        scripts/check_packages.sh --here: on this system, a container that may be thrown away. As root.
# DIST (dist) is the folder of the packages. A kind that is not there is skipped, and that is said. The text
# is the licences that each Debian has. For each way to install, it prints the seconds from its start
# to the record of the first training step.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=${DIST:-dist}

fail() {
  echo "check_packages: $1" >&2
  exit 1
}

quietly() {
  "$@" >/tmp/check_packages.log 2>&1 || { cat /tmp/check_packages.log >&2; fail "$*: see above"; }
}

now() { date +%s.%N; }
since() { awk -v now="$(now)" -v start="$1" 'BEGIN { printf "%.1f", now - start }'; }

# A small training. first: seconds from $start to the record of its first step.
train() { # PROGRAM CONFIG
  local process
  rm -rf /tmp/moe_check
  mkdir /tmp/moe_check
  "$1" train --config "$2" 'data.source=[/usr/share/common-licenses]' data.document_split=file \
    training.max_steps=10 training.warmup_steps=1 \
    training.output_dir=/tmp/moe_check >/tmp/moe_check.log 2>&1 &
  process=$!
  until grep -q '"step":1,' /tmp/moe_check/*/metrics.jsonl 2>/dev/null; do
    kill -0 $process 2>/dev/null || break  # it failed, or was quick
    sleep 0.05
  done
  first=$(since "$start")
  wait $process || { cat /tmp/moe_check.log >&2; fail "$1 did not train to the end"; }
  grep -q 'done at step 10' /tmp/moe_check.log || fail "$1: no word of the last step"
  quietly "$1" generate /tmp/moe_check/latest --prompt "The licence" --max-new-tokens 4
  quietly "$1" report /tmp/moe_check/latest --png /tmp/moe_check/curves.png
}

show() { # WAY FILE DETAIL
  printf '%-14s %-8s first step after %5s s (%s)  %s, %s MB\n' "$system" "$1" "$first" "$3" \
    "$(basename "$2")" "$(($(du -sb "$2" | cut -f1) / 1000000))"
}


check_bundle() {
  start=$(now)
  cp -r "$dist/moe" /opt/moe-bundle
  train /opt/moe-bundle/bin/moe /opt/moe-bundle/share/moe/configs/quickstart.yaml
  show bundle "$dist/moe" "to copy it"
}

check_deb() {
  local downloaded deb=$1
  start=$(now)
  quietly apt-get install -y --no-install-recommends --download-only "$deb"
  downloaded=$(since "$start")
  quietly apt-get install -y --no-install-recommends "$deb"
  train /usr/bin/moe /usr/share/moe/configs/quickstart.yaml
  show deb "$deb" "$downloaded of them to download other packages"
  quietly apt-get remove -y moe
  [ ! -e /usr/lib/moe ] || fail "the deb leaves /usr/lib/moe behind"
}

check_wheel() {
  local wheel=$1 python way
  start=$(now)
  quietly apt-get install -y --no-install-recommends python3-venv
  python=$(since "$start")
  echo "$system: Python itself took $python s"

  start=$(now)
  python3 -m venv /opt/moe-pip
  quietly /opt/moe-pip/bin/pip install --no-index "$wheel"
  train /opt/moe-pip/bin/moe "$(configs_of /opt/moe-pip)"
  show pip "$wheel" "with the environment"
  /opt/moe-pip/bin/python -m moe_cpp --version

  quietly /opt/moe-pip/bin/pip install pipx uv
  export HOME=/opt/moe-home PATH=/opt/moe-home/.local/bin:$PATH
  for way in "pipx install" "uv tool install --python /usr/bin/python3"; do
    start=$(now)
    # shellcheck disable=SC2086  # words of a command
    quietly /opt/moe-pip/bin/$way "$wheel"
    train /opt/moe-home/.local/bin/moe "$(configs_of /opt/moe-home)"
    show "${way%% *}" "$wheel" "the tool was there"
    # shellcheck disable=SC2086
    quietly /opt/moe-pip/bin/${way%% install*} uninstall moe-cpp
  done
}

configs_of() { find "$1" -path '*/moe_cpp/share/moe/configs/quickstart.yaml' | head -1; }

check_here() {
  local compiler wheels debs
  # shellcheck source=/dev/null
  . /etc/os-release
  system="$ID $VERSION_ID"
  [ "$(id -u)" = 0 ] || fail "it installs packages: run it as root, in a container"
  for compiler in cc gcc g++ clang nvcc; do
    ! command -v $compiler >/dev/null || fail "there is $compiler, so this shows nothing"
  done
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get update
  wheels=("$dist"/moe_cpp-*"_$(uname -m).whl") debs=("$dist"/moe_*_"$(dpkg --print-architecture)".deb)
  if [ -d "$dist/moe" ]; then check_bundle; else echo "$system: bundle skipped, no $dist/moe"; fi
  if [ -e "${wheels[0]}" ]; then check_wheel "$(realpath "${wheels[0]}")"; else
    echo "$system: wheel skipped, none in $dist"
  fi
  if [ -e "${debs[0]}" ]; then check_deb "$(realpath "${debs[0]}")"; else
    echo "$system: deb skipped, none in $dist"
  fi
}

make_root() { # RELEASE FOLDER
  local options=()
  if [ "$1" = noble ]; then
    options=("--components=main,universe")
    # Debian 12 has no package of Ubuntu's keys. Where they are not here, nobody vouches for this root.
    [ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ] ||
      options+=('--aptopt=Acquire::AllowInsecureRepositories "true"'
        '--aptopt=APT::Get::AllowUnauthenticated "true"')
  fi
  mmdebstrap --variant=apt --mode=root --quiet "${options[@]}" "$1" "$2"
  cp /etc/resolv.conf "$2/etc/"
}

check_in_root() { # RELEASE
  root=$(mktemp -d)  # not local: the trap outlives the function
  trap 'rm -rf "$root"' EXIT
  make_root "$1" "$root"
  mkdir -p "$root/check/scripts"
  cp scripts/check_packages.sh "$root/check/scripts/"
  cp -r "$dist" "$root/check/dist"
  if [ -n "${PIP_CERT:-}" ]; then  # a network with certificates of its own
    cp "$PIP_CERT" "$root/check/certificates.pem"
  fi
  # Mounts of its own namespace: they are gone with it, whatever becomes of the check.
  # shellcheck disable=SC2016  # for the shell in there
  unshare --mount sh -c 'mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && shift &&
    exec chroot "$@"' sh "$root" "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    ${PIP_CERT:+PIP_CERT=/check/certificates.pem SSL_CERT_FILE=/check/certificates.pem} \
    DIST=dist bash /check/scripts/check_packages.sh --here
}

if [ "${1:-}" = --here ]; then
  check_here
else
  command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing. Hint: apt-get install mmdebstrap"
  [ $# != 0 ] || set -- bookworm trixie noble
  for release; do
    (check_in_root "$release")
  done
fi
