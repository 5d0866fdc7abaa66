# Tests of the project as a whole: floors, headers, what the machine code calls, wrong combinations, consumers, programs.

find_package(Python3 REQUIRED COMPONENTS Interpreter)

add_test(NAME layers COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/check_layers.py)

# Each public header alone, with the warnings of a strict consumer. Those in folders of one header are its parts.
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR}/include CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/tmodel/*.hpp)
list(FILTER headers EXCLUDE REGEX "/(cpu|opencl|jinja)/")
set(alone "")
foreach(header ${headers})
  string(MAKE_C_IDENTIFIER ${header} id)
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers/${id}.cpp CONTENT "#include <${header}>\n")
  list(APPEND alone ${CMAKE_CURRENT_BINARY_DIR}/headers/${id}.cpp)
endforeach()
add_library(each_header_alone OBJECT ${alone})
target_link_libraries(each_header_alone PRIVATE tmodel::tmodel tmodel::cpu tmodel::reference tmodel::opencl tmodel::spm)
target_compile_options(each_header_alone PRIVATE -fsyntax-only -Wall -Wextra -Wconversion -Werror)

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

# Resident memory, in a process of its own.
if(EXISTS "${TMODEL_SMOLLM2}")
  add_executable(resident memory/resident.cpp)
  target_link_libraries(resident PRIVATE tmodel::tmodel tmodel::cpu tmodel::reference tmodel_program)
  foreach(backend cpu reference)
    add_test(NAME resident_${backend} COMMAND resident ${TMODEL_SMOLLM2} ${backend})
  endforeach()
endif()

# Many mutations of small files; ./test --long runs more of them.
add_executable(mutate_files io/mutate_files.cpp)
target_link_libraries(mutate_files PRIVATE tmodel::tmodel tmodel::cpu tmodel::reference tmodel_program)
target_include_directories(mutate_files PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
add_test(NAME mutate_files COMMAND mutate_files)

# Renders templates for tools/fuzz_templates.py; ./test --oracle builds and runs it.
add_executable(render_templates EXCLUDE_FROM_ALL text/render_templates.cpp)
target_link_libraries(render_templates PRIVATE tmodel::tmodel)
