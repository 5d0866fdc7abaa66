#pragma once
// OpenCl<f32>: the operations on any OpenCL 1.2 device; weights are multiplied as stored against f32 activations.
// Semantics: backends/reference.hpp. Sums go through trees that only the kernel texts and the row's own length decide,
// so that results are the same bits for any chunk and batch on one device.

#include "tmodel/backends/opencl/commands.hpp"
#include "tmodel/backends/opencl/memory.hpp"
#include "tmodel/backends/opencl/program.hpp"
#include "tmodel/core/concepts.hpp"

namespace tmodel::inline v0 {

/// The weight formats that have OpenCL kernels.
struct OpenClFormats : FormatSet<F32, F16, Q8_0, Q4_0> {};

struct OpenClOptions {
  int device = 0;  ///< as opencl::list_devices() numbers them
};

template <class T = f32, class FormatList = OpenClFormats>
class OpenCl {
  static_assert(std::is_same_v<T, f32>, "tmodel: OpenCl<T> computes in f32 only");
  static_assert(opencl::has_kernels<FormatList>, "tmodel: OpenCl has no kernel for this weight format");

 public:
  static constexpr std::string_view name = "opencl";
  using Options = OpenClOptions;
  using Formats = FormatList;
  using Ops = AllOps;
  using Rows = opencl::Rows;
  using Vec = opencl::Vec;
  using Kv = opencl::Kv;
  using Routes = opencl::Routes;
  using Arena = opencl::Arena;
  template <class Q>
  using Matrix = opencl::Matrix<Q>;
  template <class Q>
  using Experts = opencl::Experts<Q>;
  using Prepared = Rows;
  class Queue;

  /// Opens a device and compiles the kernels for it. Errors: bad_argument (no such device), device, unsupported (what
  /// the device lacks), out_of_memory.
  static expected<OpenCl> open(const Options& options) {
    return guard([&]() -> expected<OpenCl> {
      OpenCl backend;
      TMODEL_TRY(backend.device_, opencl::Device::open(options.device));
      const opencl::Device& device = backend.device_;
      TMODEL_TRY(backend.program_, opencl::build(device.context.get(), device.id, opencl::program_sources<FormatList>(),
                                                 device.build_options));
      return backend;
    });
  }

  const opencl::Device& device() const noexcept { return device_; }

 private:
  opencl::Device device_;
  opencl::Owned<cl_program> program_;
};

template <class T, class FormatList>
class OpenCl<T, FormatList>::Queue {
  using Kernel = opencl::Kernel;
  using FormatKernel = opencl::FormatKernel;
  using Groups = opencl::Groups;
  using Local = opencl::Local;

 public:
  /// Without a backend only the arena counts. Errors: unsupported (head dimension), device, out_of_memory.
  static expected<Queue> make(const OpenCl* backend, Arena& arena, const QueueLimits& limits) {
    Queue q;
    q.rows_ = limits.rows;
    q.pairs_ = limits.rotary_pairs;
    const std::size_t ids = extent(limits.rows) * sizeof(cl_int);
    const std::size_t angles = extent(limits.rope_tables) * q.table_floats() * sizeof(f32);
    q.ids_ = arena.scratch(ids);
    q.wanted_ = arena.scratch(ids);
    q.angles_ = arena.scratch(angles);
    q.host_ids_ = reinterpret_cast<cl_int*>(arena.staging(ids));
    q.host_wanted_ = reinterpret_cast<cl_int*>(arena.staging(ids));
    q.host_angles_ = reinterpret_cast<f32*>(arena.staging(angles));
    if (backend == nullptr) return q;

    const opencl::Device& device = backend->device_;
    const std::size_t local = device.local_memory - std::min(device.local_memory, own_local);
    if (2 * extent(limits.head_dim) * sizeof(f32) > local)  // query and result of attend
      return fail(Errc::unsupported, "head dimension on this OpenCL device", device.info.name,
                  std::to_string(device.local_memory) + " bytes of local memory", std::to_string(limits.head_dim));
    TMODEL_TRY(auto queue, device.make_queue());
    q.commands_ = opencl::Commands(std::move(queue), opencl::group_size, local);
    TMODEL_TRY(q.kernels_, opencl::make_kernels<FormatList>(backend->program_.get(), device));
    return q;
  }

  void begin(const Step<Kv>& step) {
    commands_.wait();  // the staging memory may still be read by a step that nobody waited for
    step_ = step;
    if (host_angles_ == nullptr) return;  // out of memory, which finish() of the arena says
    std::copy(step.tokens.begin(), step.tokens.end(), host_ids_);
    std::copy(step.logit_rows.begin(), step.logit_rows.end(), host_wanted_);
    commands_.upload("token ids", ids_, 0, step.tokens.size_bytes(), host_ids_);
    commands_.upload("logit rows", wanted_, 0, step.logit_rows.size_bytes(), host_wanted_);

    std::size_t tables = 0;
    for (const StepSequence<Kv>& sequence : step.sequences) {
      tables = std::max(tables, sequence.rope->size());
      for (std::size_t table = 0; table < sequence.rope->size(); ++table)
        for (int i = 0; i < sequence.rows; ++i)
          write_angles((*sequence.rope)[table], sequence.origin + sequence.position + i,
                       host_angles_ + table * table_floats() + extent(sequence.first_row + i) * 2 * extent(pairs_));
    }
    const std::size_t used = extent(step.rows()) * 2 * extent(pairs_) * sizeof(f32);
    for (std::size_t table = 0; table < tables; ++table) {
      const std::size_t at = table * table_floats();
      commands_.upload("rope angles", angles_, at * sizeof(f32), used, host_angles_ + at);
    }
  }

  template <class Q>
  void embed(const Matrix<Q>& m, Rows x, f32 scale) {
    const int blocks = x.columns / block_columns<Q>() + 1;  // one more for columns that fill no block
    commands_.launch("embed", kernel<Q>(FormatKernel::embed), {groups_for(extent(blocks)), extent(x.n)}, m.buffer, ids_,
                     x.buffer, scale, x.columns);
  }

  template <NormKind kind>
  void norm(Rows x, const NormWeights<Vec>& w, Rows y) {
    norm_heads<kind>(x, 1, w, y);
  }
  /// Each row as `groups` pieces that are normalised alone. A scale shorter than the row is shared by the pieces.
  template <NormKind kind>
  void norm_heads(Rows x, int groups, const NormWeights<Vec>& w, Rows y) {
    const cl_int n = x.columns / groups;
    const cl_mem bias = w.bias.empty() ? w.scale.buffer : w.bias.buffer;  // some buffer must stand there
    commands_.launch("norm", kernel(Kernel::norm), {extent(x.n) * extent(groups)}, x.buffer, w.scale.buffer, bias,
                     y.buffer, n, cl_int{groups}, flag(w.scale.size > n), flag(!w.bias.empty()),
                     flag(kind == NormKind::layer), w.eps);
  }

  Prepared prepare(Rows x, Acts) { return x; }

  template <class Q>
  void matmul(const Matrix<Q>& m, const Prepared& x, Rows y, Vec bias) {
    const bool several = x.n > 1;
    const std::size_t rows = several ? ceil_divide(extent(x.n), extent(opencl::matmul_rows)) : extent(x.n);
    commands_.launch("matmul", kernel<Q>(several ? FormatKernel::matmul_rows : FormatKernel::matmul_one_row),
                     {ceil_divide(extent(m.rows), extent(opencl::matmul_outputs)), rows}, m.buffer, x.buffer, y.buffer,
                     bias.empty() ? m.buffer : bias.buffer, flag(!bias.empty()), m.buffer, flag(false), x.n, m.columns,
                     m.rows);
  }

  void route(Rows scores, bool normalize, const Routes& routes) {
    commands_.launch("route", kernel(Kernel::route), {groups_for(extent(scores.n))}, scores.buffer, routes.slot,
                     routes.weight, scores.n, routes.experts, routes.used, flag(normalize));
    commands_.launch("sort_routes", kernel(Kernel::sort_routes), {1}, routes.slot, routes.expert, routes.row,
                     routes.first, scores.n * routes.used, routes.experts, routes.used);
  }
  void gather(Rows x, const Routes& routes, Rows y) {
    commands_.launch("gather", kernel(Kernel::gather), {groups_for(extent(x.columns)), extent(y.n)}, x.buffer,
                     routes.row, y.buffer, x.columns);
  }
  template <class Q>
  void expert_matmul(const Experts<Q>& m, const Prepared& x, const Routes& routes, Rows y) {
    commands_.launch("expert_matmul", kernel<Q>(FormatKernel::matmul_one_row),
                     {ceil_divide(extent(m.rows), extent(opencl::matmul_outputs)), extent(x.n)}, m.buffer, x.buffer,
                     y.buffer, m.buffer, flag(false), routes.expert, flag(true), x.n, m.columns, m.rows);
  }
  void combine(Rows x, const Routes& routes, Rows y) {
    commands_.launch("combine", kernel(Kernel::combine), {groups_for(extent(y.columns)), extent(y.n)}, x.buffer,
                     routes.slot, routes.weight, y.buffer, y.columns, routes.used);
  }

  void rope(Rows x, int heads, const AttentionShape& shape) {
    const cl_int pairs = shape.rotary_dim / 2;
    if (pairs == 0) return;
    commands_.launch("rope", kernel(Kernel::rope), {extent(heads), extent(x.n)}, x.buffer, angles_,
                     Local{2 * extent(pairs) * sizeof(f32)}, x.columns, shape.head_dim, pairs,
                     flag(shape.pairing == RopePairing::interleaved), cl_int{shape.rope_table * rows_}, pairs_);
  }

  void kv_store(const AttentionShape& shape, Rows k, Rows v) {
    for (const StepSequence<Kv>& s : step_.sequences) {
      const Kv& kv = *s.kv;
      const std::size_t items =
          kv.shape.type == KvType::q8_0 ? extent(shape.head_dim) / Q8_0::block_len : extent(shape.head_dim);
      commands_.launch("kv_store", kernel(Kernel::kv_store, static_cast<std::size_t>(kv.shape.type)),
                       {groups_for(items), extent(shape.kv_heads), extent(s.rows)}, k.buffer, v.buffer, kv.keys,
                       kv.values, s.first_row, s.position, lane_of(kv, shape).first, shape.kv_heads, shape.head_dim,
                       lane_of(kv, shape).capacity);
    }
  }

  void attend(const AttentionShape& shape, Rows q, Rows out) {
    const Local head{extent(shape.head_dim) * sizeof(f32)};
    for (const StepSequence<Kv>& s : step_.sequences) {
      const Kv& kv = *s.kv;
      commands_.launch("attend", kernel(Kernel::attend, static_cast<std::size_t>(kv.shape.type)),
                       {extent(shape.heads), extent(s.rows)}, q.buffer, kv.keys, kv.values, out.buffer, head, head,
                       s.first_row, s.position, lane_of(kv, shape).first, shape.heads, shape.kv_heads, shape.head_dim,
                       lane_of(kv, shape).capacity, shape.window, shape.scale, shape.softcap, flag(shape.alibi));
    }
  }

  template <Activation act>
  void activate_gate(Rows gate, Rows up) {
    commands_.launch("activate_gate", kernel(Kernel::activate_gate, static_cast<std::size_t>(act)),
                     {groups_for(count(gate))}, gate.buffer, up.buffer, cl_ulong{count(gate)});
  }
  template <Activation act>
  void activate(Rows x) {
    commands_.launch("activate", kernel(Kernel::activate, static_cast<std::size_t>(act)), {groups_for(count(x))},
                     x.buffer, cl_ulong{count(x)});
  }

  void add(Rows x, Rows y, f32 scale) {
    commands_.launch("add", kernel(Kernel::add), {groups_for(count(x))}, x.buffer, y.buffer, scale, cl_ulong{count(x)});
  }

  void select(Rows x, Rows y) {
    commands_.launch("select", kernel(Kernel::select_rows), {groups_for(extent(x.columns)), extent(y.n)}, x.buffer,
                     wanted_, y.buffer, x.columns);
  }

  void finish_logits(Rows x, f32 scale, f32 softcap) {
    if (scale == 1.f && softcap == 0.f) return;
    commands_.launch("finish_logits", kernel(Kernel::finish_logits), {groups_for(count(x))}, x.buffer, scale, softcap,
                     cl_ulong{count(x)});
  }

  bool end_layer() { return commands_.end_layer(step_.cancel); }

  /// Waits, also for nothing but the end of the step (x.n = 0). Errors: the first since the last download.
  expected<void> download(Rows x, std::span<f32> out) {
    const std::size_t bytes = std::min(count(x), out.size()) * sizeof(f32);
    if (bytes != 0) read("download", x.buffer, bytes, out.data());
    return commands_.finish();
  }

  expected<void> kv_copy(const Kv& from, const Kv& to, int length) {
    TMODEL_CHECK(check_length(from, length));
    TMODEL_CHECK(check_length(to, length));
    for (const bool windowed : {false, true}) {
      const int slots = windowed ? std::min(length, from.shape.ring) : length;
      const Lanes a = lanes_of(from.shape, windowed, 0, slots), b = lanes_of(to.shape, windowed, 0, slots);
      if (a.bytes == 0 || a.count == 0) continue;
      const std::size_t origin[3] = {a.first_byte, 0, 0}, target[3] = {b.first_byte, 0, 0}, region[3] = {a.bytes, a.count, 1};
      const auto copy = [&](cl_mem source, cl_mem destination) {
        commands_.call("kv_copy", [&](cl_command_queue queue) {
          return source == nullptr || destination == nullptr
                     ? CL_INVALID_MEM_OBJECT
                     : clEnqueueCopyBufferRect(queue, source, destination, origin, target, region, a.pitch, 0, b.pitch, 0, 0,
                                               nullptr, nullptr);
        });
      };
      copy(from.keys, to.keys);
      copy(from.values, to.values);
    }
    return commands_.finish();
  }
  expected<void> kv_save(const Kv& kv, int length, std::span<std::byte> out) {
    return transfer("kv_save", kv, length, out, [](auto... args) { return clEnqueueReadBufferRect(args...); });
  }
  expected<void> kv_load(const Kv& kv, int length, std::span<const std::byte> in) {
    return transfer("kv_load", kv, length, in, [](auto... args) { return clEnqueueWriteBufferRect(args...); });
  }

 private:
  static std::size_t extent(int n) noexcept { return static_cast<std::size_t>(n); }
  static std::size_t ceil_divide(std::size_t n, std::size_t by) noexcept { return (n + by - 1) / by; }
  static std::size_t groups_for(std::size_t items) noexcept { return ceil_divide(items, opencl::group_size); }
  static std::size_t count(Rows x) noexcept { return extent(x.n) * extent(x.columns); }
  static cl_int flag(bool condition) noexcept { return condition ? 1 : 0; }
  /// Columns that one item of the embedding kernel writes.
  template <class Q>
  static constexpr int block_columns() noexcept {
    return Q::block_len == 1 ? 8 : static_cast<int>(Q::block_len);
  }
  /// Most local memory that a kernel declares itself: a float per item and row of a matrix product.
  static constexpr std::size_t own_local = opencl::matmul_rows * opencl::group_size * sizeof(f32);

  cl_kernel kernel(Kernel which, std::size_t variant = 0) const noexcept {
    return kernels_[opencl::index_of(which, variant)].get();
  }
  template <class Q>
  cl_kernel kernel(FormatKernel which) const noexcept {
    return kernels_[opencl::index_of<FormatList, Q>(which)].get();
  }

  std::size_t table_floats() const noexcept { return 2 * extent(rows_) * extent(pairs_); }
  static void write_angles(const RopeFrequencies& f, pos_t position, f32* out) noexcept {
    for (const f64 inverse : f.inverse) {
      f64 cosine = 0, sine = 0;
      cos_sin(position * inverse, cosine, sine);
      *out++ = static_cast<f32>(cosine * f.magnitude);
      *out++ = static_cast<f32>(sine * f.magnitude);
    }
  }

  void read(const char* what, cl_mem from, std::size_t bytes, void* to) {
    commands_.call(what, [&](cl_command_queue queue) {
      return from == nullptr ? CL_INVALID_MEM_OBJECT
                             : clEnqueueReadBuffer(queue, from, CL_TRUE, 0, bytes, to, 0, nullptr, nullptr);
    });
  }

  static expected<void> check_length(const Kv& kv, int length) {
    if (length >= 0 && length <= kv.shape.capacity) return {};
    return fail(Errc::bad_argument, "positions of a cache", "opencl", "0 to " + std::to_string(kv.shape.capacity),
                std::to_string(length));
  }
  /// Lanes of a layer's heads: vectors before the first, positions of each.
  struct LayerLanes {
    cl_ulong first;
    cl_int capacity;
  };
  static LayerLanes lane_of(const Kv& kv, const AttentionShape& shape) noexcept {
    const KvLane lane = kv_lane(kv.shape, shape.window > 0, shape.cache, 0);
    return {lane.first, lane.capacity};
  }

  /// Slots [begin, end) of all lanes of one kind, as a rectangle of bytes.
  struct Lanes {
    std::size_t first_byte, bytes, count, pitch;
  };
  static Lanes lanes_of(const KvShape& s, bool windowed, int begin, int end) noexcept {
    const std::size_t first = (windowed ? s.full_vectors() : 0) + extent(begin), capacity = extent(windowed ? s.ring : s.capacity);
    return {first * s.row_bytes(), extent(end - begin) * s.row_bytes(), s.lanes(windowed ? s.windowed_layers : s.layers),
            capacity * s.row_bytes()};
  }

  /// Keys, then values, between the device's lanes and a state of `length` tokens on the host, as the host backends lay
  /// it out: the lanes of layers that see everything, then what the window sees of the others.
  template <class Byte, class Enqueue>
  expected<void> transfer(const char* what, const Kv& kv, int length, std::span<Byte> host, Enqueue&& enqueue) {
    TMODEL_CHECK(check_length(kv, length));
    const KvShape& s = kv.shape;
    if (host.size() != kv_state_bytes(s, length))
      return fail(Errc::bad_argument, "size of a saved cache", "opencl", std::to_string(kv_state_bytes(s, length)),
                  std::to_string(host.size()));
    Byte* at = host.data();
    // One rectangle: slots of every lane, on the host `before` bytes into pieces of `pitch`.
    const auto move = [&](cl_mem buffer, const Lanes& lanes, std::size_t before, std::size_t pitch) {
      const std::size_t device[3] = {lanes.first_byte, 0, 0}, from[3] = {before, 0, 0}, region[3] = {lanes.bytes, lanes.count, 1};
      if (lanes.bytes == 0 || lanes.count == 0) return;
      commands_.call(what, [&](cl_command_queue queue) -> cl_int {
        if (buffer == nullptr) return CL_INVALID_MEM_OBJECT;
        return enqueue(queue, buffer, cl_bool{CL_TRUE}, &device[0], &from[0], &region[0], lanes.pitch, std::size_t{0}, pitch,
                       std::size_t{0}, at, cl_uint{0}, nullptr, nullptr);
      });
    };
    for (const cl_mem buffer : {kv.keys, kv.values}) {
      const Lanes all = lanes_of(s, false, 0, length);
      move(buffer, all, 0, all.bytes);
      at += all.bytes * all.count;
      if (s.windowed_layers == 0) continue;
      const int begin = s.window_begin(length), slot = begin % s.ring, before_wrap = std::min(length - begin, s.ring - slot);
      const std::size_t kept = extent(length - begin) * s.row_bytes();
      move(buffer, lanes_of(s, true, slot, slot + before_wrap), 0, kept);
      move(buffer, lanes_of(s, true, 0, length - begin - before_wrap), extent(before_wrap) * s.row_bytes(), kept);
      at += kept * s.lanes(s.windowed_layers);
    }
    return commands_.finish();
  }

  opencl::Commands commands_;
  opencl::Kernels<FormatList> kernels_;
  Step<Kv> step_;
  cl_mem ids_ = nullptr;     // [rows] token ids
  cl_mem wanted_ = nullptr;  // [rows] rows whose logits are wanted
  cl_mem angles_ = nullptr;  // [tables][rows][pairs] cosine and sine
  cl_int* host_ids_ = nullptr;
  cl_int* host_wanted_ = nullptr;
  f32* host_angles_ = nullptr;
  int rows_ = 0;
  int pairs_ = 0;
};

static_assert(Backend<OpenCl<f32>>);

}  // namespace tmodel::inline v0
