#pragma once
// What the library asks of the operating system and the CPU; no other header calls either.
// POSIX (Linux, macOS, Android). A port to another system rewrites this file only.

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0::os {

inline tl::unexpected<Error> io_error(std::string what, std::string_view path, int number) {
  char text[128] = {};
  // GNU and POSIX strerror_r differ in what they return; both leave or return a usable text.
  const auto message = ::strerror_r(number, text, sizeof text);
  std::string reason;
  if constexpr (std::is_pointer_v<decltype(message)>) reason = message;
  else reason = text;
  return fail(Errc::io, what, path, {}, reason);
}

inline bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}
inline bool is_file(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

/// Names in a directory that end in `suffix`, sorted. Errors: io.
inline expected<std::vector<std::string>> list_directory(const std::string& path, std::string_view suffix) {
  struct Close {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
  };
  const std::unique_ptr<DIR, Close> directory(::opendir(path.c_str()));
  if (directory == nullptr) return io_error("cannot read the folder", path, errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get()))
    if (const std::string_view name = entry->d_name; name.ends_with(suffix)) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

/// A regular file, mapped read-only; pages are read when touched. Moves, never copies; unmaps at the end.
/// Another process that shortens the file while it is mapped ends this one with SIGBUS: a limit of mmap itself.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept : data_(other.data_), size_(other.size_) { other.data_ = nullptr, other.size_ = 0; }
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }

  /// Errors: io (missing, no permission, a directory).
  static expected<MappedFile> open(const std::string& path) {
    // Not blocking: a FIFO must be refused, not waited for.
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return io_error("cannot open the file", path, errno);
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      return fail(Errc::io, "not a regular file", path);
    }
    MappedFile file;
    file.size_ = static_cast<std::size_t>(info.st_size);
    if (file.size_ != 0) {
      void* address = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd, 0);
      if (address == MAP_FAILED) {
        const int number = errno;
        ::close(fd);
        file.size_ = 0;
        return io_error("cannot map the file", path, number);
      }
      file.data_ = address;
    }
    ::close(fd);
    return file;
  }

  std::span<const std::byte> bytes() const noexcept { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const noexcept { return {static_cast<const char*>(data_), size_}; }

  /// Gives back the memory of the whole pages among the first `bytes`; they are read again when touched.
  void release(std::size_t bytes) const noexcept {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (const std::size_t whole = bytes / page * page; whole != 0) ::madvise(data_, whole, MADV_DONTNEED);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Processors that this process may use, at least 1.
inline int processor_count() noexcept {
  const long n = ::sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? static_cast<int>(n) : 1;
}

/// Whether this machine (CPU and kernel) runs AVX2, FMA and F16C instructions.
inline bool cpu_has_avx2() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();  // __builtin_cpu_supports also asks whether the kernel saves the wide registers
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;  // clang's builtin has no "f16c"
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

/// Whether it runs AVX-VNNI, which the kernel enables with AVX.
inline bool cpu_has_avx_vnni() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool leaf = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && a >= 1;  // a: the last subleaf
  return leaf && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1u << 4) != 0 && cpu_has_avx2();
#else
  return false;
#endif
}

/// Whether it runs the parts of AVX-512 that products of integers need: F, BW, VL and VNNI.
inline bool cpu_has_avx512_vnni() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

/// Whether it runs the dot products of bytes of aarch64. Only Linux is asked (by the number of HWCAP_ASIMDDP, which not
/// every C library names); elsewhere the flags of compilation are believed.
inline bool cpu_has_dotprod() noexcept {
#if defined(__aarch64__) && defined(__linux__)
  return (::getauxval(AT_HWCAP) & 1ul << 20) != 0;
#else
  return true;
#endif
}

}  // namespace tmodel::inline v0::os
