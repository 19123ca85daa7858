# What an installation holds, as one tree that may lie anywhere: the program, the libraries it carries,
# configurations and documents. `make install`, the bundle, the wheel and the deb (scripts/package.sh) are all
# made from it.
#
# MOE_CARRY says which libraries go along. arrow: those of the pyarrow wheel, so that the program needs
# neither that wheel nor Python. changing: also each whose package has another name in the next release of
# Debian or Ubuntu. all: each but the C library's.
set(MOE_CARRY arrow CACHE STRING "Libraries to install beside the program: arrow, changing or all")
set_property(CACHE MOE_CARRY PROPERTY STRINGS arrow changing all)
include(GNUInstallDirs)
if(NOT TARGET moe)
  return()
endif()

set(MOE_LIBRARY_FOLDER "${CMAKE_INSTALL_LIBDIR}/moe")
set(_documents "${CMAKE_INSTALL_DATADIR}/doc/moe")
install(TARGETS moe RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(DIRECTORY configs DESTINATION "${CMAKE_INSTALL_DATADIR}/moe" FILES_MATCHING PATTERN "*.yaml")
# The manual and the completions, where the build has made them.
if(MOE_CARRY STREQUAL "changing")  # the deb: Debian's zsh looks for packages' completions elsewhere
  install(DIRECTORY "${CMAKE_BINARY_DIR}/share/" DESTINATION "${CMAKE_INSTALL_DATADIR}" OPTIONAL
    PATTERN "zsh" EXCLUDE)
  install(DIRECTORY "${CMAKE_BINARY_DIR}/share/zsh/site-functions/"
    DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions" OPTIONAL)
else()
  install(DIRECTORY "${CMAKE_BINARY_DIR}/share/" DESTINATION "${CMAKE_INSTALL_DATADIR}" OPTIONAL)
endif()
install(FILES README.md DESTINATION "${_documents}")
install(FILES LICENSE DESTINATION "${_documents}" RENAME copyright)

file(RELATIVE_PATH _to_libraries "/${CMAKE_INSTALL_BINDIR}" "/${MOE_LIBRARY_FOLDER}")
if(NOT MOE_CARRY STREQUAL "arrow")
  # The path counts for the libraries' libraries too, and before LD_LIBRARY_PATH.
  target_link_options(moe PRIVATE LINKER:--disable-new-dtags)
  set_target_properties(moe PROPERTIES INSTALL_RPATH "$ORIGIN/${_to_libraries}")

  # The C library's belong to the machine that runs it.
  set(_left "ld-linux[^.]*" libc libm libdl librt libpthread libresolv)
  if(MOE_CARRY STREQUAL "changing")
    # Whose packages have kept their names for years. The distribution mends their faults.
    list(APPEND _left "libstdc[+][+]" libgcc_s libgomp libz libzstd libcurl libcrypto libssl libcairo
      libxxhash libonig libOpenCL)
  endif()
  list(JOIN _left "|" MOE_LEFT_LIBRARIES)
  # Code of others that is inside of the program, by a file that says which package it comes from.
  set(MOE_CODE_INSIDE "${Protobuf_LITE_LIBRARY}" "${MOE_CHART_JS}" "${nlohmann_json_DIR}" "${CLI11_DIR}")
  if(MOE_GPU)
    set(MOE_CUDA_ROOT "${CUDAToolkit_LIBRARY_ROOT}")
  endif()
  set(MOE_LICENCE_FOLDER "${_documents}/licenses")
  configure_file(cmake/carried_libraries.cmake.in "${CMAKE_BINARY_DIR}/carried_libraries.cmake" @ONLY)
  install(SCRIPT "${CMAKE_BINARY_DIR}/carried_libraries.cmake")
elseif(MOE_ARROW_WHEEL_LIBRARIES)
  install(FILES ${MOE_ARROW_WHEEL_LIBRARIES} DESTINATION "${MOE_LIBRARY_FOLDER}")
  set_target_properties(moe PROPERTIES INSTALL_RPATH "$ORIGIN/${_to_libraries}")
endif()
