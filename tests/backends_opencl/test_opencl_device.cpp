// What surrounds the operations of OpenCl: devices, errors, memory, cancelling, caches as bytes.

#include "lab.hpp"

namespace {

using namespace lab;
using Cl = OpenCl<f32>;

TEST(OpenClDevice, listed_devices_are_numbered_and_can_be_opened) {
  const auto devices = opencl::list_devices();
  ASSERT_TRUE(devices);
  ASSERT_FALSE(devices->empty());
  for (std::size_t i = 0; i < devices->size(); ++i) {
    EXPECT_EQ((*devices)[i].index, static_cast<int>(i));
    EXPECT_FALSE((*devices)[i].name.empty());
    EXPECT_FALSE((*devices)[i].platform.empty());
    EXPECT_GT((*devices)[i].memory, 0u);
  }
  EXPECT_EQ(backend<Cl>().device().info.name, (*devices)[0].name);
}

TEST(OpenClDevice, number_that_no_device_has_is_a_device_error) {
  for (const int index : {-1, 1000}) {
    const auto opened = Cl::open({.device = index});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Errc::device);
    EXPECT_EQ(opened.error().got, std::to_string(index));
  }
}

TEST(OpenClDevice, failing_build_gives_the_compilers_log) {
  const opencl::Device& device = backend<Cl>().device();
  const char* source = "kernel void broken(global float* x) { x[0] = no_such_name; }";
  const auto program = opencl::build(device.context.get(), device.id, std::span(&source, 1), device.build_options);
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().code, Errc::device);
  EXPECT_NE(program.error().got.find("no_such_name"), std::string::npos) << program.error().got;
  EXPECT_FALSE(program.error().where.empty());
}

TEST(OpenClDevice, every_kernel_text_is_short_and_builds_alone_without_the_other_formats) {
  for (const char* text : opencl::program_sources<OpenClFormats>()) EXPECT_LE(std::strlen(text), 12u * 1024);
  struct Mine : FormatSet<Q8_0> {};
  using Small = OpenCl<f32, Mine>;
  const auto small = Small::open({});
  ASSERT_TRUE(small) << small.error().got;
  auto arena = Small::Arena::allocating(*small, {});
  ASSERT_TRUE(arena);
  EXPECT_TRUE(Small::Queue::make(&*small, *arena, {.rows = 1}));
}

TEST(OpenClDevice, buffer_beyond_the_devices_limit_is_reported_by_finish) {
  auto arena = Cl::Arena::allocating(backend<Cl>(), {});
  ASSERT_TRUE(arena);
  const std::size_t limit = backend<Cl>().device().largest_buffer;
  const KvShape shape{.layers = static_cast<int>(limit / (std::size_t{1} << 20)) + 1,
                      .kv_heads = 1 << 10,
                      .head_dim = 1 << 10,
                      .capacity = 1,
                      .type = KvType::f32};
  EXPECT_EQ(arena->kv(shape).keys, nullptr);
  EXPECT_EQ(arena->rows(1, 1).buffer, nullptr) << "nothing is handed out after a failure";
  const auto finished = arena->finish();
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, Errc::device);
  EXPECT_NE(finished.error().expected.find(std::to_string(limit)), std::string::npos) << finished.error().message();
}

TEST(OpenClDevice, plan_beyond_the_devices_memory_is_refused_before_allocating) {
  MemoryUse counted;
  counted[Purpose::weights_copied] = backend<Cl>().device().info.memory;
  counted[Purpose::kv_cache] = 1;
  const auto arena = Cl::Arena::allocating(backend<Cl>(), counted);
  ASSERT_FALSE(arena);
  EXPECT_EQ(arena.error().code, Errc::device);
}

TEST(OpenClDevice, counting_needs_no_device_and_names_purposes) {
  auto arena = Cl::Arena::counting();
  arena.rows(3, 5);
  arena.vec(7, {});
  arena.matrix<Q4_0>(std::span<const std::byte>(static_cast<const std::byte*>(nullptr), 18 * 4), 4, 32);
  arena.kv({.layers = 2, .kv_heads = 3, .head_dim = 32, .capacity = 5, .type = KvType::q8_0});
  EXPECT_EQ(arena.use()[Purpose::workspace], 64u);
  EXPECT_EQ(arena.use()[Purpose::weights_copied], 64u + 128u);
  EXPECT_EQ(arena.use()[Purpose::kv_cache], 2u * round_up(2 * 3 * 5 * 34, 64));
  EXPECT_EQ(arena.use()[Purpose::weights_mapped], 0u);
  EXPECT_TRUE(arena.finish());
}

TEST(OpenClDevice, head_that_does_not_fit_into_local_memory_is_refused_by_make) {
  auto arena = Cl::Arena::allocating(backend<Cl>(), {});
  ASSERT_TRUE(arena);
  const auto queue = Cl::Queue::make(&backend<Cl>(), *arena, {.rows = 1, .head_dim = 1 << 28});
  ASSERT_FALSE(queue);
  EXPECT_EQ(queue.error().code, Errc::unsupported);
}

struct Bench {
  Cl::Arena arena;
  Cl::Queue queue;
};
Bench bench(const QueueLimits& limits) {
  auto arena = Cl::Arena::allocating(backend<Cl>(), {});
  EXPECT_TRUE(arena);
  auto queue = Cl::Queue::make(&backend<Cl>(), *arena, limits);
  EXPECT_TRUE(queue);
  return {std::move(*arena), std::move(*queue)};
}

TEST(OpenClQueue, failing_operation_sticks_until_download_and_is_named_there) {
  Bench b = bench({.rows = 1});
  const Cl::Rows x = b.arena.rows(1, 4);
  ASSERT_TRUE(b.arena.finish());
  const std::vector<token_t> ids{0};
  b.queue.begin(step<Cl::Kv>(ids));
  EXPECT_TRUE(b.queue.end_layer());
  b.queue.add(x, Cl::Rows{nullptr, 1, 4}, 1.f);
  b.queue.select(Cl::Rows{}, x);
  EXPECT_FALSE(b.queue.end_layer());
  f32 out[4] = {};
  const auto first = b.queue.download(x, out);
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::device);
  EXPECT_EQ(first.error().what, "add");
  EXPECT_EQ(first.error().got, "CL_INVALID_MEM_OBJECT");

  b.queue.begin(step<Cl::Kv>(ids));  // the next step starts afresh
  b.queue.add(x, x, 1.f);
  EXPECT_TRUE(b.queue.end_layer());
  EXPECT_TRUE(b.queue.download(x, out));
}

TEST(OpenClQueue, launch_that_the_driver_refuses_comes_back_from_download) {
  Bench b = bench({.rows = 1});
  const Cl::Rows x = b.arena.rows(1, 4);
  ASSERT_TRUE(b.arena.finish());
  b.queue.rope(x, 1, {.head_dim = 4, .rotary_dim = 1 << 30});  // no device has so much local memory
  const auto error = b.queue.download(x.first(0), {});
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, Errc::device);
  EXPECT_EQ(error.error().what, "rope");
}

TEST(OpenClQueue, queue_that_was_never_made_fails_instead_of_crashing) {
  Cl::Queue queue;
  f32 out[4] = {};
  EXPECT_FALSE(queue.download(Cl::Rows{nullptr, 1, 4}, out));
  queue.add({nullptr, 1, 4}, {nullptr, 1, 4}, 1.f);
  EXPECT_FALSE(queue.download({}, {}));
}

TEST(OpenClQueue, cancelling_ends_the_step_and_the_next_one_works) {
  Bench b = bench({.rows = 1});
  const Cl::Rows x = b.arena.rows(1, 4);
  ASSERT_TRUE(b.arena.finish());
  const std::vector<token_t> ids{0};
  std::atomic<bool> cancel{false};
  b.queue.begin(step<Cl::Kv>(ids, {}, {}, &cancel));
  for (int layer = 0; layer < 5; ++layer) EXPECT_TRUE(b.queue.end_layer());
  cancel = true;
  b.queue.add(x, x, 1.f);
  EXPECT_FALSE(b.queue.end_layer());
  EXPECT_TRUE(b.queue.download(x.first(0), {})) << "being cancelled is no device error";
  cancel = false;
  b.queue.begin(step<Cl::Kv>(ids, {}, {}, &cancel));
  EXPECT_TRUE(b.queue.end_layer());
}

TEST(OpenClQueue, step_without_a_layer_end_may_follow_one_that_nobody_waited_for) {
  Bench b = bench({.rows = 2});
  const auto bytes = stored<F32>({1.f, 2.f, 3.f, 4.f});
  const auto m = b.arena.matrix<F32>(bytes, 4, 1);
  const Cl::Rows first = b.arena.rows(2, 1), second = b.arena.rows(2, 1);
  ASSERT_TRUE(b.arena.finish());
  const std::vector<token_t> upper{3, 1}, lower{0, 2};
  b.queue.begin(step<Cl::Kv>(upper));
  b.queue.embed(m, first, 1.f);
  b.queue.begin(step<Cl::Kv>(lower));
  b.queue.embed(m, second, 1.f);
  f32 out[2] = {};
  ASSERT_TRUE(b.queue.download(first, out));
  EXPECT_EQ(out[0], 4.f);
  EXPECT_EQ(out[1], 2.f);
  ASSERT_TRUE(b.queue.download(second, out));
  EXPECT_EQ(out[0], 1.f);
  EXPECT_EQ(out[1], 3.f);
}

/// Keys and values of `length` positions in layers 0 and 1, as saved bytes.
template <class B>
std::vector<std::byte> saved_cache(KvType type, const std::vector<f32>& keys, const std::vector<f32>& values,
                                   int length) {
  std::vector<std::byte> bytes;
  const int kv_heads = 2, head_dim = 64;
  perform<B>({.rows = length, .head_dim = head_dim}, [&](auto& lab) {
    const KvShape shape{.layers = 2, .kv_heads = kv_heads, .head_dim = head_dim, .capacity = length + 3, .type = type};
    auto* kv = lab.kv(shape);
    const auto k = lab.rows(length, keys), v = lab.rows(length, values);
    const std::vector<RopeFrequencies> tables(1);
    const StepSequence<typename B::Kv> sequence{.kv = kv, .rope = &tables, .rows = length};
    const std::vector<token_t> ids(static_cast<std::size_t>(length), 0);
    if (lab.real()) {
      lab.queue().begin(step<typename B::Kv>(ids, {&sequence, 1}));
      lab.queue().kv_store({.cache = 0, .kv_heads = kv_heads, .head_dim = head_dim}, k, v);
      lab.queue().kv_store({.cache = 1, .kv_heads = kv_heads, .head_dim = head_dim}, v, k);
      lab.read(k);
      bytes.resize(kv_state_bytes(shape, length));
      const auto saved = lab.queue().kv_save(*kv, length, bytes);
      EXPECT_TRUE(saved) << saved.error().message();
    }
    return lab.read(k);
  });
  return bytes;
}

TEST(OpenClCache, saved_bytes_are_those_of_a_host_backend) {
  const int length = 5;
  auto keys = random_floats(length * 128, 30), values = random_floats(length * 128, 31);
  for (int i = 0; i < 32; ++i) keys[static_cast<std::size_t>(i)] = 0.f;       // a block of zeros
  for (int i = 32; i < 64; ++i) keys[static_cast<std::size_t>(i)] *= 1e-42f;  // its scale rounds to zero
  for (int i = 64; i < 96; ++i) keys[static_cast<std::size_t>(i)] = static_cast<f32>(i - 80) * 0.5f;  // ties
  keys[64] = 127.f;
  for (int i = 96; i < 128; ++i) keys[static_cast<std::size_t>(i)] *= 1e-6f;  // f16 subnormals
  values[0] = 1e9f;                                                           // a scale beyond f16
  values[40] = -HUGE_VALF;
  for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0}) {
    const auto host = saved_cache<Reference<f32>>(type, keys, values, length);
    const auto device = saved_cache<Cl>(type, keys, values, length);
    ASSERT_FALSE(host.empty());
    EXPECT_EQ(host, device) << "type " << static_cast<int>(type);
  }
}

TEST(OpenClCache, loading_and_copying_give_back_the_first_positions_and_leave_the_rest) {
  Bench b = bench({.rows = 1});
  const KvShape small{.layers = 3, .kv_heads = 2, .head_dim = 32, .capacity = 5, .type = KvType::q8_0};
  KvShape large = small;
  large.capacity = 9;
  const Cl::Kv from = b.arena.kv(small), to = b.arena.kv(large);
  ASSERT_TRUE(b.arena.finish());
  std::vector<std::byte> state(kv_state_bytes(small, 4));
  for (std::size_t i = 0; i < state.size(); ++i) state[i] = static_cast<std::byte>(i * 7 + 1);
  ASSERT_TRUE(b.queue.kv_load(from, 4, state));
  std::vector<std::byte> back(state.size());
  ASSERT_TRUE(b.queue.kv_save(from, 4, back));
  EXPECT_EQ(state, back);

  ASSERT_TRUE(b.queue.kv_copy(from, to, 2));
  std::vector<std::byte> two(kv_state_bytes(large, 2)), want(two.size()), three(kv_state_bytes(large, 3));
  ASSERT_TRUE(b.queue.kv_save(from, 2, want));
  ASSERT_TRUE(b.queue.kv_save(to, 2, two));
  EXPECT_EQ(two, want);
  ASSERT_TRUE(b.queue.kv_save(to, 3, three));
  const std::size_t row = 34;
  for (std::size_t lane = 0; lane < 12; ++lane)
    for (std::size_t i = 0; i < row; ++i)
      EXPECT_EQ(three[lane * 3 * row + 2 * row + i], std::byte{0}) << "a position that was not copied";

  EXPECT_TRUE(b.queue.kv_copy(from, to, 0));
  EXPECT_TRUE(b.queue.kv_save(from, 0, {}));
}

TEST(OpenClCache, positions_beyond_the_capacity_and_wrong_sizes_are_bad_arguments) {
  Bench b = bench({.rows = 1});
  const Cl::Kv kv = b.arena.kv({.layers = 1, .kv_heads = 1, .head_dim = 32, .capacity = 4, .type = KvType::f16});
  ASSERT_TRUE(b.arena.finish());
  std::vector<std::byte> bytes(kv_state_bytes(kv.shape, 5));
  for (const auto& result : {b.queue.kv_save(kv, 5, bytes), b.queue.kv_load(kv, -1, bytes), b.queue.kv_copy(kv, kv, 5),
                             b.queue.kv_save(kv, 4, bytes)}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::bad_argument);
  }
}

}  // namespace
