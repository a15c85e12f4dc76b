// The C interface and its C++ wrapper, as a user calls them: over kernels that every build has.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "hai/hai.hpp"
#include "runtime/test_kernels.h"

namespace {

using hai::runtime::testing::make_plain_model;
using hai::runtime::testing::TestBuffers;

class CApiTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("hai_c_api_test_{}", ::getpid());
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / "plain.hai").string();
    ASSERT_TRUE(hai::format::write_model_file(path_, make_plain_model()));
    ASSERT_EQ(hai_model_load(path_.c_str(), &model_), HAI_OK) << hai_last_error();
  }
  void TearDown() override {
    hai_model_release(model_);
    std::filesystem::remove_all(folder_);
  }
  std::filesystem::path folder_;
  std::string path_;
  hai_model* model_ = nullptr;
};

TEST_F(CApiTest, ModelSpeaksOfItself) {
  EXPECT_STREQ(hai_model_name(model_), "test");
  ASSERT_EQ(hai_model_input_count(model_), 1U);
  const hai_tensor_info* input = hai_model_input(model_, 0);
  ASSERT_NE(input, nullptr);
  EXPECT_STREQ(input->name, "x");
  EXPECT_EQ(input->dtype, HAI_F32);
  ASSERT_EQ(input->rank, 2);
  EXPECT_EQ(input->dims[0].symbol, 0);
  EXPECT_EQ(input->dims[1].value, 13);
  EXPECT_EQ(input->scale_count, 0);
  EXPECT_EQ(hai_model_input(model_, 1), nullptr);
  EXPECT_STREQ(hai_model_output(model_, 0)->name, "y");
  ASSERT_EQ(hai_model_symbol_count(model_), 1U);
  EXPECT_STREQ(hai_model_symbol(model_, 0)->name, "N");
  EXPECT_EQ(hai_model_symbol(model_, 0)->max, 16);
  EXPECT_EQ(hai_model_metadata_count(model_), 2U);
  EXPECT_STREQ(hai_model_metadata_key(model_, 0), "licence");
  EXPECT_STREQ(hai_model_metadata_value(model_, "licence"), "MIT");
  EXPECT_EQ(hai_model_metadata_value(model_, "none"), nullptr);
  EXPECT_STREQ(hai_model_program_device(model_, 0), "cpu");
  EXPECT_STREQ(hai_model_quantization_report(model_), R"({"layers": []})");
  const hai_preprocessing* picture = hai_model_preprocessing(model_);
  ASSERT_NE(picture, nullptr);
  EXPECT_EQ(picture->width, 13);
  EXPECT_EQ(picture->mean[0], 123.5F);
  EXPECT_EQ(hai_model_section_count(model_), 7U);
  EXPECT_STREQ(hai_model_section(model_, 0)->kind, "graph");
  EXPECT_EQ(std::strlen(hai_model_section(model_, 0)->sha256), 64U);
  EXPECT_EQ(std::strlen(hai_model_sha256(model_)), 64U);
  EXPECT_EQ(hai_model_file_size(model_), std::filesystem::file_size(path_));
  EXPECT_EQ(hai_model_verify(model_), HAI_OK);
  int64_t dims[HAI_MAX_RANK];
  int32_t rank = 0;
  ASSERT_EQ(hai_model_output_dims(model_, 0, 5, dims, &rank), HAI_OK);
  EXPECT_EQ(rank, 2);
  EXPECT_EQ(dims[0], 5);
  EXPECT_EQ(hai_model_output_dims(model_, 0, 17, dims, &rank), HAI_OUT_OF_RANGE);
  EXPECT_EQ(hai_model_output_dims(model_, 3, 1, dims, &rank), HAI_OUT_OF_RANGE);
}

TEST_F(CApiTest, Runs) {
  hai_session* session = nullptr;
  hai_session_options options = HAI_SESSION_OPTIONS_INIT;
  options.threads = 2;
  options.profile = 1;
  options.trace_events = 100;
  ASSERT_EQ(hai_session_create(model_, &options, &session), HAI_OK) << hai_last_error();
  TestBuffers buffers(5);
  ASSERT_EQ(hai_session_run(session, &buffers.input, 1, &buffers.output, 1), HAI_OK) << hai_last_error();
  EXPECT_EQ(buffers.y, buffers.expected());
  const hai_layer_profile* layers = nullptr;
  size_t count = 0;
  ASSERT_EQ(hai_session_profile(session, &layers, &count), HAI_OK);
  ASSERT_EQ(count, 2U);
  EXPECT_STREQ(layers[1].kernel, "add");
  EXPECT_EQ(layers[0].macs, 5 * 13);
  hai_memory_info memory = HAI_MEMORY_INFO_INIT;
  ASSERT_EQ(hai_session_memory(session, &memory), HAI_OK);
  EXPECT_EQ(memory.batch, 5);
  EXPECT_EQ(memory.arena_lower_bound_bytes, 64);
  const std::string trace = (folder_ / "trace.json").string();
  ASSERT_EQ(hai_session_write_trace(session, trace.c_str()), HAI_OK) << hai_last_error();
  const char* json = nullptr;
  ASSERT_EQ(hai_session_trace_json(session, &json), HAI_OK);
  EXPECT_EQ(hai::read_file(trace, 1 << 20).value_or(""), json);
  EXPECT_EQ(hai_session_write_trace(session, "/no/such/folder/trace.json"), HAI_NOT_FOUND);
  EXPECT_STREQ(hai_session_device(session), "cpu");
  EXPECT_EQ(hai_session_thread_count(session), 2);
  EXPECT_NE(std::string(hai_session_isa(session)), "");
  hai_session_release(session);
}

TEST_F(CApiTest, ErrorsHaveCodeAndText) {
  hai_model* none = model_;
  EXPECT_EQ(hai_model_load("/no/such/file.hai", &none), HAI_NOT_FOUND);
  EXPECT_EQ(none, nullptr);
  EXPECT_NE(std::string(hai_last_error()).find("/no/such/file.hai"), std::string::npos);
  EXPECT_EQ(hai_model_load(nullptr, &none), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(hai_model_load(path_.c_str(), nullptr), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(hai_model_load_memory("abc", 3, &none), HAI_CORRUPT);
  EXPECT_EQ(hai_model_load_memory(nullptr, 3, &none), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(hai_session_create(nullptr, nullptr, nullptr), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(hai_session_run(nullptr, nullptr, 0, nullptr, 0), HAI_INVALID_ARGUMENT);
  hai_session* session = nullptr;
  hai_session_options options = HAI_SESSION_OPTIONS_INIT;
  options.isa = "mmx";
  EXPECT_EQ(hai_session_create(model_, &options, &session), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(session, nullptr);
  // Another thread has no part in this one's error.
  std::thread([] { EXPECT_STREQ(hai_last_error(), ""); }).join();
  EXPECT_NE(std::string(hai_last_error()), "");
  ASSERT_EQ(hai_session_create(model_, nullptr, &session), HAI_OK);
  EXPECT_EQ(hai_session_run(session, nullptr, 1, nullptr, 1), HAI_INVALID_ARGUMENT);
  hai_session_release(session);
  hai_model_release(nullptr);
  hai_session_release(nullptr);
  EXPECT_EQ(hai_model_input_count(nullptr), 0U);
  EXPECT_EQ(hai_model_input(nullptr, 0), nullptr);
}

TEST_F(CApiTest, FaultsAreForSimulatedDevices) {
  hai_session* session = nullptr;
  hai_session_options options = HAI_SESSION_OPTIONS_INIT;
  for (const char* faults : {"flip,seed=1", ""}) {
    options.inject = faults;
    EXPECT_EQ(hai_session_create(model_, &options, &session), HAI_UNSUPPORTED);
    EXPECT_EQ(session, nullptr);
    EXPECT_NE(std::string(hai_last_error()).find("HAI-R030"), std::string::npos) << hai_last_error();
  }
  options.inject = nullptr;
  ASSERT_EQ(hai_session_create(model_, &options, &session), HAI_OK);
  const char* json = nullptr;
  ASSERT_EQ(hai_session_fault_report(session, &json), HAI_OK);
  EXPECT_STREQ(json, "[]");
  EXPECT_EQ(hai_session_fault_report(session, nullptr), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(hai_session_fault_report(nullptr, &json), HAI_INVALID_ARGUMENT);
  EXPECT_EQ(json, nullptr);
  hai_session_release(session);
}

// A caller that was compiled with an older or a newer header.
TEST_F(CApiTest, StructuresOfOtherVersions) {
  hai_session* session = nullptr;
  hai_session_options options = HAI_SESSION_OPTIONS_INIT;
  options.trace_events = -5;  // not seen by a shorter structure
  options.struct_size = offsetof(hai_session_options, trace_events);
  ASSERT_EQ(hai_session_create(model_, &options, &session), HAI_OK) << hai_last_error();
  hai_session_release(session);
  options.struct_size = 0;
  EXPECT_EQ(hai_session_create(model_, &options, &session), HAI_INVALID_ARGUMENT);
  struct {
    hai_session_options known = HAI_SESSION_OPTIONS_INIT;
    int64_t future = 0;
  } longer;
  longer.known.struct_size = sizeof(longer);
  ASSERT_EQ(hai_session_create(model_, &longer.known, &session), HAI_OK) << hai_last_error();
  hai_session_release(session);
  longer.future = 1;
  EXPECT_EQ(hai_session_create(model_, &longer.known, &session), HAI_UNSUPPORTED);
}

TEST_F(CApiTest, HandlesMayBeReleasedInAnyOrder) {
  hai_model* model = nullptr;
  ASSERT_EQ(hai_model_load(path_.c_str(), &model), HAI_OK);
  hai_session* session = nullptr;
  ASSERT_EQ(hai_session_create(model, nullptr, &session), HAI_OK);
  hai_model_release(model);
  TestBuffers buffers(2);
  EXPECT_EQ(hai_session_run(session, &buffers.input, 1, &buffers.output, 1), HAI_OK);
  EXPECT_EQ(buffers.y, buffers.expected());
  hai_session_release(session);
}

TEST(CApiNamesTest, NamesAndDevices) {
  EXPECT_STREQ(hai_status_name(HAI_CORRUPT), "corrupt");
  EXPECT_STREQ(hai_dtype_name(HAI_I8), "i8");
  EXPECT_STREQ(hai_dtype_name(-1), "?");
  EXPECT_EQ(hai_dtype_bits(HAI_U4), 4);
  EXPECT_EQ(hai_dtype_bits(99), 0);
  ASSERT_GE(hai_device_count(), 1U);
  EXPECT_STREQ(hai_device(0)->name, "cpu");
  EXPECT_NE(std::string(hai_device(0)->isas).find("scalar"), std::string::npos);
  EXPECT_GE(hai_device(0)->thread_count, 1);
  EXPECT_EQ(hai_device(hai_device_count()), nullptr);
  EXPECT_NE(std::string(hai_version()), "");
}

TEST_F(CApiTest, WrapperRuns) {
  const auto model = hai::api::Model::load(path_);
  ASSERT_TRUE(model);
  auto session = model->session();
  ASSERT_TRUE(session);
  auto input = model->make_input(0, 3);
  ASSERT_TRUE(input);
  EXPECT_EQ(input->as<double>(), nullptr);
  for (size_t i = 0; i < input->count<float>(); ++i) input->as<float>()[i] = 2.0F;
  auto outputs = session->run({*input});
  ASSERT_TRUE(outputs) << outputs.error().message;
  ASSERT_EQ(outputs->size(), 1U);
  EXPECT_EQ((*outputs)[0].dims(), (std::vector<int64_t>{3, 13}));
  EXPECT_EQ((*outputs)[0].as<float>()[13], 2.0F * -3.5F + 2.0F);
  const auto wrong = session->run({hai::api::Tensor(HAI_F32, {3, 12})});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, HAI_INVALID_ARGUMENT);
  EXPECT_NE(wrong.error().message.find("[N, 13]"), std::string::npos) << wrong.error().message;
  EXPECT_EQ(model->make_input(0, 17).error().code, HAI_OUT_OF_RANGE);
  EXPECT_TRUE(model->verify());
  EXPECT_EQ(session->memory()->batch, 3);
  EXPECT_FALSE(hai::api::Model::load("/no/such/file"));
}

}  // namespace
