# Arrow C++ with Parquet: the system's, conda's or vcpkg's CMake package; else the libraries inside the pyarrow
# wheel that scripts/setup.sh puts into .deps/venv (or the one MOE_PYTHON sees).
# Makes Arrow::arrow_shared and Parquet::parquet_shared.
find_package(Parquet CONFIG QUIET)
if(TARGET Parquet::parquet_shared)
  set(Parquet_FOUND TRUE)
  return()
endif()

find_program(MOE_PYTHON NAMES python3 PATHS "${CMAKE_SOURCE_DIR}/.deps/venv/bin" NO_DEFAULT_PATH)
find_program(MOE_PYTHON NAMES python3)
execute_process(
  COMMAND "${MOE_PYTHON}" -c "import pyarrow as a; print(a.get_include()); print(a.get_library_dirs()[0])"
  OUTPUT_VARIABLE _pyarrow OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE _status)
if(_status EQUAL 0)
  string(REPLACE "\n" ";" _pyarrow "${_pyarrow}")
  list(GET _pyarrow 0 ARROW_INCLUDE_DIR)
  list(GET _pyarrow 1 ARROW_LIBRARY_DIR)
  # The wheel's libraries carry only versioned names: libarrow.so.2600
  file(GLOB ARROW_LIBRARY "${ARROW_LIBRARY_DIR}/libarrow.so.*")
  file(GLOB PARQUET_LIBRARY "${ARROW_LIBRARY_DIR}/libparquet.so.*")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Parquet REQUIRED_VARS PARQUET_LIBRARY ARROW_LIBRARY ARROW_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "Arrow C++ is missing. Run scripts/setup.sh, or install libparquet-dev or pyarrow.")
if(Parquet_FOUND)
  add_library(Arrow::arrow_shared UNKNOWN IMPORTED)
  set_target_properties(Arrow::arrow_shared PROPERTIES IMPORTED_LOCATION "${ARROW_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${ARROW_INCLUDE_DIR}")
  add_library(Parquet::parquet_shared UNKNOWN IMPORTED)
  set_target_properties(Parquet::parquet_shared PROPERTIES IMPORTED_LOCATION "${PARQUET_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${ARROW_INCLUDE_DIR}")
endif()
