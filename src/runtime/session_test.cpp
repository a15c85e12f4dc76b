// Sessions: results, batches, what callers may do wrong, sharing, and loading with little memory.
#include "runtime/session.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "base/checked.h"
#include "runtime/test_kernels.h"

namespace hai::runtime {
namespace {

using testing::run;
using testing::test_registry;
using testing::TestBuffers;

std::shared_ptr<Model> load(const format::ModelFile& file) {
  auto bytes = std::make_shared<std::vector<std::byte>>(format::serialize(file).value());
  struct Held final : ByteSource {
    explicit Held(std::shared_ptr<std::vector<std::byte>> held)
        : bytes(std::move(held)), source(memory_source(*bytes)) {}
    int64_t size_bytes() const override { return source->size_bytes(); }
    Status read_at(int64_t offset, std::span<std::byte> out) const override { return source->read_at(offset, out); }
    std::shared_ptr<std::vector<std::byte>> bytes;
    std::shared_ptr<const ByteSource> source;
  };
  auto model = Model::load(std::make_shared<Held>(bytes), "test", test_registry());
  EXPECT_TRUE(model) << model.error().to_string();
  return std::move(model).value();
}

std::shared_ptr<Model> test_model() { return load(format::testing::make_test_model()); }

std::unique_ptr<Session> make_session(const std::shared_ptr<Model>& model, SessionOptions options = {}) {
  if (options.threads == 0) options.threads = 1;
  auto session = Session::create(model, options);
  EXPECT_TRUE(session) << session.error().to_string();
  return std::move(session).value();
}

TEST(SessionTest, EveryBatchInAnyOrder) {
  for (const int threads : {1, 3}) {
    SessionOptions options;
    options.threads = threads;
    const auto session = make_session(test_model(), options);
    for (const int64_t batch : {1, 16, 2, 7, 16, 1, 13}) {
      TestBuffers buffers(batch, static_cast<float>(batch));
      const Status status = run(*session, buffers);
      ASSERT_TRUE(status) << status.error().to_string();
      EXPECT_EQ(buffers.y, buffers.expected()) << "batch " << batch;
    }
    EXPECT_EQ(session->capacity_batch(), 16);
  }
}

TEST(SessionTest, MemoryIsMadeForMaxBatch) {
  SessionOptions options;
  options.max_batch = 9;
  const auto session = make_session(test_model(), options);
  EXPECT_EQ(session->capacity_batch(), 9);
  EXPECT_EQ(session->arena_bytes(), 9 * 64 + 64);
  EXPECT_GE(session->packed_bytes(), 13 * 4);
  options.max_batch = 17;
  EXPECT_EQ(Session::create(test_model(), options).error().id, "R014");
}

struct Misuse {
  const char* name;
  void (*change)(TestBuffers& buffers);
  const char* id;
};
void PrintTo(const Misuse& value, std::ostream* out) { *out << value.name; }

class SessionMisuseTest : public ::testing::TestWithParam<Misuse> {};

TEST_P(SessionMisuseTest, IsRefusedAndHarmless) {
  const auto session = make_session(test_model());
  TestBuffers buffers(2);
  GetParam().change(buffers);
  const Status status = run(*session, buffers);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().id, GetParam().id) << status.error().to_string();
  TestBuffers good(2);
  ASSERT_TRUE(run(*session, good));
  EXPECT_EQ(good.y, good.expected());
}

INSTANTIATE_TEST_SUITE_P(
    All, SessionMisuseTest,
    ::testing::Values(Misuse{"dtype", [](TestBuffers& b) { b.input.dtype = HAI_F64; }, "R022"},
                      Misuse{"dtype_unknown", [](TestBuffers& b) { b.input.dtype = 99; }, "R022"},
                      Misuse{"dtype_negative", [](TestBuffers& b) { b.input.dtype = -1; }, "R022"},
                      Misuse{"rank", [](TestBuffers& b) { b.input.rank = 3; }, "R023"},
                      Misuse{"rank_negative", [](TestBuffers& b) { b.input.rank = -2; }, "R023"},
                      Misuse{"rank_huge", [](TestBuffers& b) { b.input.rank = 1000; }, "R023"},
                      Misuse{"width", [](TestBuffers& b) { b.input.dims[1] = 12; }, "R025"},
                      Misuse{"batch_zero", [](TestBuffers& b) { b.input.dims[0] = 0; }, "R025"},
                      Misuse{"batch_negative", [](TestBuffers& b) { b.input.dims[0] = -2; }, "R025"},
                      Misuse{"batch_beyond", [](TestBuffers& b) { b.input.dims[0] = 17; }, "R014"},
                      Misuse{"batch_overflow", [](TestBuffers& b) { b.input.dims[0] = INT64_MAX; }, "R014"},
                      Misuse{"input_too_small", [](TestBuffers& b) { b.input.size_bytes -= 1; }, "R020"},
                      Misuse{"input_null", [](TestBuffers& b) { b.input.data = nullptr; }, "R020"},
                      Misuse{"output_null", [](TestBuffers& b) { b.output.data = nullptr; }, "R020"},
                      Misuse{"output_batch", [](TestBuffers& b) { b.output.dims[0] = 1; }, "R027"},
                      Misuse{"output_dtype", [](TestBuffers& b) { b.output.dtype = HAI_I8; }, "R022"},
                      Misuse{"misaligned",
                             [](TestBuffers& b) {
                               b.x.push_back(0);
                               b.input.data = reinterpret_cast<std::byte*>(b.x.data()) + 1;
                             },
                             "R021"},
                      Misuse{"overlap", [](TestBuffers& b) { b.output.data = b.x.data(); }, "R028"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(SessionTest, CountsOfBuffers) {
  const auto session = make_session(test_model());
  TestBuffers buffers(1);
  EXPECT_EQ(session->run({}, std::span(&buffers.output, 1)).error().id, "R024");
  EXPECT_EQ(session->run(std::span(&buffers.input, 1), {}).error().id, "R026");
}

TEST(SessionTest, Options) {
  const auto model = test_model();
  const auto id_of = [&](SessionOptions options) {
    const auto session = Session::create(model, options);
    return session ? std::string("ok") : session.error().id;
  };
  EXPECT_EQ(id_of({.device = "tpu"}), "R013");
  EXPECT_EQ(id_of({.isa = "mmx"}), "R010");
  EXPECT_EQ(id_of({.threads = -1}), "R011");
  EXPECT_EQ(id_of({.threads = 100000}), "R011");
  EXPECT_EQ(id_of({.trace_events = -1}), "R012");
  EXPECT_EQ(id_of({.isa = "scalar", .threads = 0}), "ok");
  const char* forced = std::getenv("HAI_CPU");
  const std::optional<std::string> before = forced == nullptr ? std::nullopt : std::optional<std::string>(forced);
  ASSERT_EQ(::setenv("HAI_CPU", "abacus", 1), 0);
  EXPECT_NE(id_of({}), "ok");
  ASSERT_EQ(::setenv("HAI_CPU", "scalar", 1), 0);
  const auto session = Session::create(model, {});
  ASSERT_EQ(before ? ::setenv("HAI_CPU", before->c_str(), 1) : ::unsetenv("HAI_CPU"), 0);
  ASSERT_TRUE(session);
  EXPECT_EQ((*session)->isa(), cpu::Isa::kScalar);
}

TEST(SessionTest, AFileWithoutAProgramCanBeLookedAtOnly) {
  format::ModelFile file = format::testing::make_test_model();
  file.programs.clear();
  const auto model = load(file);
  EXPECT_EQ(model->file().interface().inputs.size(), 1U);
  EXPECT_EQ(Session::create(model, {}).error().id, "F047");
}

TEST(SessionTest, TheFirstDeviceThatThisBuildHas) {
  format::ModelFile file = format::testing::make_test_model();
  file.programs.insert(file.programs.begin(), file.programs[0]);
  file.programs[0].device = "abacus";
  EXPECT_EQ(make_session(load(file))->device(), "cpu");
  file.programs.pop_back();
  const auto session = Session::create(load(file), {});
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().id, "R013");
  EXPECT_NE(session.error().message.find("abacus"), std::string::npos);
}

TEST(SessionTest, UnknownKernelAndKernelThatRefuses) {
  format::ModelFile file = format::testing::make_test_model();
  file.programs[0].instructions[1].kernel = "conv9d";
  const auto unknown = Session::create(load(file), {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().id, "R002");
  EXPECT_NE(unknown.error().to_string().find("layer/add"), std::string::npos);
  file = format::testing::make_test_model();
  file.programs[0].instructions[0].inputs = {0};
  EXPECT_FALSE(Session::create(load(file), {}));
}

TEST(SessionTest, SessionsShareOneExecutable) {
  const auto model = test_model();
  const auto a = make_session(model);
  const auto b = make_session(model);
  EXPECT_EQ(&a->program(), &b->program());
}

TEST(SessionTest, ManySessionsAtOnce) {
  const auto model = test_model();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto session = Session::create(model, {.threads = 1 + t % 2, .profile = t == 0, .trace_events = 16 * t});
      if (!session) {
        ++wrong;
        return;
      }
      for (int i = 0; i < 50; ++i) {
        TestBuffers buffers(1 + (i * (t + 1)) % 16, static_cast<float>(t));
        if (!run(**session, buffers) || buffers.y != buffers.expected()) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(SessionTest, OneSessionInTwoThreadsRefusesOrRuns) {
  const auto session = make_session(test_model());
  std::atomic<int> refused{0};
  std::atomic<int> wrong{0};
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      TestBuffers buffers(4, 3.0F);
      const Status status = run(*session, buffers);
      if (status) {
        if (buffers.y != buffers.expected()) ++wrong;
      } else {
        if (status.error().id != "R029") ++wrong;
        ++refused;
      }
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(SessionTest, ProfileAndTrace) {
  const auto session = make_session(test_model(), {.profile = true, .trace_events = 4});
  for (int i = 0; i < 5; ++i) {
    TestBuffers buffers(3);
    ASSERT_TRUE(run(*session, buffers));
  }
  ASSERT_EQ(session->profile().size(), 2U);
  EXPECT_EQ(session->profile()[0].calls, 5);
  EXPECT_GE(session->profile()[0].total_ns, 5 * session->profile()[0].min_ns);
  EXPECT_EQ(session->labels()[0].kernel, "test_scale");
  EXPECT_EQ(session->labels()[0].macs_per_sample, 13);
  EXPECT_EQ(session->labels()[0].bytes_per_sample, 2 * 13 * 4);
  EXPECT_EQ(session->labels()[0].bytes_fixed, 13 * 4);
  const std::string trace = session->trace();
  EXPECT_NE(trace.find(R"("name":"layer/add")"), std::string::npos) << trace;
  EXPECT_NE(trace.find(R"("macs":39)"), std::string::npos) << trace;
  EXPECT_NE(trace.find(R"("time":"measured")"), std::string::npos);
  size_t events = 0;
  for (size_t at = trace.find("\"ph\":\"X\""); at != std::string::npos; at = trace.find("\"ph\":\"X\"", at + 1))
    ++events;
  EXPECT_EQ(events, 4U) << "the ring holds the last four";
  session->set_profiling(false);
  EXPECT_EQ(session->profile()[0].calls, 0);
}

TEST(TraceTest, NamesOfAnyBytesGiveValidJson) {
  TraceRing ring(1);
  ring.add({0, 1, 1234567, 89});
  const std::vector<TraceLabel> labels = {{"a\"b\\c\n\x01\xff\xc3\xa9\xed\xa0\x80", "k", 2, 3, 4}};
  const std::string json = trace_json(ring, labels, "row", 1, "cpu");
  EXPECT_NE(json.find(R"("a\"b\\c\u000a\u0001\ufffd)"
                      "\xc3\xa9"
                      R"(\ufffd\ufffd\ufffd")"),
            std::string::npos)
      << json;
  EXPECT_NE(json.find(R"("ts":1234.567,"dur":0.089)"), std::string::npos) << json;
}

// A constant operand that is read at each run, an alias, a fixed tensor and a second reader of an output.
TEST(SessionTest, ConstantsAliasesFixedTensorsAndOutputsThatAreRead) {
  using format::TensorPlace;
  using format::testing::make_tensor;
  format::ModelFile file = format::testing::make_test_model();
  file.graph.reset();
  format::Program& p = file.programs[0];
  const Shape row = {Dim(testing::kTestWidth)};
  p.tensors.push_back(make_tensor("w2", row, TensorPlace::kFixed, 0, 64));   // 4 = w + w
  p.tensors.push_back(make_tensor("z", row, TensorPlace::kOutput, 1));       // 5 = w2 + alias(w)
  p.tensors.push_back(make_tensor("w_alias", row, TensorPlace::kAlias, 1));  // 6
  p.tensors.push_back(make_tensor("z2", row, TensorPlace::kOutput, 2));      // 7 = z + w
  p.tensors.push_back(make_tensor("z_alias", row, TensorPlace::kAlias, 5));  // 8
  p.fixed_bytes = 128;
  const auto add = [](uint32_t a, uint32_t b, uint32_t y) {
    format::Instruction instruction;
    instruction.kernel = "test_add";
    instruction.inputs = {a, b};
    instruction.outputs = {y};
    return instruction;
  };
  p.instructions.push_back(add(1, 1, 4));
  p.instructions.push_back(add(4, 6, 5));
  p.instructions.push_back(add(8, 1, 7));
  p.outputs = {3, 5, 7};
  const auto session = make_session(load(file));
  const std::vector<float> w = format::testing::test_weights();
  for (const int64_t batch : {1, 5, 3}) {
    TestBuffers buffers(batch);
    std::vector<float> z(w.size());
    std::vector<float> z2(w.size());
    const hai_tensor outputs[] = {buffers.output, testing::tensor_of(z, {13}), testing::tensor_of(z2, {13})};
    const Status status = session->run(std::span(&buffers.input, 1), outputs);
    ASSERT_TRUE(status) << status.error().to_string();
    EXPECT_EQ(buffers.y, buffers.expected());
    for (size_t i = 0; i < w.size(); ++i) {
      EXPECT_EQ(z[i], 3 * w[i]);
      EXPECT_EQ(z2[i], 4 * w[i]);
    }
  }
}

// Records in which order kernels are made, and checks that their constants are the ones of the file.
std::vector<std::string> made_order;
class TestRecord final : public cpu::CpuKernel {
 public:
  static Result<std::unique_ptr<cpu::CpuKernel>> make(const cpu::KernelContext& context) {
    made_order.push_back(context.instruction.name);
    for (const TensorView& constant : context.constants) {
      if (constant.data == nullptr) continue;
      const auto* words = data_of<uint32_t>(constant);
      const uint32_t first = words[0];
      for (int64_t i = 0; i < constant.count(); ++i) {
        if (words[i] != first + static_cast<uint32_t>(i)) return context.refuse("got other bytes than the file's");
      }
    }
    return std::unique_ptr<cpu::CpuKernel>(std::make_unique<TestRecord>());
  }
  void run(const cpu::RunContext&) const override {}
};

TEST(ExecutableTest, LargeConstantsFirstAndAllAsInTheFile) {
  using format::TensorPlace;
  format::ModelFile file;
  format::Program program;
  program.device = "cpu";
  auto words = std::make_shared<std::vector<uint32_t>>();
  const int64_t counts[] = {13, 1'000'000, 127, 400'000, 19, 300'000};
  std::vector<uint32_t> constants;
  for (const int64_t count : counts) {
    format::ProgramTensor tensor = format::testing::make_tensor(
        fmt::format("c{}", count), {Dim(count)}, TensorPlace::kConstant, 0, static_cast<int64_t>(words->size()) * 4);
    tensor.dtype = DataType::kU32;
    constants.push_back(static_cast<uint32_t>(program.tensors.size()));
    program.tensors.push_back(tensor);
    for (int64_t i = 0; i < count; ++i) words->push_back(static_cast<uint32_t>(count * 7 + i));
    words->resize(static_cast<size_t>(align_up(static_cast<int64_t>(words->size()), 16)));
  }
  for (size_t i = 0; i < std::size(counts); ++i) {
    const auto output = static_cast<uint32_t>(program.tensors.size());
    program.tensors.push_back(
        format::testing::make_tensor(fmt::format("y{}", i), {Dim(1)}, TensorPlace::kOutput, static_cast<uint32_t>(i)));
    program.outputs.push_back(output);
    format::Instruction instruction;
    instruction.kernel = "test_record";
    instruction.name = fmt::format("{}", counts[i]);
    instruction.inputs = {constants[i], constants[0]};
    instruction.outputs = {output};
    program.instructions.push_back(instruction);
  }
  file.programs = {program};
  file.weights.push_back({0, std::as_bytes(std::span(*words)), words});
  const auto bytes = format::serialize(file);
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  cpu::ExecRegistry registry;
  registry.add("test_record", TestRecord::make);
  made_order.clear();
  const auto model = Model::load(memory_source(*bytes), "test", registry);
  ASSERT_TRUE(model);
  const auto session = Session::create(*model, {});
  ASSERT_TRUE(session) << session.error().to_string();
  EXPECT_EQ(made_order, (std::vector<std::string>{"1000000", "400000", "300000", "13", "127", "19"}));
}

class ModelOnDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() / fmt::format("hai_session_test_{}.hai", ::getpid())).string();
    ASSERT_TRUE(format::write_model_file(path_, format::testing::make_test_model()));
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_;
};

TEST_F(ModelOnDiskTest, AFileThatShrinksIsAnError) {
  const auto whole = std::filesystem::file_size(path_);
  for (const uintmax_t size : {uintmax_t{0}, uintmax_t{100}, whole / 2, whole - 1}) {
    ASSERT_TRUE(format::write_model_file(path_, format::testing::make_test_model()));
    const auto model = Model::load_file(path_, test_registry());
    ASSERT_TRUE(model) << model.error().to_string();
    std::filesystem::resize_file(path_, size);
    const auto session = Session::create(*model, {});
    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().code, StatusCode::kCorrupt) << session.error().to_string();
    EXPECT_EQ((*model)->file().verify_all().error().code, StatusCode::kCorrupt);
  }
}

TEST_F(ModelOnDiskTest, WeightsChangedAfterLoadingAreNotUsed) {
  const auto model = Model::load_file(path_, test_registry());
  ASSERT_TRUE(model);
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('\x7f');
  }
  const auto session = Session::create(*model, {});
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().id, "F049");
}

TEST_F(ModelOnDiskTest, ASessionOutlivesModelAndFile) {
  auto model = Model::load_file(path_, test_registry());
  ASSERT_TRUE(model);
  const auto session = make_session(*model);
  *model = nullptr;
  std::filesystem::remove(path_);
  TestBuffers buffers(2);
  ASSERT_TRUE(run(*session, buffers));
  EXPECT_EQ(buffers.y, buffers.expected());
}

}  // namespace
}  // namespace hai::runtime
