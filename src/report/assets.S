// SPDX-License-Identifier: MIT
// Puts the parts of the report's page into the program's read-only data. The MOE_REPORT_ names are
// paths, given by src/CMakeLists.txt.
  .section .rodata
  .macro asset name, path
  .global moe_report_\name\()_begin
  .global moe_report_\name\()_end
moe_report_\name\()_begin:
  .incbin "\path"
moe_report_\name\()_end:
  .byte 0
  .endm
  asset html, MOE_REPORT_HTML
  asset css, MOE_REPORT_CSS
  asset js, MOE_REPORT_JS
  asset chart, MOE_REPORT_CHART
  .section .note.GNU-stack,"",%progbits
