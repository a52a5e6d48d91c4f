# SPDX-License-Identifier: Apache-2.0
# An overlay port that builds from the source tree that it lies in:
#   vcpkg install diem --overlay-ports=packaging/vcpkg
# A port of a registry replaces the next line by vcpkg_from_github with the release's tag and hash.
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../.." ABSOLUTE)
set(VCPKG_BUILD_TYPE release)  # headers only

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS -DDIEM_BUILD_TESTS=OFF -DDIEM_BUILD_EXAMPLES=OFF -DDIEM_BUILD_BENCHMARKS=OFF)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME diem CONFIG_PATH lib/cmake/diem)
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug" "${CURRENT_PACKAGES_DIR}/lib")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
