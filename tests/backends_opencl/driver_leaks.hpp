#pragma once
// Tells the leak sanitizer that PoCL keeps the compiler's state until the process ends; ours is checked all the same.

extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libpocl\nleak:libLLVM\n"; }
