#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/test_instruction_sets.sh [PRESET]: the built tests of what oneDNN computes, once for each
# instruction set below this machine's best (which `make test` has run): ONEDNN_MAX_CPU_ISA lets oneDNN use no
# newer one, as on an older processor. Prints a line for each and what fails; the exit status is 0 only if all
# pass. ctest's reports are build/PRESET/junit-ISA.xml.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-cpu}
# Not those of the GPU's code (gpu., emulated_): no product there is oneDNN's. Nor the program's own (OverMpi,
# kills): what it computes is in the others. Nor those of an outage, which train for as long as it lasts.
suites='^(ops|model|optim|train|run|tasks|interop)\.'
others='OverMpi|Kill|Faults|NetworkRun'

has() { grep -qw "$1" /proc/cpuinfo; }
lower=(SSE41)
best=AVX2
if has avx512bw && has avx512vl; then
  lower+=(AVX2)
  best=AVX512_CORE
fi
if has avx512_bf16; then
  lower+=(AVX512_CORE)
  best="AVX512_CORE_BF16 or newer"
fi

failed=0
for isa in "${lower[@]}"; do
  begin=$SECONDS
  if summary=$(ONEDNN_MAX_CPU_ISA=$isa scripts/run_tests.sh "$preset" -R "$suites" -E "$others" 2>&1); then
    echo "instruction set $isa: $(tail -1 <<<"$summary") ($((SECONDS - begin)) s)"
  else
    echo "$summary"
    echo "instruction set $isa: failed"
    failed=1
  fi
done
echo "instruction set $best: this machine's best, which make test has run"
exit $failed
