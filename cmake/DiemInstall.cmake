# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)

set(diem_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/diem")
install(TARGETS diem EXPORT diem_targets
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILE_SET optional_headers DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILE_SET device_headers DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT diem_targets NAMESPACE diem:: FILE diem-targets.cmake DESTINATION "${diem_package_dir}")
configure_package_config_file(cmake/diem-config.cmake.in "${PROJECT_BINARY_DIR}/diem-config.cmake"
    INSTALL_DESTINATION "${diem_package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/diem-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/diem-config.cmake" "${PROJECT_BINARY_DIR}/diem-config-version.cmake" cmake/FindCUDNN.cmake cmake/FindNCCL.cmake
    cmake/DiemInstantiated.cmake
    DESTINATION "${diem_package_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
