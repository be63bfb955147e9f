# Headers, both libraries, and the ways to find them: pkg-config and find_package.

include(CMakePackageConfigHelpers)

set(hark_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hark)

install(TARGETS hark EXPORT hark-shared)
install(TARGETS hark_static EXPORT hark-static)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/hark
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Two files, so that users of the shared library need neither libzmq's nor msgpack's
# development files.
install(EXPORT hark-shared NAMESPACE hark:: DESTINATION ${hark_package_dir})
install(EXPORT hark-static NAMESPACE hark:: DESTINATION ${hark_package_dir})

configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/hark-config.cmake.in
    ${PROJECT_BINARY_DIR}/hark-config.cmake
    INSTALL_DESTINATION ${hark_package_dir}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/hark-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/hark-config.cmake
              ${PROJECT_BINARY_DIR}/hark-config-version.cmake
        DESTINATION ${hark_package_dir})

# hark.pc finds itself, so that an installed tree may be moved.
file(RELATIVE_PATH hark_pc_prefix
     ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
cmake_path(IS_ABSOLUTE CMAKE_INSTALL_LIBDIR libdir_is_absolute)
if(libdir_is_absolute)
    set(hark_pc_prefix ${CMAKE_INSTALL_PREFIX})
    set(hark_pc_libdir ${CMAKE_INSTALL_LIBDIR})
    set(hark_pc_includedir ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
    set(hark_pc_prefix "\${pcfiledir}/${hark_pc_prefix}")
    set(hark_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(hark_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/hark.pc.in ${PROJECT_BINARY_DIR}/hark.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hark.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
