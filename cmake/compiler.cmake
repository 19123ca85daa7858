# One interface target, moe_options, carries warnings and machine flags for our own code only.
add_library(moe_options INTERFACE)
target_include_directories(moe_options INTERFACE "${CMAKE_SOURCE_DIR}/src")
target_compile_options(moe_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
  # errno and floating-point traps are never looked at: without this loops with sqrt or a select do not vectorise
  -fno-math-errno -fno-trapping-math)
if(MOE_NATIVE)
  target_compile_options(moe_options INTERFACE -march=native)
endif()
if(MOE_SANITIZE)
  target_compile_options(moe_options INTERFACE -fsanitize=${MOE_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(moe_options INTERFACE -fsanitize=${MOE_SANITIZE})
endif()
if(MOE_FUZZ)  # coverage counters in the libraries too; fuzz/CMakeLists.txt adds libFuzzer's main
  target_compile_options(moe_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(MOE_CCACHE ccache)
if(MOE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${MOE_CCACHE}")
  set(CMAKE_C_COMPILER_LAUNCHER "${MOE_CCACHE}")
endif()
