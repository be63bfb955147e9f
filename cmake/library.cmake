# The library: one set of objects, archived as libhark.a and linked as libhark.so.

file(GLOB hark_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*/*.c
                                         ${PROJECT_SOURCE_DIR}/actors/*.c)
if(HARK_POOL)
    list(REMOVE_ITEM hark_sources ${PROJECT_SOURCE_DIR}/src/base/pool_malloc.c)
else()
    list(REMOVE_ITEM hark_sources ${PROJECT_SOURCE_DIR}/src/base/pool.c
                                  ${PROJECT_SOURCE_DIR}/src/base/pool_large.c
                                  ${PROJECT_SOURCE_DIR}/src/base/pool_trim.c)
endif()

# Only what HARK_API marks is seen outside the shared library.
add_library(hark_objects OBJECT ${hark_sources})
hark_flags(hark_objects)
# Functions start with a cache line: what a call costs must not hang on what was compiled
# before it (an ask takes 7 % more or less by that alone).
target_compile_options(hark_objects PRIVATE -falign-functions=64)
set_target_properties(hark_objects PROPERTIES POSITION_INDEPENDENT_CODE ON
                                              C_VISIBILITY_PRESET hidden)
target_include_directories(hark_objects PRIVATE ${PROJECT_SOURCE_DIR}/include
                                                ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(hark_objects PRIVATE ${HARK_ZMQ} ${HARK_MSGPACK} Threads::Threads)

add_library(hark SHARED $<TARGET_OBJECTS:hark_objects>)
add_library(hark_static STATIC $<TARGET_OBJECTS:hark_objects>)
add_library(hark::hark ALIAS hark)
add_library(hark::static ALIAS hark_static)

foreach(library hark hark_static)
    set_target_properties(${library} PROPERTIES OUTPUT_NAME hark LINKER_LANGUAGE C)
    target_compile_features(${library} INTERFACE c_std_11)
    target_include_directories(${library} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${library} PRIVATE ${HARK_ZMQ} ${HARK_MSGPACK} ${HARK_CONTEXT}
                          Threads::Threads)
endforeach()
set_target_properties(hark PROPERTIES VERSION ${PROJECT_VERSION}
                                      SOVERSION ${PROJECT_VERSION_MAJOR})
set_target_properties(hark_static PROPERTIES EXPORT_NAME static)

target_link_options(hark PRIVATE ${HARK_SANITIZE_FLAGS})
if(NOT HARK_SANITIZE)
    # A sanitizer's own symbols come from the program.
    target_link_options(hark PRIVATE -Wl,--no-undefined)
endif()
