# moe_protobuf(NAME FILE.proto): the library moe_NAME, with <NAME.pb.h> to include.
function(moe_protobuf name proto)
  set(folder "${CMAKE_BINARY_DIR}/protobuf")
  get_filename_component(place "${proto}" DIRECTORY)
  get_filename_component(stem "${proto}" NAME_WE)
  set(made "${folder}/${stem}.pb.cc" "${folder}/${stem}.pb.h")
  file(MAKE_DIRECTORY "${folder}")
  add_custom_command(OUTPUT ${made} DEPENDS "${proto}" VERBATIM
    COMMAND protobuf::protoc "--proto_path=${place}" "--cpp_out=${folder}" "${proto}")
  if(NOT TARGET generated_sources)  # all of them, for tools that read sources without building
    add_custom_target(generated_sources)
  endif()
  add_custom_target(${name}_sources DEPENDS ${made})
  add_dependencies(generated_sources ${name}_sources)
  add_library(moe_${name} STATIC ${made})  # not our warnings: the code is not ours
  target_include_directories(moe_${name} SYSTEM PUBLIC "${folder}")
  target_link_libraries(moe_${name} PUBLIC protobuf::libprotobuf-lite)
endfunction()

# moe_module(NAME LINKS...): src/NAME/*.cpp becomes the library moe_NAME; folders are found by name, so adding
# a file needs no edit here. moe_tests(NAME LINKS...): tests/NAME/*_test.cpp becomes one test program,
# by way of the objects moe_NAME_test_objects, which a program on another device may link as well.
function(moe_module name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${name}/*.cpp"
    "${CMAKE_SOURCE_DIR}/src/${name}/*.S")
  if(sources)
    add_library(moe_${name} STATIC ${sources})
    target_link_libraries(moe_${name} PUBLIC moe_options ${ARGN})
    moe_precompiled(moe_${name} library)
  else()  # a folder of headers
    add_library(moe_${name} INTERFACE)
    target_link_libraries(moe_${name} INTERFACE moe_options ${ARGN})
  endif()
endfunction()

# What a test may take at most; under a sanitizer, and under qemu, each takes several times as long.
set(MOE_TEST_SECONDS 240)
if(MOE_SANITIZE OR CMAKE_CROSSCOMPILING)
  set(MOE_TEST_SECONDS 1200)
endif()

function(moe_tests name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/${name}/*_test.cpp")
  if(NOT sources)
    return()
  endif()
  add_library(moe_${name}_test_objects OBJECT ${sources})
  target_include_directories(moe_${name}_test_objects PUBLIC "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(moe_${name}_test_objects PUBLIC moe_options moe_fast_compile GTest::gmock
    GTest::gtest_main PRIVATE ${ARGN})
  moe_precompiled(moe_${name}_test_objects tests)
  target_compile_definitions(moe_${name}_test_objects PUBLIC MOE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_executable(moe_${name}_tests)
  target_link_libraries(moe_${name}_tests PRIVATE moe_${name}_test_objects ${ARGN})
  set(discovery POST_BUILD)
  if(MOE_SANITIZE MATCHES "thread")
    set(discovery PRE_TEST)  # such a program may start only the way scripts/run_tests.sh starts it
  endif()
  gtest_discover_tests(moe_${name}_tests TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
    DISCOVERY_MODE ${discovery} PROPERTIES TIMEOUT ${MOE_TEST_SECONDS})
endfunction()
