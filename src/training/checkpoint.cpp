// Writing and finding checkpoints.
//
// Method: two names, a number in each file. A save replaces the name that is not the newest (AtomicFileWriter:
// temporary file, fsync, rename, fsync of the folder), so at any moment the newest checkpoint that was acknowledged
// lies untouched under the other name. A load reads both headers, and from the larger number down takes the first whose
// every digest fits; states are read into memory of their own and copied once all is known to be right. The header is a
// Program (format/program.h) of device "checkpoint", like the portable graph: its tensors are the states, its two
// instructions carry what the trainer and the caller say; so its decoder is the one that is fuzzed. A folder holds a
// checkpoint only after its own entry was made durable in its parent.
#include "training/checkpoint.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "format/codec.h"
#include "format/container.h"

namespace hai::training {
namespace {

using format::Attributes;
using format::Program;
using format::ProgramTensor;
using format::SectionKind;

constexpr std::array<const char*, 2> kNames = {"checkpoint.a", "checkpoint.b"};
constexpr size_t kMaxNameBytes = 200;

// The attributes that the trainer's instruction has, each of them always.
constexpr const char* kNumber = "number";
constexpr const char* kSteps = "steps";
constexpr const char* kRefused = "refused_steps";
constexpr const char* kThreads = "threads";
constexpr const char* kIsa = "isa";
constexpr const char* kModel = "model";
constexpr const char* kVersion = "version";

// One of the two files, its header decoded.
struct Generation {
  std::string path;
  std::shared_ptr<const ByteSource> source;
  format::Container container;
  std::vector<ProgramTensor> states;
  int64_t number = 0;
  int64_t steps = 0;
  int64_t refused = 0;
  int64_t threads = 0;
  std::string isa;
  std::string model;
  std::string version;
  CheckpointExtra extra;
};

std::string model_of(const Trainer& trainer) { return to_hex(trainer.session().model().file().container().digest); }

Error malformed(std::string_view what) {
  return make_error(StatusCode::kCorrupt, "E025", "it is no checkpoint: {} is missing or malformed", what);
}

template <typename T>
Status take(Attributes& attributes, const char* key, T& out) {
  const auto found = attributes.find(key);
  T* value = found == attributes.end() ? nullptr : std::get_if<T>(&found->second);
  if (value == nullptr) return malformed(key);
  if constexpr (std::is_same_v<T, int64_t>) {
    if (*value < 0 || *value == std::numeric_limits<int64_t>::max()) return malformed(key);
  }
  out = std::move(*value);
  return {};
}

Result<Generation> read_generation(std::string path, std::shared_ptr<const ByteSource> source) {
  Generation generation;
  generation.path = std::move(path);
  generation.source = std::move(source);
  HAI_TRY(generation.container, format::read_container(*generation.source));
  const format::Section* section = generation.container.find(SectionKind::kCheckpoint);
  if (section == nullptr || generation.container.find(SectionKind::kStates) == nullptr)
    return malformed("one of its sections");
  HAI_TRY(const format::SectionBytes bytes, format::read_section(*generation.source, *section));
  HAI_TRY(Program header, format::decode_program(bytes.view()));
  if (header.instructions.size() != 2) return malformed("the header");
  Attributes& own = header.instructions[0].attributes;
  HAI_TRY_STATUS(take(own, kNumber, generation.number));
  HAI_TRY_STATUS(take(own, kSteps, generation.steps));
  HAI_TRY_STATUS(take(own, kRefused, generation.refused));
  HAI_TRY_STATUS(take(own, kThreads, generation.threads));
  HAI_TRY_STATUS(take(own, kIsa, generation.isa));
  HAI_TRY_STATUS(take(own, kModel, generation.model));
  HAI_TRY_STATUS(take(own, kVersion, generation.version));
  generation.states = std::move(header.tensors);
  generation.extra = std::move(header.instructions[1].attributes);
  return generation;
}

// What lies under one of the names: nothing, a generation, or something that is none.
struct Found {
  std::optional<Generation> generation;
  std::optional<Error> error;
};

Found look(const std::string& folder, const char* name) {
  const std::string path = folder + "/" + name;
  Result<std::shared_ptr<const ByteSource>> source = open_file(path);
  if (!source) {
    if (source.error().code == StatusCode::kNotFound) return {};
    return {std::nullopt, std::move(source).error()};
  }
  Result<Generation> generation = read_generation(path, std::move(source).value());
  if (!generation) return {std::nullopt, with_where(std::move(generation).error(), path)};
  return {std::move(generation).value(), std::nullopt};
}

Status check_model(const Generation& generation, const Trainer& trainer) {
  if (generation.model == model_of(trainer)) return {};
  return with_where(
      make_error(StatusCode::kInvalidArgument, "E022",
                 "the checkpoint is of another model file (digest {}..., this one has {}...); train the file that it "
                 "was made with, or keep the checkpoints of this one in another folder",
                 generation.model.substr(0, 16), model_of(trainer).substr(0, 16)),
      generation.path);
}

Status check_states(const Generation& generation, const Trainer& trainer) {
  const auto differ = [&](size_t index, std::string_view what) {
    return with_where(
        make_error(StatusCode::kInvalidArgument, "E024",
                   "state {} of the checkpoint has another {} than this training's; was it written by another version?",
                   index, what),
        generation.path);
  };
  if (generation.states.size() != trainer.state_count()) return differ(trainer.state_count(), "number");
  for (size_t i = 0; i < generation.states.size(); ++i) {
    const ProgramTensor& expected = trainer.state_tensor(i);
    if (generation.states[i].name != expected.name) return differ(i, "name");
    if (generation.states[i].dtype != expected.dtype) return differ(i, "type");
    if (generation.states[i].shape != expected.shape) return differ(i, "shape");
  }
  return {};
}

Status check_isa(const Generation& generation, const Trainer& trainer) {
  const std::string_view isa = cpu::isa_name(trainer.session().isa());
  if (generation.isa == isa) return {};
  return with_where(make_error(StatusCode::kUnsupported, "E023",
                               "the checkpoint was made with kernels for {}, this trainer has those for {}, which do "
                               "not give the same bits; make the trainer with isa {}, or allow any",
                               generation.isa, isa, generation.isa),
                    generation.path);
}

// All states, verified; `size_bytes` is what they must have.
Result<format::SectionBytes> read_states(const Generation& generation, int64_t size_bytes) {
  const format::Section& section = *generation.container.find(SectionKind::kStates);
  if (section.size_bytes != size_bytes) return malformed("a part of the states");
  return format::read_section(*generation.source, section);
}

Status check_extra(const CheckpointExtra& extra) {
  size_t bytes = 0;
  for (const auto& [name, value] : extra) {
    if (name.empty() || name.size() > kMaxNameBytes || !is_utf8(name)) {
      return make_error(StatusCode::kInvalidArgument, "E029",
                        "what is added to a checkpoint needs a name of 1 to {} bytes of UTF-8; one has {}",
                        kMaxNameBytes, name.size());
    }
    bytes += name.size() + sizeof(double);
    if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
    if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) bytes += list->size() * sizeof(int64_t);
    if (const auto* list = std::get_if<std::vector<double>>(&value)) bytes += list->size() * sizeof(double);
  }
  if (bytes <= static_cast<size_t>(kMaxCheckpointExtraBytes)) return {};
  return make_error(StatusCode::kOutOfRange, "E027",
                    "{} bytes are to be added to the checkpoint; {} are the limit: keep large data in files of its own",
                    bytes, kMaxCheckpointExtraBytes);
}

// The folder, made where there is none and held so that no other process saves into it.
class FolderLock {
 public:
  static Result<FolderLock> take(const std::string& folder) {
    const bool there = ::mkdir(folder.c_str(), 0777) == 0 || errno == EEXIST;  // less the umask
    FolderLock lock(!there ? -1 : ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (lock.descriptor_ < 0) {
      return with_where(
          make_error(StatusCode::kIo, "E028", "the folder cannot be made or opened: {}", std::strerror(errno)), folder);
    }
    // A file system without locks says so with another number: there is nothing to hold then.
    if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return with_where(make_error(StatusCode::kIo, "E026",
                                   "another process is saving a checkpoint into this folder; give each training one of "
                                   "its own"),
                        folder);
    }
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);  // and the lock with it
  }

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// Temporary files of processes that were killed. Nobody else writes here: the folder is locked.
void remove_leftovers(const std::string& folder, FileSystem& file_system) {
  std::error_code error;
  std::vector<std::string> leftovers;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool ours = std::any_of(kNames.begin(), kNames.end(), [&](const char* checkpoint) {
      return name.starts_with(std::string(".") + checkpoint + ".") && name.ends_with(".tmp");
    });
    if (ours) leftovers.push_back(folder + "/" + name);
  }
  std::sort(leftovers.begin(), leftovers.end());
  // One that stays takes room and harms nothing.
  for (const std::string& path : leftovers) (void)file_system.remove(path).has_value();
}

std::string parent_of(const std::string& folder) {
  const size_t slash = folder.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : folder.substr(0, slash);
}

std::string without_trailing_slashes(std::string folder) {
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  return folder;
}

Program header_of(Trainer& trainer, int64_t number, const CheckpointExtra& extra) {
  Program header;
  header.device = "checkpoint";
  for (size_t i = 0; i < trainer.state_count(); ++i) {
    ProgramTensor tensor;
    tensor.name = trainer.state_tensor(i).name;
    tensor.dtype = trainer.state_tensor(i).dtype;
    tensor.shape = trainer.state_tensor(i).shape;
    header.tensors.push_back(std::move(tensor));
  }
  header.instructions.resize(2);
  header.instructions[0].kernel = "trainer";
  header.instructions[0].attributes = {{kNumber, number},
                                       {kSteps, trainer.steps()},
                                       {kRefused, trainer.refused_steps()},
                                       {kThreads, int64_t{trainer.session().thread_count()}},
                                       {kIsa, std::string(cpu::isa_name(trainer.session().isa()))},
                                       {kModel, model_of(trainer)},
                                       {kVersion, std::string(hai_version())}};
  header.instructions[1].kernel = "extra";
  header.instructions[1].attributes = extra;
  return header;
}

format::Section section_of(SectionKind kind, int64_t size_bytes, const Sha256Digest& digest) {
  format::Section section;
  section.kind = static_cast<uint32_t>(kind);
  section.required = true;
  section.size_bytes = size_bytes;
  section.digest = digest;
  return section;
}

Result<int64_t> write_checkpoint(const std::string& path, Trainer& trainer, const Program& header,
                                 FileSystem& file_system) {
  const std::vector<std::byte> described = format::encode_program(header);
  Sha256 hash;
  for (size_t i = 0; i < trainer.state_count(); ++i) hash.update(trainer.state(i));
  format::Container container;
  container.sections = {section_of(SectionKind::kCheckpoint, static_cast<int64_t>(described.size()), sha256(described)),
                        section_of(SectionKind::kStates, trainer.states_bytes(), hash.finish())};
  std::vector<std::byte> front = format::encode_container(container);
  front.resize(static_cast<size_t>(container.sections[0].offset_bytes));
  front.insert(front.end(), described.begin(), described.end());
  front.resize(static_cast<size_t>(container.sections[1].offset_bytes));
  HAI_TRY(AtomicFileWriter writer, AtomicFileWriter::create(path, file_system));
  HAI_TRY_STATUS(writer.write(front));
  for (size_t i = 0; i < trainer.state_count(); ++i) HAI_TRY_STATUS(writer.write(trainer.state(i)));
  HAI_TRY_STATUS(writer.commit());
  return container.file_bytes;
}

}  // namespace

Result<SavedCheckpoint> save_checkpoint(const std::string& path, Trainer& trainer, const CheckpointExtra& extra,
                                        FileSystem& file_system) {
  HAI_TRY_STATUS(check_path(path));
  HAI_TRY_STATUS(check_extra(extra));
  const std::string folder = without_trailing_slashes(path);
  HAI_TRY(const FolderLock lock, FolderLock::take(folder));
  std::array<Found, 2> found = {look(folder, kNames[0]), look(folder, kNames[1])};
  std::array<int64_t, 2> numbers{};
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i].generation) continue;
    HAI_TRY_STATUS(check_model(*found[i].generation, trainer));
    numbers[i] = found[i].generation->number;
  }
  if (numbers == std::array<int64_t, 2>{}) HAI_TRY_STATUS(file_system.sync_folder(parent_of(folder)));
  remove_leftovers(folder, file_system);
  const size_t older = numbers[0] <= numbers[1] ? 0 : 1;
  SavedCheckpoint saved;
  saved.path = folder + "/" + kNames[older];
  saved.number = std::max(numbers[0], numbers[1]) + 1;
  if (saved.number == std::numeric_limits<int64_t>::max()) return malformed(kNumber);
  HAI_TRY(saved.size_bytes,
          write_checkpoint(saved.path, trainer, header_of(trainer, saved.number, extra), file_system));
  return saved;
}

Result<LoadedCheckpoint> load_checkpoint(const std::string& path, Trainer& trainer,
                                         const LoadCheckpointOptions& options) {
  HAI_TRY_STATUS(check_path(path));
  const std::string folder = without_trailing_slashes(path);
  LoadedCheckpoint loaded;
  std::vector<Generation> generations;
  for (const char* name : kNames) {
    Found found = look(folder, name);
    if (found.error) loaded.skipped.push_back(found.error->to_string());
    if (found.generation) generations.push_back(std::move(*found.generation));
  }
  if (generations.empty() && loaded.skipped.empty()) {
    return with_where(make_error(StatusCode::kNotFound, "E020", "there is no checkpoint in this folder"), folder);
  }
  std::sort(generations.begin(), generations.end(),
            [](const Generation& a, const Generation& b) { return a.number > b.number; });
  for (Generation& generation : generations) {
    HAI_TRY_STATUS(check_model(generation, trainer));
    HAI_TRY_STATUS(check_states(generation, trainer));
    if (!options.any_isa) HAI_TRY_STATUS(check_isa(generation, trainer));
    const auto states = read_states(generation, trainer.states_bytes());
    if (!states) {
      loaded.skipped.push_back(with_where(states.error(), generation.path).to_string());
      continue;
    }
    HAI_TRY_STATUS(trainer.restore(states->view(), generation.steps, generation.refused));
    loaded.path = generation.path;
    loaded.number = generation.number;
    loaded.version = generation.version;
    loaded.isa = generation.isa;
    loaded.threads = static_cast<int>(std::min<int64_t>(generation.threads, std::numeric_limits<int>::max()));
    loaded.extra = std::move(generation.extra);
    return loaded;
  }
  std::string reasons;
  for (const std::string& reason : loaded.skipped) reasons += (reasons.empty() ? "" : "; ") + reason;
  return with_where(make_error(StatusCode::kCorrupt, "E021", "no checkpoint in this folder is valid: {}", reasons),
                    folder);
}

}  // namespace hai::training
