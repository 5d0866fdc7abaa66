// Linked to a program, its allocations count.

#include "io/counted_new.hpp"
