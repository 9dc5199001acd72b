#include "tensor.hpp"

#include <algorithm>
#include <iterator>

namespace tenpass {
namespace {

struct Element {
  const char* name;
  std::size_t bytes;
};

// In the order of ElementType.
constexpr Element kElements[] = {
    {"float32", 4}, {"float16", 2}, {"float64", 8}, {"int8", 1},   {"uint8", 1}, {"int16", 2},
    {"uint16", 2},  {"int32", 4},   {"uint32", 4},  {"int64", 8},  {"uint64", 8}, {"bool", 1},
};

const Element& element(ElementType type) { return kElements[static_cast<std::size_t>(type)]; }

}  // namespace

const char* type_name(ElementType type) { return element(type).name; }

std::optional<ElementType> type_named(const std::string& name) {
  const auto found = std::find_if(std::begin(kElements), std::end(kElements),
                                  [&](const Element& one) { return name == one.name; });
  if (found == std::end(kElements)) return std::nullopt;
  return static_cast<ElementType>(found - std::begin(kElements));
}

const std::vector<std::string>& type_names() {
  static const auto names = [] {
    std::vector<std::string> all;
    for (const auto& one : kElements) all.emplace_back(one.name);
    return all;
  }();
  return names;
}

std::size_t element_bytes(ElementType type) { return element(type).bytes; }

std::size_t tensor_bytes(ElementType type, const Shape& shape) {
  std::size_t bytes = element_bytes(type);
  for (const auto size : shape) bytes *= static_cast<std::size_t>(size);
  return bytes;
}

std::string as_text(const Shape& shape) {
  std::string text = "(";
  for (const auto size : shape) {
    if (text.size() > 1) text += ", ";
    text += size < 0 ? "any" : std::to_string(size);
  }
  return text + ")";
}

std::string as_text(ElementType type, const Shape& shape) {
  return std::string(type_name(type)) + " " + as_text(shape);
}

}  // namespace tenpass
