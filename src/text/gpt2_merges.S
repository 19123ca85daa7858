// SPDX-License-Identifier: MIT
// Puts assets/gpt2_merges.txt into the program's read-only data, so that no file is needed at run time.
// MOE_GPT2_MERGES is the file's path, given by src/CMakeLists.txt.
  .section .rodata
  .global moe_gpt2_merges_begin
  .global moe_gpt2_merges_end
moe_gpt2_merges_begin:
  .incbin MOE_GPT2_MERGES
moe_gpt2_merges_end:
  .byte 0
  .section .note.GNU-stack,"",%progbits
