# The outside libraries, each as one target outside::<name>; only the module named beside it in
# chassis/README.md links it.
find_package(PkgConfig REQUIRED)

function(outside_library name pkg)
    pkg_check_modules(OUTSIDE_${name} REQUIRED IMPORTED_TARGET GLOBAL ${pkg})
    add_library(outside::${name} ALIAS PkgConfig::OUTSIDE_${name})
    set(DRAFT_PKG_${name} ${pkg} PARENT_SCOPE) # for the installed package
endfunction()

outside_library(grpc grpc)
outside_library(protobuf_c libprotobuf-c)
outside_library(lmdb lmdb)
outside_library(uv libuv)
outside_library(microhttpd libmicrohttpd)
outside_library(gnutls gnutls) # what libmicrohttpd does TLS with
outside_library(yaml yaml-0.1)
outside_library(crypto libcrypto)
outside_library(pcre2 libpcre2-8) # regular expressions of routes
if(DRAFT_TESTS)
    outside_library(cmocka cmocka)
    outside_library(jansson jansson) # reads JSON that our own code wrote
endif()

# libraft: exactly 0.22.1, from bookworm-backports, unpacked under build/deps by ./dev (its
# ownership rules change between versions; Debian 12's own 0.15.0 loses data).
set(DRAFT_RAFT_ROOT "${CMAKE_SOURCE_DIR}/build/deps/raft/usr" CACHE PATH "Where libraft is")
find_path(RAFT_INCLUDE raft.h PATHS "${DRAFT_RAFT_ROOT}/include" NO_DEFAULT_PATH)
find_library(RAFT_LIBRARY libraft.a PATHS "${DRAFT_RAFT_ROOT}/lib" PATH_SUFFIXES
    ${CMAKE_LIBRARY_ARCHITECTURE} NO_DEFAULT_PATH)
if(NOT RAFT_INCLUDE OR NOT RAFT_LIBRARY)
    message(FATAL_ERROR "libraft 0.22.1 is not in ${DRAFT_RAFT_ROOT}: run ./dev deps")
endif()
add_library(outside_raft STATIC IMPORTED GLOBAL)
set_target_properties(outside_raft PROPERTIES IMPORTED_LOCATION ${RAFT_LIBRARY}
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${RAFT_INCLUDE} INTERFACE_INCLUDE_DIRECTORIES ${RAFT_INCLUDE})
add_library(outside::raft ALIAS outside_raft)
