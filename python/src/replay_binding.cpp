// The replay buffer for Python.
//
// Samples cross as bytes; what they are is known to hai_toolkit/learner.py.
// No logic of its own.
#include <cstring>

#include "binding.h"
#include "training/replay_buffer.h"

namespace hai::python {
namespace {

using training::ReplayBuffer;
using training::ReplayPolicy;
using training::ReplaySample;

std::span<const std::byte> bytes_of(const nb::bytes& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.c_str()), bytes.size()};
}

bool offer(ReplayBuffer& buffer, int64_t key, int64_t label, const nb::bytes& sample, const nb::bytes& answers) {
  const std::span<const std::byte> from = bytes_of(sample);
  ReplaySample kept{key, label, {from.begin(), from.end()}, std::vector<float>(answers.size() / sizeof(float))};
  if (!kept.answers.empty()) std::memcpy(kept.answers.data(), answers.c_str(), kept.answers.size() * sizeof(float));
  return buffer.offer(std::move(kept));
}

// (key, label, sample, answers)
nb::tuple sample_at(const ReplayBuffer& buffer, size_t position) {
  if (position >= buffer.size()) throw nb::index_error("no such sample");
  const ReplaySample& sample = buffer.sample(position);
  return nb::make_tuple(
      sample.key, sample.label, nb::bytes(reinterpret_cast<const char*>(sample.bytes.data()), sample.bytes.size()),
      nb::bytes(reinterpret_cast<const char*>(sample.answers.data()), sample.answers.size() * sizeof(float)));
}

}  // namespace

void bind_replay(nb::module_& module) {
  nb::class_<ReplayBuffer>(module, "ReplayBuffer")
      .def("offer", &offer, nb::arg("key"), nb::arg("label"), nb::arg("sample"), nb::arg("answers"))
      .def("draw", &ReplayBuffer::draw, nb::arg("count"))
      .def("relabel", &ReplayBuffer::relabel, nb::arg("key"), nb::arg("label"))
      .def("size", &ReplayBuffer::size)
      .def("capacity", &ReplayBuffer::capacity)
      .def("sample", &sample_at, nb::arg("position"))
      .def("serialize", [](const ReplayBuffer& buffer) {
        const std::string bytes = buffer.serialize();
        return nb::bytes(bytes.data(), bytes.size());
      });
  module.def(
      "make_replay_buffer",
      [](int64_t capacity, bool balanced, uint64_t seed) {
        return value_or_raise(
            ReplayBuffer::create(capacity, balanced ? ReplayPolicy::kBalanced : ReplayPolicy::kReservoir, seed));
      },
      nb::arg("capacity"), nb::arg("balanced"), nb::arg("seed"));
  module.def(
      "parse_replay_buffer",
      [](const nb::bytes& bytes) {
        return value_or_raise(ReplayBuffer::parse(std::string_view(bytes.c_str(), bytes.size())));
      },
      nb::arg("bytes"));
}

}  // namespace hai::python
