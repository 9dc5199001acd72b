// Tensors as they lie in files: raw little-endian values in C order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tenpass {

using Shape = std::vector<std::int64_t>;  // a scalar's is empty

// What the elements may be, by numpy's names (PROTOCOL.md, "Call").
enum class ElementType {
  float32, float16, float64, int8, uint8, int16, uint16, int32, uint32, int64, uint64, boolean,
};

const char* type_name(ElementType type);
std::optional<ElementType> type_named(const std::string& name);
const std::vector<std::string>& type_names();
std::size_t element_bytes(ElementType type);

// What a tensor of that type and shape takes; its sizes must be in bounds (options.cpp, or the runtime's own).
std::size_t tensor_bytes(ElementType type, const Shape& shape);

// "float32 (1, 3, any, 224)"; a negative size stands for any.
std::string as_text(ElementType type, const Shape& shape);
std::string as_text(const Shape& shape);

// An input tensor, as it was read.
struct Tensor {
  ElementType type;
  Shape shape;
  std::vector<char> bytes;
};

// An output tensor, where the engine keeps it; valid until the next run.
struct OutputView {
  ElementType type;
  Shape shape;
  const void* data;
  std::size_t bytes;
};

}  // namespace tenpass
