// Reading an ONNX file: protobuf in, OnnxModel out.
//
// Method: the message is parsed as a stream (no second copy of the file in memory) with a recursion limit; each message
// is then taken apart once and its bytes moved. Names are checked here: they are UTF-8 (protobuf's format says so and
// its parser does not look), every value is written once, every node has an operator. Two gibibytes is protobuf's limit
// of a message; larger models keep their weights in external data. It converts nothing and knows no operator.
#include "importers/onnx/read_model.h"

#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <onnx/onnx-ml.pb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/utf8.h"
#include "importers/onnx/read_tensor.h"

namespace hai::onnx_import {
namespace {

constexpr int kMaxProtobufDepth = 100;
constexpr int kMaxGraphDepth = 16;  // graphs in attributes of nodes of graphs ...
constexpr int64_t kMaxFileBytes = INT32_MAX;

std::string plain_domain(const std::string& domain) { return domain == "ai.onnx" ? std::string() : domain; }

class Reader {
 public:
  explicit Reader(const ImportOptions& options) : options_(options) {}

  Result<OnnxModel> read(onnx::ModelProto& proto) {
    if (!proto.has_graph()) {
      return make_error(StatusCode::kCorrupt, "X020", "the model has no graph; is this an ONNX file?");
    }
    OnnxModel model;
    for (const auto& opset : proto.opset_import()) {
      model.opsets[plain_domain(opset.domain())] = opset.version();
    }
    // Files before IR version 3 name no operator set: it is 1.
    if (proto.opset_import_size() == 0) model.opsets[""] = 1;
    for (const auto& entry : proto.metadata_props())  // for people alone: escapes serve them
      model.metadata[escape_invalid_utf8(entry.key())] = escape_invalid_utf8(entry.value());
    if (!proto.producer_name().empty()) {
      model.metadata["producer"] = escape_invalid_utf8(
          proto.producer_name() + (proto.producer_version().empty() ? "" : " " + proto.producer_version()));
    }
    HAI_TRY(model.graph, read_graph(*proto.mutable_graph(), 0));
    for (auto& function : *proto.mutable_functions()) {
      HAI_TRY(OnnxFunction read, read_function(function));
      model.functions.push_back(std::move(read));
    }
    if (not_text_) return *not_text_;
    return model;
  }

 private:
  // Remembers the first name that is no text; read() then refuses the model.
  void check_name(std::string_view what, const std::string& name) {
    if (not_text_ || is_utf8(name)) return;
    not_text_ = make_error(StatusCode::kCorrupt, "X033",
                           "{} \"{}\" is not UTF-8, which names in ONNX must be; rename it where the model is exported",
                           what, name);
  }

  Result<OnnxAttribute> read_attribute(onnx::AttributeProto& attribute, int depth) {
    using Proto = onnx::AttributeProto;
    int type = attribute.type();
    if (type == Proto::UNDEFINED) {  // files of IR version 1 leave the type out
      if (attribute.has_f()) type = Proto::FLOAT;
      if (attribute.has_i()) type = Proto::INT;
      if (attribute.has_s()) type = Proto::STRING;
      if (attribute.has_t()) type = Proto::TENSOR;
      if (attribute.floats_size() > 0) type = Proto::FLOATS;
      if (attribute.ints_size() > 0) type = Proto::INTS;
    }
    if (attribute.has_ref_attr_name() && !attribute.ref_attr_name().empty()) {
      return OnnxAttribute(OnnxOpaque{"@" + attribute.ref_attr_name()});  // replaced when its function is expanded
    }
    switch (type) {
      case Proto::FLOAT:
        return OnnxAttribute(attribute.f());
      case Proto::INT:
        return OnnxAttribute(attribute.i());
      case Proto::STRING:
        return OnnxAttribute(std::move(*attribute.mutable_s()));
      case Proto::FLOATS:
        return OnnxAttribute(std::vector<float>(attribute.floats().begin(), attribute.floats().end()));
      case Proto::INTS:
        return OnnxAttribute(std::vector<int64_t>(attribute.ints().begin(), attribute.ints().end()));
      case Proto::STRINGS:
        return OnnxAttribute(std::vector<std::string>(attribute.strings().begin(), attribute.strings().end()));
      case Proto::TENSOR: {
        HAI_TRY(OnnxTensor tensor, read_tensor(*attribute.mutable_t(), options_));
        return OnnxAttribute(std::move(tensor));
      }
      case Proto::GRAPH: {
        HAI_TRY(OnnxGraph graph, read_graph(*attribute.mutable_g(), depth + 1));
        return OnnxAttribute(std::make_shared<OnnxGraph>(std::move(graph)));
      }
      default:
        return OnnxAttribute(OnnxOpaque{"attribute type " + std::to_string(type)});
    }
  }

  Result<OnnxNode> read_node(onnx::NodeProto& proto, int depth) {
    OnnxNode node;
    node.op_type = std::move(*proto.mutable_op_type());
    node.domain = plain_domain(proto.domain());
    node.name = std::move(*proto.mutable_name());
    node.inputs.assign(std::make_move_iterator(proto.mutable_input()->begin()),
                       std::make_move_iterator(proto.mutable_input()->end()));
    node.outputs.assign(std::make_move_iterator(proto.mutable_output()->begin()),
                        std::make_move_iterator(proto.mutable_output()->end()));
    check_name("the operator", node.op_type);
    check_name("the domain of an operator,", node.domain);
    check_name("the node", node.name);
    for (const std::string& input : node.inputs)
      check_name(fmt::format("an input of node \"{}\",", node.label()), input);
    for (const std::string& output : node.outputs) check_name("the value", output);
    if (node.op_type.empty() || node.outputs.empty()) {
      return make_error(StatusCode::kCorrupt, "X021", "node \"{}\" has no operator or no outputs", node.label());
    }
    for (auto& attribute : *proto.mutable_attribute()) {
      check_name(fmt::format("an attribute of node \"{}\",", node.label()), attribute.name());
      auto read = read_attribute(attribute, depth);
      if (!read) {
        return with_where(read.error(), fmt::format("node \"{}\", attribute \"{}\"", node.label(), attribute.name()));
      }
      if (!node.attributes.emplace(attribute.name(), std::move(read).value()).second) {
        return make_error(StatusCode::kCorrupt, "X022", "node \"{}\" ({}) has the attribute \"{}\" twice", node.label(),
                          node.op_type, attribute.name());
      }
    }
    return node;
  }

  Result<OnnxInput> read_input(const onnx::ValueInfoProto& proto) {
    OnnxInput input;
    input.name = proto.name();
    const std::string where = "input \"" + input.name + "\"";
    if (!proto.has_type() || !proto.type().has_tensor_type()) {
      return make_error(StatusCode::kUnsupported, "X023",
                        "{} is not a tensor (a sequence, map, optional or sparse tensor, or no type at all); only "
                        "tensors can be inputs",
                        where);
    }
    const auto& tensor = proto.type().tensor_type();
    auto dtype = element_type(tensor.elem_type());
    if (!dtype) return with_where(dtype.error(), where);
    input.dtype = *dtype;
    input.has_shape = tensor.has_shape();
    for (const auto& dim : tensor.shape().dim()) {
      OnnxDim read;
      if (dim.has_dim_value()) read.value = dim.dim_value();
      if (dim.has_dim_param()) read.symbol = dim.dim_param();
      check_name(fmt::format("a dimension of {},", where), read.symbol);
      if (read.value < -1) {
        return make_error(StatusCode::kCorrupt, "X024", "{} has the dimension {}; dimensions are not negative", where,
                          read.value);
      }
      input.dims.push_back(std::move(read));
    }
    if (input.dims.size() > static_cast<size_t>(kMaxRank)) {
      return make_error(StatusCode::kUnsupported, "X025", "{} has {} dimensions; at most {} are supported", where,
                        input.dims.size(), kMaxRank);
    }
    return input;
  }

  Result<OnnxGraph> read_graph(onnx::GraphProto& proto, int depth) {
    if (depth > kMaxGraphDepth) {
      return make_error(StatusCode::kUnsupported, "X026", "graphs are nested deeper than {}", kMaxGraphDepth);
    }
    OnnxGraph graph;
    graph.name = proto.name();
    check_name("the graph", graph.name);
    if (proto.sparse_initializer_size() > 0) {
      return make_error(StatusCode::kUnsupported, "X027",
                        "the graph has sparse initializers; convert them to dense ones before exporting");
    }
    std::set<std::string, std::less<>> written;
    for (auto& initializer : *proto.mutable_initializer()) {
      const std::string name = initializer.name();
      check_name("the initializer", name);
      HAI_TRY(OnnxTensor tensor, read_tensor(initializer, options_));
      if (!graph.initializers.emplace(name, std::move(tensor)).second) return written_twice(name);
      written.insert(name);
    }
    for (const auto& value : proto.input()) {
      check_name("the input", value.name());
      if (graph.initializers.find(value.name()) != graph.initializers.end()) continue;  // a default: a constant here
      if (depth > 0) {  // a branch or a loop's body: types are not always given
        OnnxInput input;
        input.name = value.name();
        graph.inputs.push_back(std::move(input));
      } else {
        HAI_TRY(OnnxInput input, read_input(value));
        graph.inputs.push_back(std::move(input));
      }
      if (!written.insert(value.name()).second) return written_twice(value.name());
    }
    for (auto& node_proto : *proto.mutable_node()) {
      HAI_TRY(OnnxNode node, read_node(node_proto, depth));
      for (const std::string& output : node.outputs) {
        if (!output.empty() && !written.insert(output).second) return written_twice(output);
      }
      graph.nodes.push_back(std::move(node));
    }
    for (const auto& value : proto.output()) {
      check_name("the output", value.name());
      graph.outputs.push_back(value.name());
    }
    return graph;
  }

  static Error written_twice(const std::string& name) {
    return make_error(StatusCode::kCorrupt, "X028",
                      "value \"{}\" is written twice (by nodes, inputs or initializers); in ONNX each name is written "
                      "once",
                      name);
  }

  Result<OnnxFunction> read_function(onnx::FunctionProto& proto) {
    OnnxFunction function;
    function.name = proto.name();
    check_name("the function", function.name);
    function.domain = plain_domain(proto.domain());
    function.inputs.assign(proto.input().begin(), proto.input().end());
    function.outputs.assign(proto.output().begin(), proto.output().end());
    for (const std::string& name : function.inputs) check_name("a function's input", name);
    for (const std::string& name : function.outputs) check_name("a function's output", name);
    for (auto& attribute : *proto.mutable_attribute_proto()) {
      HAI_TRY(OnnxAttribute read, read_attribute(attribute, 0));
      function.defaults.emplace(attribute.name(), std::move(read));
    }
    for (auto& node_proto : *proto.mutable_node()) {
      HAI_TRY(OnnxNode node, read_node(node_proto, 0));
      function.nodes.push_back(std::move(node));
    }
    return function;
  }

  const ImportOptions& options_;
  std::optional<Error> not_text_;
};

Result<OnnxModel> parse_stream(google::protobuf::io::ZeroCopyInputStream& stream, const ImportOptions& options) {
  onnx::ModelProto proto;
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetRecursionLimit(kMaxProtobufDepth);
  if (!proto.ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage()) {
    return make_error(StatusCode::kCorrupt, "X029",
                      "this is not an ONNX model, or it is cut short or nested deeper than {} (stopped near byte {})",
                      kMaxProtobufDepth, coded.CurrentPosition());
  }
  return Reader(options).read(proto);
}

// A file as a stream of blocks.
class FileBlocks : public google::protobuf::io::CopyingInputStream {
 public:
  explicit FileBlocks(int descriptor) : descriptor_(descriptor) {}
  int Read(void* buffer, int size) override {
    ssize_t got = -1;
    do {
      got = ::read(descriptor_, buffer, static_cast<size_t>(size));
    } while (got < 0 && errno == EINTR);
    return static_cast<int>(got);
  }

 private:
  int descriptor_;
};

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : number(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int number;
};

Error too_large(int64_t size_bytes) {
  return make_error(StatusCode::kOutOfRange, "X030",
                    "the model has {} bytes; protobuf's limit is 2 GiB: export it with its weights as external data",
                    size_bytes);
}

}  // namespace

std::string OnnxNode::label() const {
  if (!name.empty()) return name;
  for (const std::string& output : outputs) {
    if (!output.empty()) return output;
  }
  return op_type;
}

Result<OnnxModel> read_onnx_file(const std::string& path, const ImportOptions& options) {
  HAI_TRY_STATUS(check_path(path));
  const Descriptor file(path);
  struct stat status = {};
  if (file.number < 0 || ::fstat(file.number, &status) != 0) {
    return make_error(StatusCode::kNotFound, "X031", "cannot open the file: {}", std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    return make_error(StatusCode::kInvalidArgument, "X032",
                      "this is not a regular file; give the path of an .onnx file");
  }
  if (status.st_size > kMaxFileBytes) return too_large(status.st_size);
  constexpr int kBlockBytes = 1 << 18;
  FileBlocks blocks(file.number);
  google::protobuf::io::CopyingInputStreamAdaptor stream(&blocks, kBlockBytes);
  return parse_stream(stream, options);
}

Result<OnnxModel> read_onnx_bytes(std::span<const std::byte> bytes, const ImportOptions& options) {
  if (bytes.size() > static_cast<size_t>(kMaxFileBytes)) return too_large(static_cast<int64_t>(bytes.size()));
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  return parse_stream(stream, options);
}

}  // namespace hai::onnx_import
