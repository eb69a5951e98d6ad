# What `cmake --install` puts where: enough to build and run a service outside this tree.
#
#   bin/            protoc-gen-chassis, dctl and the platform's services
#   include/        chassis/…, and chassis/wkt/google/protobuf/….pb-c.h
#   lib/draft/      plugins of the services
#   lib/            libchassis.a, chassis/libraft.a, pkgconfig/chassis.pc, cmake/chassis/
#   share/chassis/  proto/: the contracts
#   share/doc/draft LICENSE, NOTICE
include(GNUInstallDirs)

get_property(CHASSIS_OUTSIDE GLOBAL PROPERTY CHASSIS_LIBS)
list(FILTER CHASSIS_OUTSIDE INCLUDE REGEX "^outside::")
list(TRANSFORM CHASSIS_OUTSIDE REPLACE "^outside::" "")
list(APPEND CHASSIS_OUTSIDE protobuf_c)
list(REMOVE_DUPLICATES CHASSIS_OUTSIDE)
list(REMOVE_ITEM CHASSIS_OUTSIDE raft)
set(CHASSIS_PKGS "")
foreach(name IN LISTS CHASSIS_OUTSIDE)
    list(APPEND CHASSIS_PKGS ${DRAFT_PKG_${name}})
endforeach()
list(JOIN CHASSIS_PKGS " " CHASSIS_PKGS)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/chassis)
file(RELATIVE_PATH CHASSIS_PC_UP "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/chassis.pc.in chassis.pc @ONLY)
configure_file(cmake/chassisConfig.cmake.in chassisConfig.cmake @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(chassisConfigVersion.cmake COMPATIBILITY ExactVersion)

install(FILES $<TARGET_FILE:chassis> DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${RAFT_LIBRARY} DESTINATION ${CMAKE_INSTALL_LIBDIR}/chassis)
install(DIRECTORY chassis/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_BINARY_DIR}/proto/wkt.gen/google
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/chassis/wkt FILES_MATCHING PATTERN "*.pb-c.h")
install(DIRECTORY proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/chassis/proto
    FILES_MATCHING PATTERN "*.proto")
install(FILES ${PROJECT_BINARY_DIR}/chassis.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_BINARY_DIR}/chassisConfig.cmake
    ${PROJECT_BINARY_DIR}/chassisConfigVersion.cmake cmake/Proto.cmake cmake/Service.cmake
    DESTINATION ${package})
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(program protoc-gen-chassis dctl blueprint catalyst fuse)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
endforeach()
foreach(plugin catalyst-engine-nats catalyst-engine-kafka catalyst-push)
    if(TARGET ${plugin})
        install(TARGETS ${plugin} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/draft)
    endif()
endforeach()
