#pragma once

#include <string>
#include <vector>

namespace tenpass {

// Those features of PROTOCOL.md that the CPU has and the kernel lets programs use.
std::vector<std::string> cpu_features();

}  // namespace tenpass
