# SPDX-License-Identifier: Apache-2.0
# Run with cmake -P by the test install_downstream.
cmake_minimum_required(VERSION 3.25)

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(options -G "${GENERATOR}" -D CMAKE_BUILD_TYPE=Debug -D CMAKE_CXX_FLAGS_DEBUG=-O0 -D "CMAKE_CXX_COMPILER=${CXX}"
    -D "CMAKE_CXX_COMPILER_LAUNCHER=${CXX_LAUNCHER}" -D "DIEM_EXPECTED_VERSION=${VERSION}")
set(here "${CMAKE_CURRENT_LIST_DIR}")

file(REMOVE_RECURSE "${WORK_DIR}")
run("${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${WORK_DIR}/prefix")

run("${CMAKE_COMMAND}" -S "${here}/find_package" -B "${WORK_DIR}/find_package" ${options}
    -D "CMAKE_PREFIX_PATH=${WORK_DIR}/prefix" -D "DIEM_FORBIDDEN_DIR=${SOURCE_DIR}"
    -D "DIEM_EXPECTED_MPI=${MPIEXEC}")
run("${CMAKE_COMMAND}" --build "${WORK_DIR}/find_package")
run("${WORK_DIR}/find_package/downstream")
run("${WORK_DIR}/find_package/network")
if(MPIEXEC)
    run("${CMAKE_COMMAND}" -E env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        OMPI_MCA_rmaps_base_oversubscribe=1 "${MPIEXEC}" -n 2 "${WORK_DIR}/find_package/ranks")
endif()

run("${CMAKE_COMMAND}" -S "${here}/fetch_content" -B "${WORK_DIR}/fetch_content" ${options}
    -D "DIEM_SOURCE_DIR=${SOURCE_DIR}")
run("${CMAKE_COMMAND}" --build "${WORK_DIR}/fetch_content")
run("${WORK_DIR}/fetch_content/downstream")
