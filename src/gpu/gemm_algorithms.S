// SPDX-License-Identifier: MIT
// Puts assets/gemm_algorithms.json into the program's read-only data. MOE_GEMM_ALGORITHMS is the file's path,
// given by src/CMakeLists.txt.
  .section .rodata
  .global moe_gemm_algorithms_begin
  .global moe_gemm_algorithms_end
moe_gemm_algorithms_begin:
  .incbin MOE_GEMM_ALGORITHMS
moe_gemm_algorithms_end:
  .byte 0
  .section .note.GNU-stack,"",%progbits
