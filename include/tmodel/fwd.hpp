#pragma once
// Version of the library: the one place that says it. CMake reads it from here.
// The inline namespace v0 follows the major version, so that two majors can live in one program.

#define TMODEL_VERSION_MAJOR 0
#define TMODEL_VERSION_MINOR 1
#define TMODEL_VERSION_PATCH 0
