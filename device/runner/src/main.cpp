#include <csignal>
#include <iostream>

#include "linux_system.hpp"
#include "run.hpp"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);  // a runner whose host is gone ends, also if adbd left the signal ignored
  tenpass::LinuxSystem system;
  return tenpass::run(argc, argv, tenpass::make_engine, system, std::cout);
}
