# Every third-party library, found where the system, conda or vcpkg has it. docs/decisions/0002 says why each.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(yaml-cpp REQUIRED)
if(NOT TARGET yaml-cpp::yaml-cpp)  # before 0.8 the target has no namespace
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
find_package(CLI11 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(zstd REQUIRED)
find_package(DNNL REQUIRED)
find_package(CURL 7.88 REQUIRED)  # before that, writing to a closed TLS connection could raise SIGPIPE
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)
find_package(xxHash REQUIRED)
find_package(Parquet REQUIRED)
find_package(SentencePiece 0.1.97 REQUIRED)
# Debian's libsentencepiece carries a Protocol Buffers of its own and exports it. Beside another shared one
# the program ends as it starts. So ours is the static one, and no program of ours shows its symbols.
set(Protobuf_USE_STATIC_LIBS ${MOE_SENTENCEPIECE_EXPORTS_PROTOBUF})
if(Protobuf_USE_STATIC_LIBS AND NOT Protobuf_LITE_LIBRARY_RELEASE MATCHES "\\.a$")
  foreach(_name Protobuf Protobuf_LITE Protobuf_PROTOC)  # of a folder that was configured without
    unset(${_name}_LIBRARY_RELEASE CACHE)
    unset(${_name}_LIBRARY_DEBUG CACHE)
  endforeach()
endif()
find_package(Protobuf 3.12 REQUIRED)
if(MOE_SENTENCEPIECE_EXPORTS_PROTOBUF)
  if(NOT Protobuf_LITE_LIBRARY MATCHES "\\.a$")
    message(FATAL_ERROR "${SENTENCEPIECE_LIBRARY} exports Protocol Buffers, so ours must be static, "
      "and there is no libprotobuf-lite.a. Hint: run scripts/setup.sh, or install libprotobuf-dev")
  endif()
  # The linker takes a name where it first finds it: ours stands in front of the library.
  set_property(TARGET protobuf::libprotobuf-lite APPEND PROPERTY
    INTERFACE_LINK_LIBRARIES SentencePiece::sentencepiece)
  add_link_options("LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/hidden_protobuf.map")
endif()
find_package(PkgConfig REQUIRED)
pkg_check_modules(cairo REQUIRED IMPORTED_TARGET cairo)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(oniguruma REQUIRED IMPORTED_TARGET oniguruma>=6.9.8)
# The page of `moe report` carries Chart.js, as the system packages it (libjs-chart.js, node-chart.js, npm's
# chart.js).
find_file(MOE_CHART_JS chart.min.js PATHS /usr /usr/local
  PATH_SUFFIXES share/javascript/chart.js share/nodejs/chart.js/dist lib/node_modules/chart.js/dist
  DOC "Chart.js 3, as one script" REQUIRED)
# Optional: many ranks on CPUs.
if(NOT MOE_MPI STREQUAL "OFF")
  find_package(MPI QUIET COMPONENTS C)
  if(NOT MPI_C_FOUND AND NOT MOE_MPI STREQUAL "AUTO")
    message(FATAL_ERROR "MOE_MPI is ON and there is no MPI. "
      "Hint: scripts/setup.sh libopenmpi-dev openmpi-bin")
  endif()
endif()
if(MOE_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
if(MOE_BENCH)
  find_package(benchmark REQUIRED)
endif()
