# chassis_service(NAME n SOURCES files… [PROTOS files…] [PREFIX p] [LIBS …])
#
# An executable on the whole chassis: SOURCES are compiled with the code made from PROTOS (see
# Proto.cmake, PREFIX too). LIBS are libraries, also those of messages that PROTOS import. Works inside the tree and, as part of the package "chassis", outside.
include_guard(GLOBAL)

function(chassis_service)
    cmake_parse_arguments(ARG "" "NAME;PREFIX" "SOURCES;PROTOS;LIBS" ${ARGN})
    if(NOT ARG_NAME OR NOT ARG_SOURCES OR ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR
            "chassis_service(NAME n SOURCES files… [PROTOS files…] [PREFIX p] [LIBS …]): got '${ARGN}'")
    endif()
    add_executable(${ARG_NAME} ${ARG_SOURCES})
    if(ARG_PROTOS)
        chassis_proto(TARGET ${ARG_NAME}_proto PROTOS ${ARG_PROTOS} SERVICES PREFIX "${ARG_PREFIX}"
            LIBS ${ARG_LIBS})
        target_link_libraries(${ARG_NAME} PRIVATE ${ARG_NAME}_proto)
    endif()
    if(TARGET draft_options)
        target_link_libraries(${ARG_NAME} PRIVATE draft_options)
    endif()
    target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBS} chassis::chassis)
endfunction()
