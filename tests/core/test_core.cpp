// Floor 0: scalar conversions, errors, JSON, threads, rope.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "tmodel/core/json.hpp"
#include "tmodel/core/memory.hpp"
#include "tmodel/core/metadata.hpp"
#include "tmodel/core/os.hpp"
#include "tmodel/core/parallel.hpp"
#include "tmodel/core/rope.hpp"

namespace {

using namespace tmodel;

TEST(HalfFloats, every_f16_survives_the_way_to_f32_and_back) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const f16 half{static_cast<std::uint16_t>(bits)};
    const f32 wide = to_f32(half);
    if (std::isnan(wide)) EXPECT_TRUE(std::isnan(to_f32(to_f16(wide))));
    else EXPECT_EQ(to_f16(wide).bits, bits);
  }
}

TEST(HalfFloats, f16_rounds_to_nearest_even) {
  EXPECT_EQ(to_f16(1.0f).bits, 0x3C00);
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f).bits, 0x3C00);          // half a unit: to even
  EXPECT_EQ(to_f16(1.0f + 3 * 0x1p-11f).bits, 0x3C02);
  EXPECT_EQ(to_f16(1.0f + 0x1p-11f + 0x1p-20f).bits, 0x3C01);
  EXPECT_EQ(to_f16(65504.0f).bits, 0x7BFF);
  EXPECT_EQ(to_f16(65519.99f).bits, 0x7BFF);
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7C00);
  EXPECT_EQ(to_f16(0x1p-24f).bits, 1);
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0);
  EXPECT_EQ(to_f16(-0x1.8p-25f).bits, 0x8001);
}

TEST(HalfFloats, bf16_rounds_to_nearest_even_and_keeps_nan) {
  EXPECT_EQ(to_bf16(1.0f).bits, 0x3F80);
  EXPECT_EQ(to_bf16(std::bit_cast<f32>(0x3F808000u)).bits, 0x3F80);
  EXPECT_EQ(to_bf16(std::bit_cast<f32>(0x3F818000u)).bits, 0x3F82);
  EXPECT_TRUE(std::isnan(to_f32(to_bf16(std::bit_cast<f32>(0x7F800001u)))));
}

TEST(Errors, message_is_one_line_of_valid_text_whatever_the_file_held) {
  const Error e{Errc::bad_file, "line\nbreak \x01", "caf\xC3\xA9 \xFF\xFE", "a", std::string(1000, 'x'), ""};
  const std::string m = e.message();
  EXPECT_EQ(m.find('\n'), std::string::npos);
  EXPECT_NE(m.find("caf\xC3\xA9 \\xff\\xfe"), std::string::npos);
  EXPECT_LT(m.size(), 700u);
}

TEST(Errors, guard_turns_bad_alloc_into_a_value) {
#if defined(__cpp_exceptions)
  const auto r = guard([]() -> expected<int> { throw std::bad_alloc(); });
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::out_of_memory);
#endif
  EXPECT_EQ(*guard([]() -> expected<int> { return 3; }), 3);
}

TEST(Memory, sizes_that_overflow_are_seen) {
  std::size_t n = 0;
  EXPECT_TRUE(multiply(1u << 20, 1u << 20, n));
  EXPECT_FALSE(multiply(std::size_t{1} << 33, std::size_t{1} << 33, n));
  EXPECT_EQ(Buffer::allocate(std::size_t{1} << 60).error().code, Errc::out_of_memory);
}

Json member(const JsonDocument& d, const char* key) { return d.root()[key]; }

TEST(JsonText, values_keep_their_type_and_order) {
  const auto d = JsonDocument::parse(R"({"b":[1,-2,18446744073709551615,3.5,"\u00e9",null,true],"a":{"x":{}}, "n":4.0})", "test");
  ASSERT_TRUE(d) << d.error().message();
  Json v = member(*d, "b").first();
  EXPECT_EQ(v.integer(), 1);
  EXPECT_EQ((v = v.next()).integer(), -2);
  EXPECT_EQ((v = v.next()).integer(), std::nullopt);
  EXPECT_EQ(v.number(), 18446744073709551615.0);
  EXPECT_EQ((v = v.next()).number(), 3.5);
  EXPECT_EQ((v = v.next()).string(), "\xC3\xA9");
  EXPECT_TRUE((v = v.next()).is_null());
  EXPECT_TRUE((v = v.next()).boolean());
  EXPECT_FALSE(v.next());
  EXPECT_EQ(member(*d, "n").integer(), 4);
  EXPECT_TRUE(member(*d, "a")["x"].is_object());
  EXPECT_FALSE(member(*d, "a")["y"]);
  EXPECT_EQ(d->root().first().key(), "b");
}

TEST(JsonText, wrong_text_is_an_error) {
  for (const char* text : {"", "{", "[1,]", "{\"a\":1,\"a\":2}", "{\"a\" 1}", "nul", "1 2", "\"\xFF\"", "[\"\\ud800\"]", "{\"a\":1}x"})
    EXPECT_FALSE(JsonDocument::parse(text, "test")) << text;
  EXPECT_FALSE(JsonDocument::parse(std::string(200000, '['), "test"));
  std::string deep(95, '[');
  EXPECT_TRUE(JsonDocument::parse(deep + std::string(95, ']'), "test"));
}

TEST(Parallel, every_piece_runs_once_on_any_number_of_threads) {
  for (const int threads : {1, 2, 3, 8}) {
    auto pool = ThreadPool::create(threads);
    ASSERT_TRUE(pool);
    for (const int count : {0, 1, 2, 7, 64, 1000})
      for (const int grain : {1, 3, 64}) {
        std::vector<std::atomic<int>> hits(static_cast<std::size_t>(count));
        parallel_for((*pool)->executor(), count, grain, [&](int begin, int end) {
          EXPECT_EQ(begin % grain, 0);
          for (int i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
        });
        for (const auto& h : hits) EXPECT_EQ(h, 1);
      }
  }
  EXPECT_EQ(ThreadPool::create(0).error().code, Errc::bad_argument);
}

TEST(Parallel, every_piece_runs_once_whatever_the_executor_does) {
  // Backwards on one thread, with fewer and with more lanes than there are shares.
  for (const int lanes : {2, 3, 32, 33, 100}) {
    const Executor backwards{nullptr, lanes, [](void*, int tasks, void (*fn)(void*, int), void* arg) noexcept {
                               for (int i = tasks; i-- > 0;) fn(arg, i);
                             }};
    for (const int count : {1, 5, 64, 1000}) {
      std::vector<int> hits(static_cast<std::size_t>(count));
      parallel_for(backwards, count, 3, [&](int begin, int end) {
        EXPECT_EQ(begin % 3, 0);
        for (int i = begin; i < end; ++i) ++hits[static_cast<std::size_t>(i)];
      });
      EXPECT_EQ(std::ranges::count(hits, 1), count) << lanes << " lanes";
    }
  }
}

TEST(Parallel, others_do_what_a_lane_that_is_held_up_has_left) {
  auto pool = ThreadPool::create(2);
  ASSERT_TRUE(pool);
  std::atomic<int> done{0};
  parallel_for((*pool)->executor(), 1024, 1, [&](int begin, int end) {
    if (begin == 0) {  // does not return before all else is done
      EXPECT_LE(end, 128);
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (done < 1024 - end && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
      EXPECT_EQ(done, 1024 - end);
    }
    done += end - begin;
  });
  EXPECT_EQ(done, 1024);
}

TEST(Parallel, several_threads_may_use_one_pool_at_once) {
  auto pool = ThreadPool::create(3);
  ASSERT_TRUE(pool);
  std::vector<std::thread> users;
  std::atomic<long> sum{0};
  for (int u = 0; u < 4; ++u)
    users.emplace_back([&] {
      for (int round = 0; round < 500; ++round)
        parallel_for((*pool)->executor(), 100, 1, [&](int begin, int end) { sum += end - begin; });
    });
  for (auto& u : users) u.join();
  EXPECT_EQ(sum, 4L * 500 * 100);
}

TEST(Parallel, sleeping_workers_use_no_processor_time) {
  auto pool = ThreadPool::create(3);
  ASSERT_TRUE(pool);
  parallel_for((*pool)->executor(), 3, 1, [](int, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.03);
}

TEST(Rope, cos_and_sin_agree_with_the_c_library) {
  f64 worst = 0;
  for (f64 x = 0; x < 4e6; x = x * 1.0001 + 0.37) {
    f64 c = 0, s = 0;
    cos_sin(x, c, s);
    worst = std::max({worst, std::fabs(c - std::cos(x)), std::fabs(s - std::sin(x))});
  }
  EXPECT_LT(worst, 1e-13);
}

TEST(Rope, parameters_without_a_usable_frequency_are_an_error) {
  RopeParams p;
  p.theta = 0;
  EXPECT_FALSE(rope_frequencies(p, 8, 100));
  p.theta = 1e-38;  // 1e38 to the power of 0, 1/4, ...
  EXPECT_EQ(rope_frequencies(p, 8, 100).error().code, Errc::bad_metadata);
  p = {};
  p.divisors = {1, 1, 1};
  EXPECT_EQ(rope_frequencies(p, 8, 100).error().code, Errc::bad_metadata);
}

}  // namespace
