// Checkpoints of a training: resumed runs end in the same bits, whatever is broken is named and changes nothing, and a
// loss of power at any moment loses nothing that was acknowledged.
//
// The last is shown on a record of every operation on files: each beginning of it, with what was not synced there or
// not in every way that base/testing/recording_file_system.h knows. Processes that are killed:
// checkpoint_kill_fault_test.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/testing/failing_file_system.h"
#include "base/testing/recording_file_system.h"
#include "format/codec.h"
#include "format/container.h"
#include "small_training.h"
#include "training/checkpoint.h"

namespace hai {
namespace {

using namespace small_training;
using file_testing::DiskAfterLoss;
using file_testing::FileOperation;
using training::CheckpointExtra;
using training::load_checkpoint;
using training::save_checkpoint;
using training::Trainer;

std::string bytes_of(const std::string& path) { return read_file(path, 1 << 24).value_or("(missing)"); }

void put(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::string id_of(const std::string& folder, Trainer& trainer) {
  const auto loaded = load_checkpoint(folder, trainer);
  return loaded ? std::string("none") : loaded.error().id;
}

TEST(Checkpoint, AResumedRunEndsInTheSameBits) {
  for (const char* options : {"optimizer=adamw,clip_norm=1", "optimizer=sgd,momentum=0.9", "optimizer=adam,loss=mse"}) {
    const Folder folder;
    write_model(folder / "model.hai", options);
    const auto whole = make_trainer(folder / "model.hai");
    train(*whole, 40);
    for (const int interrupted : {0, 1, 2, 13, 39, 40}) {
      const std::string place = folder / fmt::format("at{}", interrupted);
      const auto first = make_trainer(folder / "model.hai");
      train(*first, interrupted);
      const auto saved = save_checkpoint(place, *first, {{"position", int64_t{interrupted}}});
      ASSERT_TRUE(saved) << saved.error().to_string();
      train(*first, 3);  // what comes after the checkpoint is lost
      const auto second = make_trainer(folder / "model.hai", 2);
      train(*second, 5);  // and what the new one has done before it loads
      const auto loaded = load_checkpoint(place, *second);
      ASSERT_TRUE(loaded) << loaded.error().to_string();
      EXPECT_EQ(second->steps(), interrupted);
      EXPECT_EQ(std::get<int64_t>(loaded->extra.at("position")), interrupted);
      EXPECT_TRUE(loaded->skipped.empty());
      train(*second, 40 - interrupted);
      EXPECT_EQ(snapshot(*second), snapshot(*whole)) << options << " interrupted at " << interrupted;
    }
  }
}

TEST(Checkpoint, EveryKindOfStateMoves) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  const Snapshot before = snapshot(*trainer);
  train(*trainer, 3);
  const Snapshot after = snapshot(*trainer);
  bool parameters = false;
  bool others = false;
  for (size_t i = 0; i < trainer->state_count(); ++i) {
    EXPECT_NE(before[i + 1], after[i + 1]) << trainer->state_tensor(i).name;  // else this file would show little
    (trainer->is_parameter(i) ? parameters : others) = true;
  }
  EXPECT_TRUE(parameters && others);
}

TEST(Checkpoint, WhatTheCallerAddsComesBack) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  const CheckpointExtra extra = {{"count", int64_t{-5}},
                                 {"rate", -0.0},
                                 {"random", std::string("\0\xff\n any bytes", 13)},
                                 {"order", std::vector<int64_t>{3, 1, 2}},
                                 {"losses", std::vector<double>{0.1, 1e300}},
                                 {"größe", std::string()}};
  ASSERT_TRUE(save_checkpoint(folder / "c/", *trainer, extra));
  const auto loaded = load_checkpoint(folder / "c", *trainer);
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  EXPECT_EQ(loaded->extra, extra);
  EXPECT_TRUE(std::signbit(std::get<double>(loaded->extra.at("rate"))));
  EXPECT_EQ(loaded->isa, cpu::isa_name(trainer->session().isa()));
  EXPECT_EQ(loaded->threads, 1);
  EXPECT_EQ(loaded->version, hai_version());
  const auto refused = [&](const CheckpointExtra& wrong) {
    const auto saved = save_checkpoint(folder / "c", *trainer, wrong);
    return saved ? std::string("none") : saved.error().id;
  };
  EXPECT_EQ(refused({{"", int64_t{1}}}), "E029");
  EXPECT_EQ(refused({{std::string(201, 'a'), int64_t{1}}}), "E029");
  EXPECT_EQ(refused({{"\xff", int64_t{1}}}), "E029");
  EXPECT_EQ(refused({{"large", std::string(training::kMaxCheckpointExtraBytes, 'x')}}), "E027");
  EXPECT_EQ(refused({{"large", std::vector<double>(training::kMaxCheckpointExtraBytes / 8)}}), "E027");
  EXPECT_EQ(load_checkpoint(folder / "c", *trainer)->number, 1);
}

TEST(Checkpoint, TwoGenerationsTakeTurns) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  EXPECT_EQ(id_of(folder / "c", *trainer), "E020");
  std::filesystem::create_directory(folder / "c");
  EXPECT_EQ(id_of(folder / "c", *trainer), "E020");
  for (int64_t number = 1; number <= 5; ++number) {
    train(*trainer, 1);
    const auto saved = save_checkpoint(folder / "c", *trainer);
    ASSERT_TRUE(saved) << saved.error().to_string();
    EXPECT_EQ(saved->number, number);
    EXPECT_EQ(saved->path, folder / (number % 2 == 1 ? "c/checkpoint.a" : "c/checkpoint.b"));
    EXPECT_EQ(saved->size_bytes, static_cast<int64_t>(std::filesystem::file_size(saved->path)));
  }
  // A number counts, not the steps: who goes back and trains on from there is not overtaken by what was.
  ASSERT_TRUE(trainer->reset());
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  train(*trainer, 2);
  const auto loaded = load_checkpoint(folder / "c", *trainer);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->number, 6);
  EXPECT_EQ(trainer->steps(), 0);
}

TEST(Checkpoint, WhatDoesNotBelongIsNamedAndChangesNothing) {
  const Folder folder;
  write_model(folder / "model.hai");
  write_model(folder / "other.hai", "optimizer=adamw,clip_norm=2");
  const auto trainer = make_trainer(folder / "model.hai");
  const auto other = make_trainer(folder / "other.hai");
  train(*trainer, 2);
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  train(*other, 1);
  const Snapshot before = snapshot(*other);
  EXPECT_EQ(id_of(folder / "c", *other), "E022");
  EXPECT_EQ(snapshot(*other), before);
  // Nor may it take the place of the generations there.
  const auto saved = save_checkpoint(folder / "c", *other);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().id, "E022");
  EXPECT_EQ(id_of(folder / "c", *trainer), "none");
  if (trainer->session().isa() != cpu::Isa::kScalar) {
    const auto scalar = make_trainer(folder / "model.hai", 1, "scalar");
    EXPECT_EQ(id_of(folder / "c", *scalar), "E023");
    EXPECT_EQ(scalar->steps(), 0);
    training::LoadCheckpointOptions any;
    any.any_isa = true;
    const auto loaded = load_checkpoint(folder / "c", *scalar, any);
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    EXPECT_EQ(snapshot(*scalar), snapshot(*trainer));
  }
  put(folder / "file", "no folder");
  EXPECT_EQ(save_checkpoint(folder / "file", *trainer).error().id, "E028");
  EXPECT_EQ(save_checkpoint(folder / "no/such", *trainer).error().id, "E028");
  EXPECT_EQ(save_checkpoint(std::string("a\0b", 3), *trainer).error().id, "B017");
  EXPECT_EQ(load_checkpoint(std::string("a\0b", 3), *trainer).error().id, "B017");
}

// A container of these two sections, its digests right: what only somebody who means harm writes.
std::string forged(std::span<const std::byte> described, const std::string& states) {
  format::Container container;
  container.sections.resize(2);
  container.sections[0].kind = static_cast<uint32_t>(format::SectionKind::kCheckpoint);
  container.sections[0].size_bytes = static_cast<int64_t>(described.size());
  container.sections[0].digest = sha256(described);
  container.sections[1].kind = static_cast<uint32_t>(format::SectionKind::kStates);
  container.sections[1].size_bytes = static_cast<int64_t>(states.size());
  container.sections[1].digest = sha256(std::as_bytes(std::span(states)));
  const auto front = format::encode_container(container);
  std::string out(static_cast<size_t>(container.file_bytes), '\0');
  std::memcpy(out.data(), front.data(), front.size());
  std::memcpy(out.data() + container.sections[0].offset_bytes, described.data(), described.size());
  std::memcpy(out.data() + container.sections[1].offset_bytes, states.data(), states.size());
  return out;
}

std::string forged(const format::Program& header, const std::string& states) {
  return forged(format::encode_program(header), states);
}

// Header and states of a checkpoint as they were written.
std::pair<format::Program, std::string> parts_of(const std::string& path) {
  const auto source = open_file(path).value();
  const auto container = format::read_container(*source).value();
  const auto header = format::read_section(*source, *container.find(format::SectionKind::kCheckpoint)).value();
  const auto states = format::read_section(*source, *container.find(format::SectionKind::kStates)).value();
  return {format::decode_program(header.view()).value(),
          std::string(reinterpret_cast<const char*>(states.view().data()), states.view().size())};
}

TEST(Checkpoint, ForgedOnesAreNamedAndChangeNothing) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  train(*trainer, 2);
  const std::string path = save_checkpoint(folder / "c", *trainer).value().path;
  const auto [header, states] = parts_of(path);
  train(*trainer, 1);
  const Snapshot before = snapshot(*trainer);
  const auto refused = [&](auto&& change) {
    format::Program changed = header;
    std::string changed_states = states;
    change(changed, changed.instructions[0].attributes, changed_states);
    put(path, forged(changed, changed_states));
    const std::string id = id_of(folder / "c", *trainer);
    EXPECT_EQ(snapshot(*trainer), before) << id;
    return id;
  };
  using format::Attributes;
  using format::Program;
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(refused([](Program&, Attributes&, std::string& s) { s.pop_back(); }), "E021");
  EXPECT_EQ(refused([](Program&, Attributes&, std::string& s) { s.clear(); }), "E021");
  EXPECT_EQ(refused([](Program&, Attributes&, std::string& s) { s += "x"; }), "E021");
  EXPECT_EQ(refused([](Program&, Attributes& a, std::string&) { a["steps"] = int64_t{-1}; }), "E021");
  EXPECT_EQ(refused([&](Program&, Attributes& a, std::string&) { a["steps"] = most; }), "E021");
  EXPECT_EQ(refused([&](Program&, Attributes& a, std::string&) { a["number"] = most; }), "E021");
  EXPECT_EQ(refused([](Program&, Attributes& a, std::string&) { a["steps"] = 1.0; }), "E021");
  EXPECT_EQ(refused([](Program&, Attributes& a, std::string&) { a.erase("isa"); }), "E021");
  EXPECT_EQ(refused([](Program& p, Attributes&, std::string&) { p.instructions.pop_back(); }), "E021");
  EXPECT_EQ(refused([](Program&, Attributes& a, std::string&) { a["model"] = std::string(); }), "E022");
  EXPECT_EQ(refused([](Program&, Attributes& a, std::string&) { a["isa"] = std::string("abacus"); }), "E023");
  EXPECT_EQ(refused([](Program& p, Attributes&, std::string&) { p.tensors.pop_back(); }), "E024");
  EXPECT_EQ(refused([](Program& p, Attributes&, std::string&) { p.tensors[0].name += "x"; }), "E024");
  EXPECT_EQ(refused([](Program& p, Attributes&, std::string&) { p.tensors[0].dtype = DataType::kI32; }), "E024");
  EXPECT_EQ(refused([&](Program& p, Attributes&, std::string&) { p.tensors[1].shape[0] = Dim(most); }), "E024");
  EXPECT_EQ(refused([](Program& p, Attributes&, std::string&) { std::swap(p.tensors[0], p.tensors[1]); }), "E024");
  put(path, "");
  EXPECT_EQ(id_of(folder / "c", *trainer), "E021");
  put(path, bytes_of(folder / "model.hai"));  // a .hai file, but no checkpoint
  EXPECT_EQ(id_of(folder / "c", *trainer), "E021");
  EXPECT_EQ(snapshot(*trainer), before);
  put(path, forged(header, states));  // that the forger can do it right as well is what makes the others count
  EXPECT_EQ(id_of(folder / "c", *trainer), "none");
  EXPECT_EQ(runtime::Model::load_file(path).error().id, "F075");  // and a checkpoint is no model
}

// The description's bytes changed at random, under digests that fit.
TEST(Checkpoint, AForgedDescriptionIsReadWithCare) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  train(*trainer, 2);
  const std::string path = save_checkpoint(folder / "c", *trainer, {{"list", std::vector<int64_t>{1, 2}}}).value().path;
  const Snapshot saved = snapshot(*trainer);
  const auto [header, states] = parts_of(path);
  const auto good = format::encode_program(header);
  train(*trainer, 1);
  const Snapshot live = snapshot(*trainer);
  std::mt19937 random(5);
  int refused = 0;
  for (int trial = 0; trial < 800; ++trial) {
    std::vector<std::byte> bad = good;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const size_t place = random() % bad.size();
      const std::byte values[] = {std::byte{0}, std::byte{0xff}, std::byte{0x7f},
                                  bad[place] ^ std::byte(1 << random() % 8)};
      bad[place] = values[random() % 4];
    }
    if (random() % 16 == 0) bad.resize(random() % bad.size());
    put(path, forged(bad, states));
    const auto loaded = load_checkpoint(folder / "c", *trainer);
    refused += loaded ? 0 : 1;
    // Where only a count or what the caller added was changed, it is a checkpoint still.
    Snapshot now = snapshot(*trainer);
    const Snapshot& expected = loaded ? saved : live;
    if (loaded) now[0] = saved[0];
    ASSERT_EQ(now, expected) << "trial " << trial;
    if (loaded) {
      put(path, forged(good, states));
      ASSERT_TRUE(load_checkpoint(folder / "c", *trainer));
      train(*trainer, 1);
      ASSERT_EQ(snapshot(*trainer), live);
    }
  }
  EXPECT_GT(refused, 200);
  EXPECT_LT(refused, 800);
}

// Every byte flipped, and every length.
TEST(Checkpoint, WhateverBreaksTheOlderGenerationIsFound) {
  const Folder folder;
  write_model(folder / "model.hai", "optimizer=adam", 3);
  const auto trainer = make_trainer(folder / "model.hai");
  train(*trainer, 1);
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  const Snapshot older = snapshot(*trainer);
  train(*trainer, 1);
  const std::string path = save_checkpoint(folder / "c", *trainer).value().path;
  const std::string good = bytes_of(path);
  std::mt19937 random(7);
  const auto falls_back = [&] {
    const auto loaded = load_checkpoint(folder / "c", *trainer);
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    ASSERT_EQ(snapshot(*trainer), older);
    ASSERT_EQ(loaded->skipped.size(), 1U);
    ASSERT_EQ(loaded->skipped[0].rfind(path, 0), 0U) << loaded->skipped[0];
  };
  {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto set = [&](size_t place, char byte) {
      file.seekp(static_cast<std::streamoff>(place));
      file.write(&byte, 1).flush();
    };
    for (size_t i = 0; i < good.size(); ++i) {
      set(i, static_cast<char>(good[i] ^ (1 << random() % 8)));
      SCOPED_TRACE(fmt::format("byte {} of {}", i, good.size()));
      falls_back();
      set(i, good[i]);
    }
  }
  for (size_t length = 0; length < good.size(); length += 1 + random() % 16) {
    put(path, good.substr(0, length));
    SCOPED_TRACE(fmt::format("{} of {} bytes", length, good.size()));
    falls_back();
  }
  // The broken one is what the next save replaces.
  ASSERT_EQ(save_checkpoint(folder / "c", *trainer).value().path, path);
  EXPECT_TRUE(load_checkpoint(folder / "c", *trainer)->skipped.empty());
}

TEST(Checkpoint, AFullDiskLeavesBothGenerations) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  for (int i = 0; i < 2; ++i) {
    train(*trainer, 1);
    ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  }
  const Snapshot saved = snapshot(*trainer);
  const std::string a = bytes_of(folder / "c/checkpoint.a");
  const std::string b = bytes_of(folder / "c/checkpoint.b");
  train(*trainer, 1);
  const Snapshot live = snapshot(*trainer);
  int failures = 0;
  for (int fail_at = 0; fail_at < 100; ++fail_at) {
    file_testing::FailingFileSystem failing(fail_at);
    const auto result = save_checkpoint(folder / "c", *trainer, {}, failing);
    EXPECT_EQ(snapshot(*trainer), live);
    if (result) break;
    ++failures;
    EXPECT_EQ(result.error().id, "B005") << result.error().to_string();
    if (bytes_of(folder / "c/checkpoint.a") != a) {  // only the folder's sync was left: the new one is there and whole
      const auto other = make_trainer(folder / "model.hai");
      ASSERT_TRUE(load_checkpoint(folder / "c", *other));
      EXPECT_EQ(snapshot(*other), live);
      put(folder / "c/checkpoint.a", a);
    }
    EXPECT_EQ(bytes_of(folder / "c/checkpoint.b"), b);
    const auto other = make_trainer(folder / "model.hai");
    ASSERT_TRUE(load_checkpoint(folder / "c", *other));
    EXPECT_EQ(snapshot(*other), saved) << fail_at;
  }
  EXPECT_GE(failures, 10);  // create, a write for each state, sync, close, rename, sync of the folder
}

TEST(Checkpoint, ALimitOfTheSystemIsAnError) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  struct rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit tiny = before;
  tiny.rlim_cur = 1000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tiny), 0);
  const auto saved = save_checkpoint(folder / "c", *trainer);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, StatusCode::kResourceExhausted);
  EXPECT_EQ(load_checkpoint(folder / "c", *trainer)->number, 1);
  EXPECT_FALSE(std::filesystem::exists(folder / "c/checkpoint.b"));
}

TEST(Checkpoint, WhatAKilledProcessLeftIsRemoved) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  put(folder / "c/.checkpoint.b.123-4.tmp", "half");
  put(folder / "c/.checkpoint.list.tmpx", "not ours");
  put(folder / "c/notes.txt", "nor this");
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  EXPECT_FALSE(std::filesystem::exists(folder / "c/.checkpoint.b.123-4.tmp"));
  EXPECT_TRUE(std::filesystem::exists(folder / "c/.checkpoint.list.tmpx"));
  EXPECT_TRUE(std::filesystem::exists(folder / "c/notes.txt"));
}

TEST(Checkpoint, OneProcessAtATimeSavesIntoAFolder) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer));
  const int other = ::open((folder / "c").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  const auto saved = save_checkpoint(folder / "c", *trainer);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().id, "E026");
  EXPECT_EQ(load_checkpoint(folder / "c", *trainer)->number, 1);  // reading needs no lock
  ::close(other);
  EXPECT_TRUE(save_checkpoint(folder / "c", *trainer));
}

TEST(Checkpoint, ATrainerTakesOnlyStatesOfItsSize) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  train(*trainer, 1);
  const Snapshot before = snapshot(*trainer);
  const auto bytes = static_cast<size_t>(trainer->states_bytes());
  const std::vector<std::byte> states(bytes + 1);
  EXPECT_EQ(trainer->restore(states, 1, 0).error().id, "E014");
  EXPECT_EQ(trainer->restore(std::span(states).first(bytes - 1), 1, 0).error().id, "E014");
  EXPECT_EQ(trainer->restore(std::span(states).first(bytes), -1, 0).error().id, "E014");
  EXPECT_EQ(trainer->restore(std::span(states).first(bytes), 1, -1).error().id, "E014");
  EXPECT_EQ(snapshot(*trainer), before);
  EXPECT_TRUE(trainer->restore(std::span(states).first(bytes), 7, 2));
  EXPECT_EQ(snapshot(*trainer)[0], "7 applied, 2 refused");
}

TEST(Checkpoint, ANewFolderIsDurableBeforeWhatLiesInIt) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  file_testing::RecordingFileSystem recording;
  ASSERT_TRUE(save_checkpoint(folder / "c", *trainer, {}, recording));
  ASSERT_FALSE(recording.operations().empty());
  EXPECT_EQ(recording.operations().front().kind, FileOperation::Kind::kSyncFolder);
  EXPECT_EQ(recording.operations().front().path + "/c", folder / "c");
  EXPECT_EQ(recording.operations().back().kind, FileOperation::Kind::kSyncFolder);
  EXPECT_EQ(recording.operations().back().path, folder / "c");
}

// A few saves, recorded: what the trainer held at each, and how many operations there were when it was acknowledged.
struct Recorded {
  std::vector<FileOperation> operations;
  std::vector<Snapshot> saved;       // [i]: of checkpoint number i + 1
  std::vector<size_t> acknowledged;  // [i]: operations by then
};

Recorded record(const std::string& folder, Trainer& trainer, int saves) {
  Recorded out;
  file_testing::RecordingFileSystem recording;
  for (int i = 0; i < saves; ++i) {
    train(trainer, 1);
    // What an earlier process left: one more name that may or may not be gone after the loss.
    if (i == 2) put(folder + "/.checkpoint.a.1-1.tmp", "left over");
    const auto saved = save_checkpoint(folder, trainer, {{"place", int64_t{i}}}, recording);
    EXPECT_TRUE(saved) << saved.error().to_string();
    out.saved.push_back(snapshot(trainer));
    out.acknowledged.push_back(recording.operations().size());
  }
  out.operations = recording.operations();
  return out;
}

// Looks for a checkpoint after every beginning of the record and every loss; the number of disks seen and of those on
// which what had been acknowledged was not found.
struct Losses {
  int disks = 0;
  int lost = 0;
  int partial = 0;  // disks on which something was skipped: the losses do break files
};

Losses lose_power(const Recorded& recorded, const std::string& folder, const std::string& found, Trainer& trainer) {
  Losses losses;
  std::mt19937 random(11);
  std::filesystem::remove_all(found);
  std::map<std::string, std::string> there;
  for (size_t count = 0; count <= recorded.operations.size(); ++count) {
    const DiskAfterLoss disk(recorded.operations, count, folder);
    size_t acknowledged = 0;
    while (acknowledged < recorded.acknowledged.size() && recorded.acknowledged[acknowledged] <= count) ++acknowledged;
    // Each choice of names twice, or a few at random where there are too many; then some in an order of their own.
    const size_t names = disk.uncertain_names();
    const int chosen = names <= 5 ? 2 << names : 48;
    for (int trial = 0; trial < chosen + 8; ++trial) {
      const bool in_order = trial < chosen;
      const uint64_t kept = names <= 5 && in_order ? static_cast<uint64_t>(trial) >> 1 : random();
      const auto bytes = !in_order || trial % 2 == 1 ? DiskAfterLoss::Bytes::kSome
                         : random() % 2 == 0         ? DiskAfterLoss::Bytes::kNone
                                                     : DiskAfterLoss::Bytes::kAll;
      const auto files = disk.found(kept, in_order, bytes, random);
      file_testing::fill_folder(found, files, there);
      there = files;
      ++losses.disks;
      const auto loaded = load_checkpoint(found, trainer);
      if (!loaded) {
        losses.lost += acknowledged > 0 ? 1 : 0;
        continue;
      }
      losses.partial += loaded->skipped.empty() ? 0 : 1;
      const auto number = static_cast<size_t>(loaded->number);
      const bool right = number >= 1 && number <= recorded.saved.size() &&
                         snapshot(trainer) == recorded.saved[number - 1] &&
                         std::get<int64_t>(loaded->extra.at("place")) == loaded->number - 1;
      if (!right) {
        ADD_FAILURE() << "a checkpoint that nobody saved, after " << count << " operations, trial " << trial;
        return losses;
      }
      losses.lost += number < acknowledged ? 1 : 0;
      // Life goes on from here: the next save is found as well.
      if (trial % 16 == 0) {
        const auto next = save_checkpoint(found, trainer);
        EXPECT_TRUE(next) << next.error().to_string();
        const auto again = load_checkpoint(found, trainer);
        EXPECT_TRUE(again && again->number == loaded->number + 1);
        std::filesystem::remove_all(found);
        there.clear();
      }
    }
  }
  return losses;
}

TEST(Checkpoint, NoLossOfPowerLosesWhatWasAcknowledged) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  std::filesystem::create_directory(folder / "c");
  const Recorded recorded = record(folder / "c", *trainer, 6);
  const Losses losses = lose_power(recorded, folder / "c", folder / "found", *trainer);
  EXPECT_EQ(losses.lost, 0) << "of " << losses.disks;
  EXPECT_GT(losses.disks, 1000);
  RecordProperty("disks", losses.disks);
  EXPECT_EQ(losses.partial, 0);  // a name is given to what is whole only, so none of these breaks a checkpoint
}

// The same record without its syncs of files, or without those of the folder, as of somebody who forgot them: the
// disks above are ones on which that is found out.
TEST(Checkpoint, TheLossesFindAForgottenSync) {
  const Folder folder;
  write_model(folder / "model.hai");
  const auto trainer = make_trainer(folder / "model.hai");
  std::filesystem::create_directory(folder / "c");
  const Recorded recorded = record(folder / "c", *trainer, 3);
  for (const auto kind : {FileOperation::Kind::kSync, FileOperation::Kind::kSyncFolder}) {
    Recorded careless = recorded;
    careless.operations.clear();
    for (size_t i = 0, next = 0; i < recorded.operations.size(); ++i) {
      if (recorded.operations[i].kind != kind) careless.operations.push_back(recorded.operations[i]);
      while (next < recorded.acknowledged.size() && recorded.acknowledged[next] <= i + 1)
        careless.acknowledged[next++] = careless.operations.size();
    }
    const Losses losses = lose_power(careless, folder / "c", folder / "found", *trainer);
    EXPECT_GT(losses.lost, 0);
    if (kind == FileOperation::Kind::kSync) {
      EXPECT_GT(losses.partial, 0);
    }
  }
}

}  // namespace
}  // namespace hai
