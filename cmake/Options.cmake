# Language level, warnings and sanitizers: the same for every target.
option(DRAFT_TESTS "Build the tests" ON)
option(DRAFT_FUZZ "Build the fuzz targets for libFuzzer (clang)" OFF)
option(DRAFT_WERROR "Warnings are errors" ON)
set(DRAFT_SANITIZE "" CACHE STRING "Value for -fsanitize, empty for none")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g") # no NDEBUG: asserts stay on
set(CMAKE_C_VISIBILITY_PRESET default)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
find_package(Threads REQUIRED)

add_library(draft_options INTERFACE)
target_compile_definitions(draft_options INTERFACE _GNU_SOURCE)
target_compile_options(draft_options INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
    -Wswitch-enum -Wvla -Wno-unused-parameter -fno-common -fno-omit-frame-pointer
    -fstack-protector-strong)
if(DRAFT_WERROR)
    target_compile_options(draft_options INTERFACE -Werror)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
    # clang minds protobuf-c's casts and last enumerators, gcc (all other presets) those of ours only
    target_compile_options(draft_options INTERFACE -Wthread-safety -Wno-cast-qual -Wno-switch-enum)
endif()
if(DRAFT_SANITIZE)
    add_compile_options(-fsanitize=${DRAFT_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${DRAFT_SANITIZE})
endif()
if(DRAFT_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link) # coverage of every library, not of the target alone
endif()
