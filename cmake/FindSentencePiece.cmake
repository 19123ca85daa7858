# SentencePiece, header and library. Makes SentencePiece::sentencepiece;
# MOE_SENTENCEPIECE_EXPORTS_PROTOBUF says whether the library shows a Protocol Buffers of its own.
find_path(SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h)
find_library(SENTENCEPIECE_LIBRARY sentencepiece)
find_file(SENTENCEPIECE_PC sentencepiece.pc PATH_SUFFIXES
  lib/pkgconfig lib64/pkgconfig lib/${CMAKE_LIBRARY_ARCHITECTURE}/pkgconfig)
if(SENTENCEPIECE_PC)  # the header has no number
  file(STRINGS "${SENTENCEPIECE_PC}" _version REGEX "^Version:" LIMIT_COUNT 1)
  string(REGEX REPLACE "^Version:[ \t]*" "" SentencePiece_VERSION "${_version}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SentencePiece REQUIRED_VARS SENTENCEPIECE_LIBRARY SENTENCEPIECE_INCLUDE_DIR
  VERSION_VAR SentencePiece_VERSION REASON_FAILURE_MESSAGE
    "SentencePiece is missing or too old. Hint: run scripts/setup.sh, or install libsentencepiece-dev")
if(SentencePiece_FOUND AND NOT TARGET SentencePiece::sentencepiece)
  add_library(SentencePiece::sentencepiece UNKNOWN IMPORTED)
  set_target_properties(SentencePiece::sentencepiece PROPERTIES IMPORTED_LOCATION "${SENTENCEPIECE_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${SENTENCEPIECE_INCLUDE_DIR}")
  execute_process(COMMAND "${CMAKE_NM}" -D --defined-only "${SENTENCEPIECE_LIBRARY}"
    OUTPUT_VARIABLE _names ERROR_QUIET)
  set(MOE_SENTENCEPIECE_EXPORTS_PROTOBUF OFF)
  if(_names MATCHES "6google8protobuf")
    set(MOE_SENTENCEPIECE_EXPORTS_PROTOBUF ON)
  endif()
endif()
