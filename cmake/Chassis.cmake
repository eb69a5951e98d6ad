# The helpers of the build, one per idea.
#
#   chassis_module(NAME n LAYER l SOURCES … [DEPS modules…] [LIBS outside libraries…])
#       A module of the chassis: a static library chassis_<n>. Fails the configure step when it
#       depends on a module of its own or a higher layer.
#   chassis_proto(TARGET t PROTOS a/b.proto … [SERVICES] [PREFIX p])      see cmake/Proto.cmake
#       Message code (protobuf-c) and, with our plugin, handlers, clients and descriptors.
#   chassis_service(NAME n SOURCES … [PROTOS …] [PREFIX p] [LIBS …])
#       An executable on the whole chassis.
#   chassis_test(NAME n KIND unit|integration|sim|… SOURCES … [DEPS modules…] [LIBS …])
#       A cmocka test program, run by ctest under the label KIND.
#   chassis_script_test(NAME n KIND lint|e2e|interop|… COMMAND program args… [TIMEOUT s])
#       A test that is a script; same environment, labels and rules.
#   chassis_fuzz(NAME n SOURCES … DEPS … CORPUS dir)
#       A libFuzzer target in the fuzz preset; elsewhere a test that replays the corpus.

set_property(GLOBAL PROPERTY CHASSIS_MODULES "")

# What every test finds in its environment: where the programs, the sources and room for temporary
# directories are. (TSan cannot see hand-overs inside libraries built without it.)
set(DRAFT_TEST_ENVIRONMENT
    "TSAN_OPTIONS=ignore_noninstrumented_modules=1 halt_on_error=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "DRAFT_BIN=${CMAKE_BINARY_DIR}/bin"
    "DRAFT_SOURCE=${CMAKE_SOURCE_DIR}"
    "DRAFT_BUILD=${CMAKE_BINARY_DIR}"
    "DRAFT_TMP=${CMAKE_BINARY_DIR}/tmp")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/tmp")

function(chassis_module)
    cmake_parse_arguments(ARG "" "NAME;LAYER" "SOURCES;DEPS;LIBS" ${ARGN})
    set(target chassis_${ARG_NAME})
    add_library(${target} STATIC ${ARG_SOURCES})
    set_property(TARGET ${target} PROPERTY CHASSIS_LAYER ${ARG_LAYER})
    set_property(GLOBAL APPEND PROPERTY CHASSIS_MODULES ${ARG_NAME})
    target_include_directories(${target} PUBLIC
        ${CMAKE_SOURCE_DIR}/chassis/include ${CMAKE_SOURCE_DIR}/chassis)
    target_link_libraries(${target} PRIVATE draft_options PUBLIC Threads::Threads)
    foreach(dep IN LISTS ARG_DEPS)
        if(NOT TARGET chassis_${dep})
            message(FATAL_ERROR
                "chassis module '${ARG_NAME}' depends on '${dep}', which is not defined before it")
        endif()
        get_property(layer TARGET chassis_${dep} PROPERTY CHASSIS_LAYER)
        if(NOT layer LESS ARG_LAYER)
            message(FATAL_ERROR "chassis module '${ARG_NAME}' (layer ${ARG_LAYER}) may not depend on "
                "'${dep}' (layer ${layer}): a module uses lower layers only")
        endif()
        target_link_libraries(${target} PUBLIC chassis_${dep})
    endforeach()
    target_link_libraries(${target} PUBLIC ${ARG_LIBS})
    set_property(GLOBAL APPEND PROPERTY CHASSIS_LIBS ${ARG_LIBS})
endfunction()

# chassis::chassis: every module in one library, with the contracts they speak.
function(chassis_umbrella)
    get_property(modules GLOBAL PROPERTY CHASSIS_MODULES)
    get_property(libs GLOBAL PROPERTY CHASSIS_LIBS)
    list(REMOVE_DUPLICATES libs)
    set(contracts ${libs})
    list(FILTER contracts INCLUDE REGEX "^draft_proto_")
    list(APPEND contracts draft_proto_wkt)
    list(REMOVE_DUPLICATES contracts)
    set(objects "")
    foreach(target IN LISTS contracts)
        list(APPEND objects $<TARGET_OBJECTS:${target}>)
    endforeach()
    foreach(module IN LISTS modules)
        list(APPEND objects $<TARGET_OBJECTS:chassis_${module}>)
    endforeach()
    add_library(chassis STATIC ${objects})
    add_library(chassis::chassis ALIAS chassis)
    set_target_properties(chassis PROPERTIES LINKER_LANGUAGE C)
    target_include_directories(chassis PUBLIC
        $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/chassis/include>
        $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/chassis>)
    target_link_libraries(chassis PUBLIC Threads::Threads ${libs} outside::protobuf_c)
endfunction()

include(Service) # chassis_service()

function(chassis_test)
    cmake_parse_arguments(ARG "" "NAME;KIND;TIMEOUT" "SOURCES;DEPS;LIBS;ARGS" ${ARGN})
    set(target test_${ARG_KIND}_${ARG_NAME})
    string(REPLACE "-" "_" target ${target})
    add_executable(${target} ${ARG_SOURCES})
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests ${CMAKE_SOURCE_DIR})
    target_link_libraries(${target} PRIVATE draft_options ${ARG_LIBS})
    foreach(dep IN LISTS ARG_DEPS)
        target_link_libraries(${target} PRIVATE chassis_${dep})
    endforeach()
    target_link_libraries(${target} PRIVATE outside::cmocka)
    add_test(NAME ${ARG_KIND}/${ARG_NAME} COMMAND ${target} ${ARG_ARGS})
    chassis_test_properties(${ARG_KIND} ${ARG_NAME} "${ARG_TIMEOUT}")
endfunction()

# Label, time limit (a hang is a failure; not a performance check) and environment.
function(chassis_test_properties kind name timeout)
    if(NOT timeout)
        set(timeout 300)
    endif()
    set_tests_properties(${kind}/${name} PROPERTIES LABELS ${kind} TIMEOUT ${timeout}
        ENVIRONMENT "${DRAFT_TEST_ENVIRONMENT}")
    if(NOT kind MATCHES "^(unit|fuzz|lint|sim)$")
        # Real processes, ports and timers: alone, so that a busy machine does not fail them.
        set_tests_properties(${kind}/${name} PROPERTIES RUN_SERIAL TRUE)
    endif()
endfunction()

function(chassis_script_test)
    cmake_parse_arguments(ARG "" "NAME;KIND;TIMEOUT" "COMMAND" ${ARGN})
    add_test(NAME ${ARG_KIND}/${ARG_NAME} COMMAND ${ARG_COMMAND})
    chassis_test_properties(${ARG_KIND} ${ARG_NAME} "${ARG_TIMEOUT}")
endfunction()

function(chassis_fuzz)
    cmake_parse_arguments(ARG "" "NAME;CORPUS" "SOURCES;DEPS;LIBS" ${ARGN})
    set(target fuzz_${ARG_NAME})
    if(DRAFT_FUZZ)
        add_executable(${target} ${ARG_SOURCES})
        target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        add_executable(${target} ${ARG_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
    endif()
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests ${CMAKE_SOURCE_DIR})
    target_link_libraries(${target} PRIVATE draft_options ${ARG_LIBS})
    foreach(dep IN LISTS ARG_DEPS)
        target_link_libraries(${target} PRIVATE chassis_${dep})
    endforeach()
    if(NOT DRAFT_FUZZ)
        add_test(NAME fuzz/${ARG_NAME} COMMAND ${target} ${ARG_CORPUS})
        chassis_test_properties(fuzz ${ARG_NAME} 300)
    endif()
endfunction()
