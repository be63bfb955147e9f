# hark_flags(TARGET): the language, warnings and sanitizers of everything we compile.

set(HARK_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes
                  -Wmissing-prototypes -Wvla)
if(HARK_WERROR)
    list(APPEND HARK_WARNINGS -Werror)
endif()

set(HARK_SANITIZE_FLAGS "")
if(HARK_SANITIZE)
    set(HARK_SANITIZE_FLAGS -fsanitize=${HARK_SANITIZE} -fno-sanitize-recover=all
                            -fno-omit-frame-pointer)
endif()

if(HARK_FUZZ)
    # Counts branches; the fuzzer itself is linked to its own programs only.
    list(APPEND HARK_SANITIZE_FLAGS -fsanitize=fuzzer-no-link)
endif()

function(hark_flags target)
    set_target_properties(${target} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON
                                               C_EXTENSIONS OFF)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    target_compile_options(${target} PRIVATE ${HARK_WARNINGS} ${HARK_SANITIZE_FLAGS})
    target_link_options(${target} PRIVATE ${HARK_SANITIZE_FLAGS})
endfunction()
