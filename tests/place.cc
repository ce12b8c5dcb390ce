// SPDX-License-Identifier: Apache-2.0
#include "parley/tests/place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "parley/os/check.h"
#include "parley/tests/process.h"

namespace parley {
namespace {

namespace fs = std::filesystem;

// Beside this repository, whose sources the test's data lead to.
std::string ContainerRunner() {
  std::error_code error;
  const fs::path source = fs::canonical(Binary("tests/place.cc"), error);
  if (error) return "";
  return source.parent_path().parent_path().parent_path() / "shared/containers/run-in-container";
}

bool IsThere(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

}  // namespace

std::string ToString(Place place) {
  switch (place) {
    case Place::kRoot:
      return "root";
    case Place::kUser:
      return "user";
    case Place::kContainer:
      break;
  }
  return "container";
}

std::optional<std::string> WhyNot(Place place) {
  if (place == Place::kUser) return std::nullopt;  // as we are, or as root makes one
  if (::geteuid() != 0) return "only root can run something as root or in a container";
  if (place == Place::kRoot) return std::nullopt;
  if (!IsThere(ContainerRunner())) return "../shared/containers/run-in-container is not there";
  if (!IsThere("/usr/sbin/runc")) return "there is no runc";
  if (!IsThere("/usr/share/containers/seccomp.json")) return "there is no list of Docker's filter";
  return std::nullopt;
}

Stage::Stage(const std::vector<std::string>& files) {
  std::string pattern = "/tmp/parley-where.XXXXXX";
  PARLEY_CHECK(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
  folder_ = pattern;
  PARLEY_CHECK(::chmod(folder_.c_str(), 0755) == 0, "chmod");
  for (const std::string& file : files) Add(Binary(file), file);
}

Stage::~Stage() {
  std::error_code error;
  fs::remove_all(folder_, error);
}

void Stage::Add(const std::string& path, const std::string& as) const {
  const fs::path target = fs::path(folder_) / as;
  fs::create_directories(target.parent_path());
  fs::copy_file(path, target, fs::copy_options::overwrite_existing);
  fs::permissions(target, fs::perms(0755));
}

Ran Stage::RunIn(Place place, const std::string& line, const std::vector<std::string>& environment,
                 Deadline deadline) const {
  // The shell stays, or the program were process 1 of the container, and got others' children.
  std::string script = "cd " + (place == Place::kContainer ? std::string("/app") : folder_) +
                       " && env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp ";
  for (const std::string& variable : environment) script += variable + " ";
  script += "sh -c '" + line + "' 2>&1; exit $?";
  std::vector<std::string> command;
  if (place == Place::kContainer) {
    command = {ContainerRunner(), "--ro", folder_ + ":/app", "--"};
  } else if (place == Place::kUser && ::geteuid() == 0) {
    command = {"setpriv",        "--reuid=1000",    "--regid=1000",
               "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"};
  }
  for (const char* word : {"/bin/sh", "-c"}) command.emplace_back(word);
  command.push_back(script);
  Process process(command);
  const int exit_code = process.Wait(deadline);
  return {exit_code, process.output() + process.errors()};
}

}  // namespace parley
