# make install: the program, and beside it the Arrow libraries when they come from the pyarrow wheel, so that
# the installed program needs neither the wheel nor Python.
include(GNUInstallDirs)
if(TARGET moe)
  install(TARGETS moe RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  if(MOE_ARROW_WHEEL_LIBRARIES)
    install(FILES ${MOE_ARROW_WHEEL_LIBRARIES} DESTINATION "${CMAKE_INSTALL_LIBDIR}/moe")
    file(RELATIVE_PATH _to_libraries "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}/moe")
    if(NOT CMAKE_INSTALL_RPATH)  # scripts/bundle.sh has its own place for them
      set_target_properties(moe PROPERTIES INSTALL_RPATH "$ORIGIN/${_to_libraries}")
    endif()
  endif()
endif()
