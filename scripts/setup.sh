#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what the build needs on Debian 12+, Ubuntu 24.04+ and their kin: the missing system packages (apt),
# and Arrow C++ from a Python wheel in .deps/venv where the system has no Arrow of its own. Safe to run again:
# it looks at what is there and does only the rest. Further packages may be named: scripts/setup.sh clang-14
# libclang-rt-14-dev; --list prints the packages.
# CUDA's compiler and libraries come as wheels into .deps/cuda where scripts/preset.sh (or PRESET=gpu) says
# that the build is for a GPU, and there is no nvcc 13. MOE_CUDA_WHEELS=0 leaves them out, MOE_CUDA_WHEELS=1
# brings them in any case.
# MOE_SKIP_SETUP=1 turns it off (another distribution, everything already present).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${MOE_SKIP_SETUP:-0}" = 1 ]; then
  echo "setup: skipped (MOE_SKIP_SETUP=1)"
  exit 0
fi

packages=(
  build-essential cmake ninja-build ccache pkg-config git     # to build
  libyaml-cpp-dev libcli11-dev libfmt-dev nlohmann-json3-dev  # settings, command line, text, JSON
  zlib1g-dev libzstd-dev libxxhash-dev libdnnl-dev            # compressed data, checksums, matrix products
  libcurl4-openssl-dev libssl-dev                             # data over HTTPS, hashes of files
  protobuf-compiler libprotobuf-dev                           # records of Weights & Biases and TensorBoard
  libjs-chart.js libcairo2-dev                                # moe report, moe watch
  libutf8proc-dev                                             # composed characters, for tokenizers
  libonig-dev                                                 # patterns of tokenizers
  libsentencepiece-dev                                        # tokenizers in SentencePiece's files
  libgtest-dev libgmock-dev libbenchmark-dev                  # tests and benchmarks
  libboost-context-dev                                        # emulated CUDA of the tests
  python3 python3-venv                                        # the wheel below; the layer check
  dict-gcide                                                  # the text that `make train` learns from
  "$@"
)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${packages[@]}" | grep -v -x -e --list
  exit 0
fi

log=.deps/setup.log

fail() {
  echo "setup: $1" >&2
  exit 1
}

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Runs a command as root. DEBIAN_FRONTEND goes along by env because sudo drops the environment.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

# Another apt (unattended upgrades, most often) may hold a lock for minutes: apt itself waits for dpkg's lock,
# but not for that of the package lists. Its hundreds of lines go to the log.
apt_get() {
  local attempt
  for attempt in 1 2 3; do
    as_root apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >>$log 2>&1 &&
      return 0
    echo "setup: apt-get $1 failed, attempt $attempt of 3" >&2
    [ "$attempt" = 3 ] || sleep 10
  done
  tail -n 20 $log >&2
  fail "apt-get $1 failed, its last lines are above (all of them: $log). Network? Package sources?"
}

install_packages() {
  local package missing=()
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "this system has no apt. Install the counterparts of these Debian packages, and Arrow C++ with \
Parquet (or
pyarrow, to be seen by python3), then run again with MOE_SKIP_SETUP=1:
  ${packages[*]}"
  fi
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    return 0
  fi

  local command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      fail "packages are missing, and neither root nor sudo is at hand. Have an administrator run:
  $command"
    elif ! sudo -n true 2>/dev/null && [ ! -t 0 ]; then
      fail "packages are missing, and sudo wants a password but there is no terminal to ask on. Run first:
  sudo sh -c '$command'"
    fi
  fi
  mkdir -p .deps
  : >$log
  echo "setup: installing ${missing[*]}"
  apt_get update
  if [[ " ${missing[*]} " == *" dict-gcide "* ]] && ! is_installed dictd &&
    command -v debconf-set-selections >/dev/null; then
    # we want the dictionary's text only, not the server it brings along
    echo "dictd dictd/run_mode select disabled" | as_root debconf-set-selections
  fi
  apt_get install -y --no-install-recommends "${missing[@]}"
}

has_system_arrow() {
  local prefix file
  for prefix in ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//:/ }} ${CONDA_PREFIX:-} /usr /usr/local; do
    for file in "$prefix"/lib*/cmake/Parquet/ParquetConfig.cmake \
      "$prefix"/lib/*/cmake/Parquet/ParquetConfig.cmake; do
      [ -e "$file" ] && return 0
    done
  done
  return 1
}

make_venv() { # the private environment
  rm -rf $venv
  python3 -m venv $venv || fail "python3 -m venv failed; on Debian the package python3-venv has it"
}
pip_install() { # REQUIREMENTS [OPTIONS...]
  $venv/bin/python3 -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 5 \
    -r "$@"
}

# The stamp is written last and names the requirements it was made from, so a broken or outdated one is made
# anew.
install_arrow() {
  local stamp=$venv/requirements.sha256 wanted
  has_system_arrow && return 0
  wanted=$(sha256sum <scripts/requirements-build.txt)
  if [ -x $venv/bin/python3 ] && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ]; then
    return 0
  fi
  echo "setup: fetching Arrow C++ (the pyarrow wheel) into $venv"
  make_venv
  pip_install scripts/requirements-build.txt ||
    fail "pip could not install scripts/requirements-build.txt; see above"
  echo "$wanted" >$stamp
}

needs_cuda_wheels() {
  case ${MOE_CUDA_WHEELS:-} in
    0) return 1 ;;
    1) return 0 ;;
  esac
  [ "${PRESET:-$(scripts/preset.sh 2>/dev/null)}" = gpu ] &&
    [ -z "$(MOE_CUDA_WHEELS=0 scripts/preset.sh --nvcc)" ]
}

# Into a folder with a fixed name, which scripts/preset.sh, cmake/cuda.cmake and the program look into.
install_cuda() {
  local folder=.deps/cuda stamp=.deps/cuda/requirements.sha256 wanted
  needs_cuda_wheels || return 0
  wanted=$(sha256sum <scripts/requirements-cuda.txt)
  [ "$(cat $stamp 2>/dev/null)" != "$wanted" ] || return 0
  echo "setup: fetching CUDA's compiler and libraries (wheels; 0.75 GB, 1.1 GB on the disk) into $folder"
  [ -x $venv/bin/python3 ] || make_venv
  rm -rf $folder
  pip_install scripts/requirements-cuda.txt --no-deps --target $folder ||
    fail "pip could not install scripts/requirements-cuda.txt; see above. \
Hint: MOE_CUDA_WHEELS=0 builds for the CPU"
  echo "$wanted" >$stamp
}

venv=.deps/venv
install_packages
install_arrow
install_cuda
