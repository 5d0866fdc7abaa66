#pragma once
// Everything but what has a component of its own: all families on CpuSimd, with text and chat.
// <tmodel/backends/opencl.hpp> and <tmodel/backends/reference.hpp> are included by who uses them.

#include "tmodel/any_transformer.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/chat.hpp"
#include "tmodel/families/all.hpp"
#include "tmodel/generate.hpp"
#include "tmodel/transformer.hpp"
