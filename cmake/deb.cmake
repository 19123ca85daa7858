# `make deb` (scripts/package.sh): the installation as a package of Debian and its kin. What it carries itself
# lies in /usr/lib/moe; dpkg-shlibdeps finds which packages have the rest.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME moe)
set(CPACK_PACKAGE_CONTACT "moe.cpp authors <moe.cpp@users.noreply.example>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
  WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS ca-certificates)  # data and models over HTTPS
set(CPACK_DEBIAN_PACKAGE_SUGGESTS dict-gcide)      # the text of the quickstart; it brings a server along
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION 
  "One native program, moe. It trains, evaluates, generates, imports and exports Transformers with a
Mixture of Experts or dense layers, on CPUs and on NVIDIA GPUs.")
include(CPack)
