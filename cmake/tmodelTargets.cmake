# The library's INTERFACE targets, their installation and the pkg-config file. A target carries cxx_std_20, include
# paths and link libraries; no flag, warning setting or -march reaches a consumer.

include(CMakePackageConfigHelpers)
include(${CMAKE_CURRENT_LIST_DIR}/tmodelDependencies.cmake)

set(tmodel_components tmodel cpu opencl spm reference)
set(tmodel_links_tmodel tmodel_deps::expected tmodel_deps::json tmodel_deps::pcre2 tmodel_deps::utf8proc Threads::Threads)
set(tmodel_links_cpu tmodel_deps::xsimd)
set(tmodel_links_reference Eigen3::Eigen)
set(tmodel_links_opencl OpenCL::OpenCL)
set(tmodel_links_spm tmodel_deps::sentencepiece)

set(tmodel_available "")
foreach(component ${tmodel_components})
  tmodel_find_component(${component} found reason)
  if(NOT found AND component STREQUAL "tmodel")
    message(FATAL_ERROR "tmodel needs:${reason}")
  endif()
  if(NOT found)
    message(STATUS "tmodel: component ${component} is not available, missing:${reason}")
    continue()
  endif()
  list(APPEND tmodel_available ${component})
  if(component STREQUAL "tmodel")
    set(target tmodel)
  else()
    set(target tmodel_${component})
  endif()
  add_library(${target} INTERFACE)
  add_library(tmodel::${component} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${component})
  if(component STREQUAL "tmodel")
    target_compile_features(${target} INTERFACE cxx_std_20)
    target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                   $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  else()
    target_link_libraries(${target} INTERFACE tmodel)
  endif()
  target_link_libraries(${target} INTERFACE ${tmodel_links_${component}})
  install(TARGETS ${target} EXPORT tmodel-${component})
  install(EXPORT tmodel-${component} NAMESPACE tmodel:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tmodel
          FILE tmodel-${component}.cmake)
endforeach()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/tmodel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/tmodelConfig.cmake.in ${PROJECT_BINARY_DIR}/tmodelConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tmodel)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tmodelConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/tmodelConfig.cmake ${PROJECT_BINARY_DIR}/tmodelConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/tmodelDependencies.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tmodel)

# tmodel.pc finds its own prefix, so that an installed tree may be moved.
file(RELATIVE_PATH tmodel_pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(${CMAKE_CURRENT_LIST_DIR}/tmodel.pc.in ${PROJECT_BINARY_DIR}/tmodel.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/tmodel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
