# Tests of the project as a whole: floors, headers, what the machine code calls, wrong combinations, consumers, programs.

add_test(NAME layers COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/check_layers.py)

# Each public header as the first include of a unit, with the warnings of a strict consumer. Those in folders of one header
# are its parts. clang needs a quarter less time for the same headers of the same standard library than g++, whose warnings
# come from one unit of all of them. A change compiles again those that contain it.
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR}/include CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/tmodel/*.hpp)
list(FILTER headers EXCLUDE REGEX "/(cpu|opencl|jinja)/")
set(strict -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror)
set(all_includes "#include <tmodel/tmodel.hpp>\n")
foreach(header ${headers})
  string(APPEND all_includes "#include <${header}>\n")
endforeach()
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers/all.cpp CONTENT "${all_includes}")
add_library(all_headers OBJECT ${CMAKE_CURRENT_BINARY_DIR}/headers/all.cpp)
target_link_libraries(all_headers PRIVATE tmodel::tmodel tmodel::cpu tmodel::reference tmodel::opencl tmodel::spm)
target_compile_options(all_headers PRIVATE -fsyntax-only ${strict})

set(alone "")
foreach(header ${headers})
  string(MAKE_C_IDENTIFIER ${header} id)
  set(unit ${CMAKE_CURRENT_BINARY_DIR}/headers/${id})
  file(GENERATE OUTPUT ${unit}.cpp CONTENT "#include <${header}>\n")
  tmodel_read_unit(${unit} ${unit}.cpp all_headers ${strict})
  list(APPEND alone ${unit}.ok)
endforeach()
add_custom_target(each_header_alone ALL DEPENDS ${alone})

# The whole library as machine code: it calls nothing that ends or prints to the process.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_library(everything OBJECT symbols/everything.cpp)
  target_link_libraries(everything PRIVATE tmodel::tmodel tmodel::cpu tmodel::reference tmodel::opencl)
  set_target_properties(everything PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(everything PRIVATE -O1 -fno-inline -fkeep-inline-functions -ffunction-sections)
  add_test(NAME symbols COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/symbols/check_calls.py $<TARGET_OBJECTS:everything>)
endif()

foreach(compiler g++ clang++)
  add_test(NAME compile_fail_${compiler} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/run_cases.py
                                                 ${compiler} ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/cases.cpp -I${PROJECT_SOURCE_DIR}/include)
endforeach()

foreach(how find_package add_subdirectory FetchContent pkg-config)
  add_test(NAME consumer_${how} COMMAND bash ${CMAKE_CURRENT_SOURCE_DIR}/packaging/run.sh ${PROJECT_SOURCE_DIR}
                                        ${CMAKE_CURRENT_BINARY_DIR}/packaging ${how})
  set_tests_properties(consumer_${how} PROPERTIES TIMEOUT 600 ENVIRONMENT "CXX=${CMAKE_CXX_COMPILER}")
endforeach()

add_test(NAME programs COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/programs/test_programs.py
                               $<TARGET_FILE:inspect> $<TARGET_FILE:generate> ${conformance_data} "${TMODEL_SMOLLM2}")
set_tests_properties(programs PROPERTIES TIMEOUT 900)
add_test(NAME programs_chat COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/programs/test_chat.py $<TARGET_FILE:generate>
                                    "${TMODEL_SMOLLM2}")
set_tests_properties(programs_chat PROPERTIES TIMEOUT 600)

add_test(NAME programs_certify COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/programs/test_certify.py $<TARGET_FILE:inspect>
                                       ${conformance_data})
set_tests_properties(programs_certify PROPERTIES TIMEOUT 300)

# Renders templates for tools/fuzz_templates.py; ./test --oracle builds and runs it.
add_executable(render_templates EXCLUDE_FROM_ALL text/render_templates.cpp)
target_link_libraries(render_templates PRIVATE tmodel::tmodel)
