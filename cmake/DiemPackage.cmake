# SPDX-License-Identifier: Apache-2.0
# The program diem with its manual and shell completion, for `cmake --install DIR --component program` and as a Debian package
# by `cpack`, see docs/building.md. Only with -D DIEM_INSTALL_PROGRAM=ON.
set(diem_program_texts "${CMAKE_CURRENT_BINARY_DIR}/package")
file(MAKE_DIRECTORY "${diem_program_texts}")
find_program(DIEM_GZIP gzip REQUIRED)
add_custom_command(
    OUTPUT "${diem_program_texts}/diem.1.gz" "${diem_program_texts}/diem" "${diem_program_texts}/_diem"
    COMMAND diem_program man-page > "${diem_program_texts}/diem.1"
    COMMAND "${DIEM_GZIP}" --no-name --best --force "${diem_program_texts}/diem.1"
    COMMAND diem_program completion bash > "${diem_program_texts}/diem"
    COMMAND diem_program completion zsh > "${diem_program_texts}/_diem"
    DEPENDS diem_program VERBATIM)
add_custom_target(diem_program_texts ALL DEPENDS "${diem_program_texts}/diem.1.gz")

install(TARGETS diem_program RUNTIME COMPONENT program)
install(FILES "${diem_program_texts}/diem.1.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT program)
install(FILES "${diem_program_texts}/diem" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" COMPONENT program)
install(FILES "${diem_program_texts}/_diem" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions" COMPONENT program)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/diem" RENAME copyright COMPONENT program)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME diem)
set(CPACK_PACKAGE_CONTACT "the developers of diem <diem@localhost>" CACHE STRING "Maintainer of the package")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "learns a diffusion prior from corrupted observations")
set(CPACK_PACKAGE_DESCRIPTION
    "The program diem learns a prior p(x) from observations y = A x + e alone, by expectation-maximization,\nand samples p(x | y).")
set(CPACK_COMPONENTS_ALL program)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
include(CPack)
