# What hark links. Gives HARK_ZMQ, HARK_MSGPACK (target names) and Threads::Threads.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

pkg_check_modules(hark_libzmq REQUIRED IMPORTED_TARGET libzmq>=4.3)
set(HARK_ZMQ PkgConfig::hark_libzmq)

# msgpack-c is packaged with a CMake config, or as one of two pkg-config modules.
find_package(msgpack CONFIG QUIET)
if(TARGET msgpackc)
    set(HARK_MSGPACK msgpackc)
else()
    pkg_search_module(hark_msgpack REQUIRED IMPORTED_TARGET msgpack msgpack-c)
    set(HARK_MSGPACK PkgConfig::hark_msgpack)
endif()

# Boost.Context has no C headers and no pkg-config file. Of its archive we use two
# functions in assembler, and so nothing of C++; by name, so that an installed tree
# finds it wherever the linker does.
find_library(hark_boost_context NAMES libboost_context.a REQUIRED)
set(HARK_CONTEXT -l:libboost_context.a)
