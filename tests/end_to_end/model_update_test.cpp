// Update files: the newer model to the last byte, from the one model that they are for; whatever is broken or of
// another model is refused and changes nothing; a full disk or a loss of power at any moment leaves the old model or
// the new one.
#include <fstream>

#include "base/testing/failing_file_system.h"
#include "base/testing/recording_file_system.h"
#include "format/codec.h"
#include "format/container.h"
#include "small_training.h"
#include "training/model_update.h"
#include "training/previous_model.h"

namespace hai {
namespace {

using namespace small_training;
using file_testing::DiskAfterLoss;
using training::apply_update;
using training::make_update;

std::string bytes_of(const std::string& path) { return read_file(path, 1 << 26).value_or("(missing)"); }

void put(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string id_of(const Folder& folder, const std::string& update) {
  const auto applied = apply_update(folder / "old.hai", update, folder / "out.hai");
  return applied ? std::string("none") : applied.error().id;
}

class UpdateTest : public ::testing::Test {
 protected:
  // old.hai, new.hai (trained on from it), u.haiu.
  void prepare(int64_t hidden = 8, int steps = 5) {
    write_model(folder_ / "old.hai", "optimizer=adamw", hidden);
    const auto trainer = make_trainer(folder_ / "old.hai");
    train(*trainer, steps);
    ASSERT_TRUE(trainer->save(folder_ / "new.hai"));
    const auto made = make_update(folder_ / "old.hai", folder_ / "new.hai", folder_ / "u.haiu");
    ASSERT_TRUE(made) << made.error().to_string();
  }
  Folder folder_;
};

TEST_F(UpdateTest, MakesTheNewerModelToTheLastByte) {
  prepare(4096);
  const auto update = training::read_update(folder_ / "u.haiu").value();
  EXPECT_EQ(update.base, training::model_digest(folder_ / "old.hai"));
  EXPECT_EQ(update.result_bytes, static_cast<int64_t>(bytes_of(folder_ / "new.hai").size()));
  EXPECT_LT(update.changed_bytes, update.result_bytes);
  EXPECT_EQ(update.update_bytes, static_cast<int64_t>(bytes_of(folder_ / "u.haiu").size()));
  const auto applied = apply_update(folder_ / "old.hai", folder_ / "u.haiu", folder_ / "out.hai");
  ASSERT_TRUE(applied) << applied.error().to_string();
  EXPECT_FALSE(applied->was_there);
  EXPECT_EQ(bytes_of(folder_ / "out.hai"), bytes_of(folder_ / "new.hai"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.hai.previous"));
  // In place: the old one is kept, and a second time there is nothing to do.
  const std::string old = bytes_of(folder_ / "old.hai");
  ASSERT_TRUE(apply_update(folder_ / "old.hai", folder_ / "u.haiu", folder_ / "old.hai"));
  EXPECT_EQ(bytes_of(folder_ / "old.hai"), bytes_of(folder_ / "new.hai"));
  EXPECT_EQ(bytes_of(folder_ / "old.hai.previous"), old);
  EXPECT_TRUE(apply_update(folder_ / "old.hai", folder_ / "u.haiu", folder_ / "old.hai").value().was_there);
  EXPECT_EQ(bytes_of(folder_ / "old.hai.previous"), old);
  ASSERT_TRUE(training::roll_back(folder_ / "old.hai"));
  EXPECT_EQ(bytes_of(folder_ / "old.hai"), old);
}

TEST_F(UpdateTest, AnyTwoModelsMakeOne) {
  write_model(folder_ / "small.hai");
  write_model(folder_ / "large.hai", "optimizer=sgd", 50'000);
  // The same with weights that are stored compressed, of several chunks.
  auto model = format::read_model_file(folder_ / "large.hai").value();
  ASSERT_TRUE(format::write_model_file(folder_ / "packed.hai", model, {format::Compression::kAlways}));
  auto changed = std::make_shared<std::vector<std::byte>>(model.weights[0].bytes.begin(), model.weights[0].bytes.end());
  changed->back() = std::byte{1};
  model.weights = {{0, *changed, changed}};
  ASSERT_TRUE(format::write_model_file(folder_ / "packed2.hai", model, {format::Compression::kAlways}));
  const char* names[] = {"small.hai", "large.hai", "packed.hai", "packed2.hai"};
  for (const char* from : names) {
    for (const char* to : names) {
      const auto made = make_update(folder_ / from, folder_ / to, folder_ / "u.haiu");
      ASSERT_TRUE(made) << made.error().to_string();
      std::filesystem::remove(folder_ / "out.hai");
      const auto applied = apply_update(folder_ / from, folder_ / "u.haiu", folder_ / "out.hai");
      ASSERT_TRUE(applied) << from << " to " << to << ": " << applied.error().to_string();
      EXPECT_EQ(bytes_of(folder_ / "out.hai"), bytes_of(folder_ / to)) << from << " to " << to;
      if (std::string(from) == to) {
        EXPECT_EQ(made->changed_bytes, 0);
      }
      EXPECT_LT(made->update_bytes, made->result_bytes + 8192);
    }
  }
}

TEST_F(UpdateTest, AnyOtherModelIsRefused) {
  prepare();
  const std::string old = bytes_of(folder_ / "old.hai");
  const auto refused = [&](const std::string& id) {
    const std::string before = bytes_of(folder_ / "old.hai");
    const auto applied = apply_update(folder_ / "old.hai", folder_ / "u.haiu", folder_ / "old.hai");
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().id, id) << applied.error().to_string();
    EXPECT_EQ(bytes_of(folder_ / "old.hai"), before);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "old.hai.previous"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "old.hai.new"));
  };
  write_model(folder_ / "old.hai", "optimizer=sgd");
  refused("E071");
  put(folder_ / "old.hai", old.substr(0, old.size() - 1));
  refused("E071");
  put(folder_ / "old.hai", "no model");
  refused("E071");
  std::string damaged = old;
  damaged[damaged.size() - 70] ^= 1;  // of the weights: header and table are as they were
  put(folder_ / "old.hai", damaged);
  refused("E072");
}

TEST_F(UpdateTest, EveryFlippedBitAndEveryCutIsFound) {
  prepare();
  const std::string update = bytes_of(folder_ / "u.haiu");
  for (size_t i = 0; i < update.size(); i += 5) {
    std::string broken = update;
    broken[i] = static_cast<char>(broken[i] ^ (1 << (i % 8)));
    put(folder_ / "broken.haiu", broken);
    ASSERT_NE(id_of(folder_, folder_ / "broken.haiu"), "none") << "byte " << i;
    if (i % 5 != 0) continue;
    put(folder_ / "broken.haiu", update.substr(0, i));
    ASSERT_NE(id_of(folder_, folder_ / "broken.haiu"), "none") << "cut at " << i;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.hai"));
  EXPECT_EQ(id_of(folder_, folder_ / "old.hai"), "E070");
  EXPECT_EQ(id_of(folder_, folder_ / "u.haiu"), "none");
  const auto as_model = runtime::Model::load_file(folder_ / "u.haiu");
  ASSERT_FALSE(as_model);
  EXPECT_EQ(as_model.error().id, "F078");
}

// Numbers of the description that somebody made up, under right digests.
TEST_F(UpdateTest, ForgedDescriptionsAreRefused) {
  prepare();
  const auto source = open_file(folder_ / "u.haiu").value();
  const auto container = format::read_container(*source).value();
  const auto description = format::read_section(*source, *container.find(format::SectionKind::kUpdate)).value();
  const auto stored = format::read_section(*source, *container.find(format::SectionKind::kUpdateBytes)).value();
  const format::Program program = format::decode_program(description.view()).value();
  std::mt19937 random(1);
  const int64_t values[] = {-1, 0, 1, 2, 3, 4, 5, 64, 511, 4096, 1 << 20, INT64_MAX, INT64_MIN, int64_t{1} << 46};
  int refused = 0;
  for (int trial = 0; trial < 400; ++trial) {
    format::Program forged = program;
    auto& attributes = forged.instructions[0].attributes;
    const char* names[] = {"stretches", "chunks", "base_bytes", "result_bytes"};
    const char* name = names[trial % 4];
    const int64_t value = values[random() % std::size(values)];
    if (auto* list = std::get_if<std::vector<int64_t>>(&attributes.at(name))) {
      if (list->empty() || trial % 7 == 0) list->push_back(value);
      (*list)[random() % list->size()] = value;
    } else {
      attributes.at(name) = value;
    }
    if (trial % 50 == 49) attributes.erase("result");
    if (forged == program) continue;
    const auto described = format::encode_program(forged);
    format::Container made = container;
    made.sections[0].size_bytes = static_cast<int64_t>(described.size());
    made.sections[0].digest = sha256(described);
    std::vector<std::byte> bytes = format::encode_container(made);
    bytes.resize(static_cast<size_t>(made.sections[0].offset_bytes));
    bytes.insert(bytes.end(), described.begin(), described.end());
    bytes.resize(static_cast<size_t>(made.sections[1].offset_bytes));
    bytes.insert(bytes.end(), stored.view().begin(), stored.view().end());
    put(folder_ / "forged.haiu", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    const std::string id = id_of(folder_, folder_ / "forged.haiu");
    if (id == "none") {  // another way to say the same, such as zeros from elsewhere
      ASSERT_EQ(bytes_of(folder_ / "out.hai"), bytes_of(folder_ / "new.hai")) << name << " " << value;
      std::filesystem::remove(folder_ / "out.hai");
      continue;
    }
    ASSERT_FALSE(std::filesystem::exists(folder_ / "out.hai"));
    ++refused;
  }
  EXPECT_GT(refused, 250);
}

TEST_F(UpdateTest, AFullDiskChangesNothing) {
  prepare();
  const std::string old = bytes_of(folder_ / "old.hai");
  const std::string fresh = bytes_of(folder_ / "new.hai");
  bool done = false;
  int failures = 0;
  for (int at = 0; !done; ++at) {
    ASSERT_LT(at, 100);
    put(folder_ / "m.hai", old);
    std::filesystem::remove(folder_ / "m.hai.previous");
    file_testing::FailingFileSystem disk(at);
    done = apply_update(folder_ / "m.hai", folder_ / "u.haiu", folder_ / "m.hai", disk).has_value();
    const std::string found = bytes_of(folder_ / "m.hai");
    EXPECT_TRUE(found == old || found == fresh) << "operation " << at;
    if (!done) ++failures;
    // And with room again it goes through.
    ASSERT_TRUE(apply_update(folder_ / "m.hai", folder_ / "u.haiu", folder_ / "m.hai")) << at;
    EXPECT_EQ(bytes_of(folder_ / "m.hai"), fresh);
    EXPECT_EQ(bytes_of(folder_ / "m.hai.previous"), old);
  }
  EXPECT_GT(failures, 10);
  for (int at = 0; at < 5; ++at) {
    file_testing::FailingFileSystem disk(at);
    EXPECT_FALSE(make_update(folder_ / "old.hai", folder_ / "new.hai", folder_ / "v.haiu", disk));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "v.haiu"));
  }
}

TEST_F(UpdateTest, ALossOfPowerLeavesOneOfTheTwoModels) {
  prepare();
  const std::string old = bytes_of(folder_ / "old.hai");
  const std::string fresh = bytes_of(folder_ / "new.hai");
  const std::string folder = folder_ / "d";
  std::filesystem::create_directory(folder);
  file_testing::RecordingFileSystem recorder;
  ASSERT_TRUE(write_file_atomically(folder + "/m.hai", std::as_bytes(std::span(old)), recorder));
  const size_t begin = recorder.operations().size();
  ASSERT_TRUE(apply_update(folder + "/m.hai", folder_ / "u.haiu", folder + "/m.hai", recorder));
  const size_t end = recorder.operations().size();
  ASSERT_TRUE(training::roll_back(folder + "/m.hai", recorder));
  std::mt19937 random(2);
  std::map<std::string, std::string> there;
  int disks = 0;
  for (size_t count = begin; count <= recorder.operations().size(); ++count) {
    const DiskAfterLoss disk(recorder.operations(), count, folder);
    for (int trial = 0; trial < 40; ++trial) {
      const auto bytes = static_cast<DiskAfterLoss::Bytes>(trial % 3);
      const auto files = disk.found(random(), trial % 4 != 0, bytes, random);
      ++disks;
      ASSERT_TRUE(files.contains("m.hai")) << "after " << count << " operations";
      const std::string& found = files.at("m.hai");
      ASSERT_TRUE(found == old || found == fresh) << "after " << count << " operations";
      if (count == end) {
        ASSERT_EQ(found, fresh);
      }
      if (count == recorder.operations().size()) {
        ASSERT_EQ(found, old);
      }
      if (found == fresh && count <= end) {
        ASSERT_EQ(files.at("m.hai.previous"), old);
      }
      if (trial % 20 != 0) continue;
      // What is left works on: the update is applied, then taken back.
      file_testing::fill_folder(folder_ / "found", files, there);
      there = files;
      const std::string model = folder_ / "found/m.hai";
      const auto again = apply_update(model, folder_ / "u.haiu", model);
      ASSERT_TRUE(again) << again.error().to_string();
      ASSERT_EQ(bytes_of(model), fresh);
      if (count <= end) {
        ASSERT_TRUE(training::roll_back(model));
        ASSERT_EQ(bytes_of(model), old);
      }
      std::filesystem::remove_all(folder_ / "found");
      there.clear();
    }
  }
  EXPECT_GT(disks, 500);
}

}  // namespace
}  // namespace hai
