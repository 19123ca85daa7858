# Warnings are errors with the compilers we develop with. A newer one knows new warnings (gcc 14 has false
# ones inside std::variant): they are shown, but must not keep a user from building.
set(_known_compiler OFF)
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13) OR
   (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15))
  set(_known_compiler ON)
endif()
option(MOE_WERROR "Treat warnings as errors" ${_known_compiler})

# One interface target, moe_options, carries warnings and machine flags for our own code only.
add_library(moe_options INTERFACE)
target_include_directories(moe_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
set(_options -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  # errno and floating-point traps are never looked at: without this loops with sqrt or a select do not
  # vectorise
  -fno-math-errno -fno-trapping-math)
if(MOE_WERROR)
  list(APPEND _options -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Of what is left after inlining: gcc 12 sees overruns inside std::string that are none, and where depends
    # on the processor it compiles for, which is the user's (MOE_NATIVE). Shown, but no error.
    list(APPEND _options -Wno-error=array-bounds -Wno-error=stringop-overflow
      -Wno-error=stringop-overread -Wno-error=restrict)
  endif()
endif()
if(MOE_NATIVE)
  list(APPEND _options -march=native)
endif()
# nvcc has cmake/cuda.cmake
target_compile_options(moe_options INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${_options}>")
if(MOE_SANITIZE)
  # -g1 has the lines that reports show; all of -g takes longer to build
  target_compile_options(moe_options INTERFACE -fsanitize=${MOE_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(moe_options INTERFACE -fsanitize=${MOE_SANITIZE})
endif()
if(MOE_FUZZ)  # coverage counters in the libraries too; fuzz/CMakeLists.txt adds libFuzzer's main
  target_compile_options(moe_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(MOE_CCACHE ccache)
if(MOE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # What ccache must be told before it keeps objects that use precompiled headers (its manual, "Precompiled
  # headers").
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime "${MOE_CCACHE}")
  set(CMAKE_C_COMPILER_LAUNCHER "${MOE_CCACHE}")
endif()
