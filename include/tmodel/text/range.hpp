#pragma once
// A range of bytes in a text: what a template marks as message content and a tokenizer then reads as plain.

#include <cstddef>

namespace tmodel::inline v0 {

struct Range {
  std::size_t begin = 0, end = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

}  // namespace tmodel::inline v0
