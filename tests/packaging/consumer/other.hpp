#pragma once
#include <tmodel/core/error.hpp>

tmodel::Errc other_code();
