# examples/<name>/*.c is one program <name>, linked as a user would; bench/*.c are
# programs each, linked with the archive, as are bench/gates/*.c, which see src/ too.

if(HARK_EXAMPLES)
    file(GLOB folders CONFIGURE_DEPENDS LIST_DIRECTORIES true
         ${PROJECT_SOURCE_DIR}/examples/*)
    foreach(folder IN LISTS folders)
        file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
        if(sources)
            cmake_path(GET folder FILENAME name)
            add_executable(example_${name} ${sources})
            hark_flags(example_${name})
            target_link_libraries(example_${name} PRIVATE hark Threads::Threads)
            set_target_properties(example_${name} PROPERTIES
                OUTPUT_NAME ${name}
                RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
        endif()
    endforeach()
endif()

if(HARK_BENCH)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.c)
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM name)
        add_executable(bench_${name} ${source})
        hark_flags(bench_${name})
        target_include_directories(bench_${name} PRIVATE ${PROJECT_SOURCE_DIR}/bench)
        target_link_libraries(bench_${name} PRIVATE hark_static ${HARK_ZMQ}
                                                    Threads::Threads m)
        set_target_properties(bench_${name} PROPERTIES
            OUTPUT_NAME ${name}
            RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
    endforeach()

    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/gates/*.c)
    foreach(source IN LISTS sources)
        cmake_path(GET source STEM name)
        add_executable(gate_${name} ${source})
        hark_flags(gate_${name})
        target_include_directories(gate_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src)
        target_link_libraries(gate_${name} PRIVATE hark_static ${HARK_ZMQ}
                                                   ${HARK_MSGPACK} Threads::Threads)
        set_target_properties(gate_${name} PROPERTIES
            OUTPUT_NAME ${name}
            RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench/gates)
    endforeach()
endif()
