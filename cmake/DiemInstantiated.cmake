# SPDX-License-Identifier: Apache-2.0
# The target diem::instantiated: a static library of what is the same in every program on the Eigen backend in float (see
# diem/instantiate.hpp), built by the project that links it, with that project's own flags: all units of a program need the
# same -march. Options that the project does not give by CMAKE_CXX_FLAGS or add_compile_options go into the list
# DIEM_INSTANTIATED_OPTIONS, before find_package; units that link the target get them, too.
if(NOT TARGET diem_instantiated)
    set(diem_instantiated_units "")
    # float64 kernels, too: backends in float32 use them for small matrices.
    foreach(diem_call IN ITEMS "EIGEN(, float)" "EIGEN(, double)" "MODELS(, float)"
            "LEARNING(, float, diem::linop::mask<diem::eigen_backend<float>>)" "JSON()")
        string(MAKE_C_IDENTIFIER "${diem_call}" diem_unit)
        set(diem_unit "${CMAKE_CURRENT_BINARY_DIR}/diem_instantiated/${diem_unit}.cpp")
        file(CONFIGURE OUTPUT "${diem_unit}" CONTENT "#include <diem/diem.hpp>\nDIEM_INSTANTIATE_${diem_call}\n" @ONLY)
        list(APPEND diem_instantiated_units "${diem_unit}")
    endforeach()
    add_library(diem_instantiated STATIC EXCLUDE_FROM_ALL ${diem_instantiated_units})
    add_library(diem::instantiated ALIAS diem_instantiated)
    target_link_libraries(diem_instantiated PUBLIC diem::diem)
    target_compile_definitions(diem_instantiated PUBLIC DIEM_INSTANTIATED)
    target_compile_options(diem_instantiated PUBLIC ${DIEM_INSTANTIATED_OPTIONS})
endif()
