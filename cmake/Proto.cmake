# chassis_proto(TARGET t PROTOS a/b.proto … [SERVICES] [PREFIX p] [IMPORTS dirs…] [LIBS targets…])
#
# Makes the static library t from .proto files: message code by protobuf-c (a/b.pb-c.h) and, with
# SERVICES, handlers, clients and descriptors by protoc-gen-chassis (a/b.chassis.h). Linking t gives
# its include directory. A path is looked up in the IMPORTS, the calling directory, the platform's
# own contracts and the system's well-known types, in this order.
#
# PREFIX names the generated functions (echo → echo_speak_reply) of a file with one service; with
# several it is followed by the service's name. Without it: package and service in snake case. A
# prefix can be used once. A list of protos that another target has compiled already is not compiled
# again: t then stands for that target.
#
# Works inside the tree and after installation. What it needs, each settable before the include:
#   CHASSIS_PROTOC_GEN    the plugin: a target or a path
#   CHASSIS_PROTO_ROOT    the folder of the platform's own .proto files
#   CHASSIS_INCLUDE_DIR   the folder of chassis/service.h
#   CHASSIS_PROTO_WKT     the target with google.protobuf's own types
include_guard(GLOBAL)

find_program(PROTOC_EXECUTABLE protoc)
find_program(PROTOC_GEN_C_EXECUTABLE protoc-gen-c)
foreach(tool PROTOC_EXECUTABLE PROTOC_GEN_C_EXECUTABLE)
    if(NOT ${tool})
        message(FATAL_ERROR "protoc or protoc-gen-c not found: "
            "install protobuf-compiler and protobuf-c-compiler")
    endif()
endforeach()
find_path(PROTOBUF_SYSTEM_ROOT google/protobuf/descriptor.proto)
if(NOT PROTOBUF_SYSTEM_ROOT)
    message(FATAL_ERROR "google/protobuf/descriptor.proto not found: install libprotobuf-dev")
endif()

macro(_chassis_proto_default name value)
    if(NOT DEFINED ${name})
        set(${name} "${value}")
    endif()
endmacro()
_chassis_proto_default(CHASSIS_PROTOC_GEN protoc-gen-chassis)
_chassis_proto_default(CHASSIS_PROTO_ROOT "${CMAKE_CURRENT_LIST_DIR}/../proto")
_chassis_proto_default(CHASSIS_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../chassis/include")
_chassis_proto_default(CHASSIS_PROTO_WKT draft_proto_wkt)
get_filename_component(CHASSIS_PROTO_ROOT "${CHASSIS_PROTO_ROOT}" ABSOLUTE)
get_filename_component(CHASSIS_INCLUDE_DIR "${CHASSIS_INCLUDE_DIR}" ABSOLUTE)

# Each prefix names one service of one target: two would define the same functions.
function(_chassis_proto_claim_prefix prefix target)
    if(NOT prefix MATCHES "^[a-z][a-z0-9_]*$")
        message(FATAL_ERROR "chassis_proto(${target}): PREFIX '${prefix}' must be lower case letters, "
            "digits and underscores")
    endif()
    if(prefix MATCHES "^(chassis|raft|grpc|uv|mdb|json|bp|cat|fuse|dctl)$")
        message(FATAL_ERROR "chassis_proto(${target}): PREFIX '${prefix}' belongs to a library")
    endif()
    get_property(owner GLOBAL PROPERTY CHASSIS_PROTO_PREFIX_${prefix})
    if(owner)
        message(FATAL_ERROR "chassis_proto(${target}): PREFIX '${prefix}' is taken by '${owner}'")
    endif()
    set_property(GLOBAL PROPERTY CHASSIS_PROTO_PREFIX_${prefix} ${target})
endfunction()

# The existing target that compiled exactly these files, or nothing.
function(_chassis_proto_find_compiled protos services ret_target)
    set(found "")
    foreach(proto IN LISTS protos)
        get_property(owner GLOBAL PROPERTY "CHASSIS_PROTO_OWNER_TRUE_${proto}")
        if(NOT services AND NOT owner)
            get_property(owner GLOBAL PROPERTY "CHASSIS_PROTO_OWNER_FALSE_${proto}")
        endif()
        if(NOT owner OR (found AND NOT owner STREQUAL found))
            set(${ret_target} "" PARENT_SCOPE)
            return()
        endif()
        set(found ${owner})
    endforeach()
    set(${ret_target} "${found}" PARENT_SCOPE)
endfunction()

function(chassis_proto)
    cmake_parse_arguments(ARG "SERVICES" "TARGET;PREFIX" "PROTOS;IMPORTS;LIBS" ${ARGN})
    if(NOT ARG_TARGET OR NOT ARG_PROTOS OR ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "chassis_proto(TARGET t PROTOS files… [SERVICES] [PREFIX p] "
            "[IMPORTS dirs…] [LIBS targets…]): got '${ARGN}'")
    endif()
    _chassis_proto_find_compiled("${ARG_PROTOS}" "${ARG_SERVICES}" compiled)
    if(compiled)
        if(ARG_PREFIX)
            get_property(owner GLOBAL PROPERTY CHASSIS_PROTO_PREFIX_${ARG_PREFIX})
            if(NOT owner STREQUAL compiled)
                message(FATAL_ERROR "chassis_proto(${ARG_TARGET}): '${compiled}' has compiled "
                    "${ARG_PROTOS} already, with another PREFIX than '${ARG_PREFIX}'")
            endif()
        endif()
        add_library(${ARG_TARGET} INTERFACE)
        target_link_libraries(${ARG_TARGET} INTERFACE ${compiled})
        return()
    endif()
    set(options "")
    if(ARG_SERVICES)
        list(APPEND options services)
    endif()
    if(ARG_PREFIX)
        _chassis_proto_claim_prefix(${ARG_PREFIX} ${ARG_TARGET})
        list(APPEND options prefix=${ARG_PREFIX})
    endif()
    list(APPEND options "protoc-gen-c=${PROTOC_GEN_C_EXECUTABLE}")
    list(JOIN options "," options)

    set(roots ${ARG_IMPORTS} ${CMAKE_CURRENT_SOURCE_DIR} ${CHASSIS_PROTO_ROOT}
        ${PROTOBUF_SYSTEM_ROOT})
    list(REMOVE_DUPLICATES roots)
    list(TRANSFORM roots PREPEND "-I" OUTPUT_VARIABLE includes)
    if(TARGET ${CHASSIS_PROTOC_GEN})
        set(plugin "$<TARGET_FILE:${CHASSIS_PROTOC_GEN}>")
    else()
        set(plugin "${CHASSIS_PROTOC_GEN}")
    endif()
    set(out "${CMAKE_CURRENT_BINARY_DIR}/${ARG_TARGET}.gen")
    file(MAKE_DIRECTORY "${out}")
    set(sources "")
    foreach(proto IN LISTS ARG_PROTOS)
        string(REGEX REPLACE "\\.proto$" "" base "${proto}")
        set(source "")
        foreach(root IN LISTS roots)
            if(NOT source AND EXISTS "${root}/${proto}")
                set(source "${root}/${proto}")
            endif()
        endforeach()
        if(NOT source)
            message(FATAL_ERROR "chassis_proto(${ARG_TARGET}): no '${proto}' in ${roots}")
        endif()
        set(made "${out}/${base}.pb-c.c" "${out}/${base}.pb-c.h")
        if(ARG_SERVICES)
            list(APPEND made "${out}/${base}.chassis.c" "${out}/${base}.chassis.h")
        endif()
        string(REPLACE "/" "_" stamp "${base}")
        add_custom_command(OUTPUT ${made}
            COMMAND ${PROTOC_EXECUTABLE} --plugin=protoc-gen-chassis=${plugin} ${includes}
                "--chassis_out=${options}:${out}" "--dependency_out=${out}/${stamp}.d" ${proto}
            DEPENDS ${source} ${CHASSIS_PROTOC_GEN}
            DEPFILE "${out}/${stamp}.d"
            COMMENT "protoc ${proto}" VERBATIM)
        list(APPEND sources ${made})
        set_property(GLOBAL PROPERTY "CHASSIS_PROTO_OWNER_${ARG_SERVICES}_${proto}" ${ARG_TARGET})
    endforeach()
    add_library(${ARG_TARGET} STATIC ${sources})
    target_include_directories(${ARG_TARGET} SYSTEM PUBLIC "$<BUILD_INTERFACE:${out}>")
    target_include_directories(${ARG_TARGET} PUBLIC "$<BUILD_INTERFACE:${CHASSIS_INCLUDE_DIR}>")
    target_link_libraries(${ARG_TARGET} PUBLIC ${CHASSIS_PROTO_WKT} ${ARG_LIBS})
endfunction()
