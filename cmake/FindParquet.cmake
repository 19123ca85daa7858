# Arrow C++ with Parquet: the system's, conda's or vcpkg's CMake package; else the libraries inside the
# pyarrow wheel that scripts/setup.sh puts into .deps/venv (MOE_PYTHON names another Python that has pyarrow).
# Makes Arrow::arrow_shared and Parquet::parquet_shared; MOE_ARROW_WHEEL_LIBRARIES lists the wheel's files, to
# be installed beside the program.
set(MOE_PYTHON "" CACHE FILEPATH "Python whose pyarrow provides Arrow C++ (empty: .deps/venv, then python3)")
set(MOE_PYARROW "" CACHE PATH "Folder of pyarrow, unpacked, for another processor (empty: ask Python)")

find_package(Parquet CONFIG QUIET)
if(TARGET Parquet::parquet_shared)
  set(Parquet_FOUND TRUE)
  set(MOE_ARROW_VERSION "${Parquet_VERSION}")
  set(MOE_ARROW_PLACE "${Parquet_DIR}")
  return()
endif()

# Asked anew each time, so that running scripts/setup.sh after a failed configuration is enough.
unset(_arrow_include)
unset(_arrow_libraries)
if(MOE_PYARROW)
  set(_arrow_include "${MOE_PYARROW}/include")
  set(MOE_ARROW_PLACE "${MOE_PYARROW}")
  file(STRINGS "${_arrow_include}/arrow/util/config.h" MOE_ARROW_VERSION REGEX "ARROW_VERSION_STRING")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" MOE_ARROW_VERSION "${MOE_ARROW_VERSION}")
endif()
foreach(_python IN ITEMS "${MOE_PYTHON}" "${CMAKE_SOURCE_DIR}/.deps/venv/bin/python3" python3)
  if(_python STREQUAL "" OR _arrow_include)
    continue()
  endif()
  execute_process(
    COMMAND "${_python}" -c
      "import pyarrow as a; print(a.get_include(), a.get_library_dirs()[0], a.__version__, sep='\\n')"
    OUTPUT_VARIABLE _pyarrow OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE _status)
  if(_status EQUAL 0)
    string(REPLACE "\n" ";" _pyarrow "${_pyarrow}")
    list(GET _pyarrow 0 _arrow_include)
    list(GET _pyarrow 1 MOE_ARROW_PLACE)
    list(GET _pyarrow 2 MOE_ARROW_VERSION)
  endif()
endforeach()
if(_arrow_include)
  # The wheel's libraries carry only versioned names: libarrow.so.2600
  file(GLOB _arrow_library "${MOE_ARROW_PLACE}/libarrow.so.*")
  file(GLOB _parquet_library "${MOE_ARROW_PLACE}/libparquet.so.*")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Parquet REQUIRED_VARS _parquet_library _arrow_library _arrow_include
  REASON_FAILURE_MESSAGE
    "Arrow C++ is missing. Hint: run scripts/setup.sh, or install libparquet-dev or pyarrow")
if(Parquet_FOUND)
  set(MOE_ARROW_WHEEL_LIBRARIES "${_arrow_library}" "${_parquet_library}")
  add_library(Arrow::arrow_shared UNKNOWN IMPORTED)
  set_target_properties(Arrow::arrow_shared PROPERTIES IMPORTED_LOCATION "${_arrow_library}"
    INTERFACE_INCLUDE_DIRECTORIES "${_arrow_include}")
  add_library(Parquet::parquet_shared UNKNOWN IMPORTED)
  set_target_properties(Parquet::parquet_shared PROPERTIES IMPORTED_LOCATION "${_parquet_library}"
    INTERFACE_INCLUDE_DIRECTORIES "${_arrow_include}")
endif()
