// Android's su, as it is on phones whose ro.build.type is "userdebug": su [USER [COMMAND...]].
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

int main(int argc, char** argv) {
  const char* const name = argc > 1 ? argv[1] : "root";
  char* end = nullptr;
  const auto number = static_cast<uid_t>(std::strtoul(name, &end, 10));
  const passwd* const user = *end == '\0' && end != name ? getpwuid(number) : getpwnam(name);
  if (user == nullptr) {
    std::fprintf(stderr, "su: no user %s\n", name);
    return 1;
  }
  const gid_t group = user->pw_gid;
  if (setgroups(1, &group) != 0 || setgid(group) != 0 || setuid(user->pw_uid) != 0) {
    std::fprintf(stderr, "su: %s\n", std::strerror(errno));
    return 1;
  }
  char shell[] = "/system/bin/sh";
  char* const alone[] = {shell, nullptr};
  char* const* const command = argc > 2 ? argv + 2 : alone;
  execvp(command[0], command);
  std::fprintf(stderr, "su: %s: %s\n", command[0], std::strerror(errno));
  return 127;
}
