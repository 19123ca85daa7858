# Headers of the C++ library and of third parties, compiled once for each kind of user: reading them is a
# third of the time of a clean build. Sources still include what they use: clang-tidy (scripts/lint.sh) and
# the fuzz preset build without. Only headers that never change here belong in these lists.
option(MOE_PRECOMPILE "Compile common headers once for all sources" ON)

# ccache keeps objects that use precompiled headers only with these (its manual).
set(_for_ccache)
if(MOE_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(_for_ccache -fpch-preprocess)
elseif(MOE_CCACHE AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(_for_ccache "SHELL:-Xclang -fno-pch-timestamp")
endif()

# moe_headers(KIND LINKS... HEADERS headers...): what moe_precompiled(TARGET KIND) gives to a target.
function(moe_headers kind)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;HEADERS")
  if(NOT MOE_PRECOMPILE)
    return()
  endif()
  file(GENERATE OUTPUT "${CMAKE_BINARY_DIR}/headers_${kind}.cpp" CONTENT "// CMake wants a source here.\n")
  add_library(moe_headers_${kind} OBJECT "${CMAKE_BINARY_DIR}/headers_${kind}.cpp")
  target_link_libraries(moe_headers_${kind} PRIVATE moe_options ${arg_LINKS})
  target_precompile_headers(moe_headers_${kind} PRIVATE ${arg_HEADERS})
  target_compile_options(moe_headers_${kind} PRIVATE ${_for_ccache})
endfunction()

# For sources with nothing to compute (tests, the command line): -O1 compiles in two thirds of the time of
# -O3.
add_library(moe_fast_compile INTERFACE)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(moe_fast_compile INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-O1>")
endif()

function(moe_precompiled target kind)
  if(MOE_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM moe_headers_${kind})
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${_for_ccache}>)
  endif()
endfunction()

set(_std <algorithm> <array> <atomic> <bit> <charconv> <chrono> <cmath> <condition_variable> <cstdint>
  <cstring> <deque> <filesystem> <fstream> <functional> <limits> <map> <memory> <mutex> <numeric> <optional>
  <random> <set> <span> <sstream> <stdexcept> <string> <string_view> <thread> <tuple> <unordered_map>
  <utility> <variant> <vector> <fmt/format.h> <fmt/ranges.h>)
moe_headers(library LINKS fmt::fmt nlohmann_json::nlohmann_json HEADERS ${_std} <nlohmann/json.hpp>)
moe_headers(cli LINKS fmt::fmt nlohmann_json::nlohmann_json CLI11::CLI11 moe_fast_compile
  HEADERS ${_std} <nlohmann/json.hpp> <CLI/CLI.hpp>)
if(MOE_TESTS)
  moe_headers(tests LINKS fmt::fmt nlohmann_json::nlohmann_json GTest::gmock GTest::gtest_main
    moe_fast_compile
    HEADERS ${_std} <nlohmann/json.hpp> <gtest/gtest.h> <gmock/gmock.h>)
endif()
