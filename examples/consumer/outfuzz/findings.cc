// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/findings.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <ios>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace outfuzz {
namespace {

constexpr uint64_t kMaxOfOneCause = 3;
constexpr uint64_t kMaxFiles = 100;

std::string CauseOf(const Result& result) {
  return absl::StrCat(VerdictName(result.verdict), " ", result.cause);
}

// FNV-1a: to tell files apart, not to trust.
uint64_t HashOf(const Input& input) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const uint8_t byte : input) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

// Whole or not at all.
absl::Status WriteFile(const std::string& path, const Input& input) {
  const std::string unfinished = path + ".part";
  std::ofstream file(unfinished, std::ios::binary | std::ios::trunc);
  for (const uint8_t byte : input) file.put(static_cast<char>(byte));
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(unfinished, path, error);
  if (file && !error) return absl::OkStatus();
  std::filesystem::remove(unfinished, error);
  return absl::UnavailableError("can't write " + path);
}

}  // namespace

bool Findings::Wants(const Result& result) const {
  if (result.verdict == Verdict::kOk || saved_ >= kMaxFiles) return false;
  const auto known = by_cause_.find(CauseOf(result));
  return known == by_cause_.end() || known->second < kMaxOfOneCause;
}

absl::StatusOr<std::string> Findings::Add(const Result& result, const Input& input) {
  const bool wanted = Wants(result);
  ++total_;
  ++by_verdict_[result.verdict];
  if (!wanted) return std::string();
  ++by_cause_[CauseOf(result)];
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return absl::UnavailableError("can't make the folder " + folder_);
  const std::string path =
      absl::StrFormat("%s/%s-%016x", folder_, VerdictName(result.verdict), HashOf(input));
  absl::Status written = WriteFile(path, input);
  if (!written.ok()) return written;
  ++saved_;
  return path;
}

uint64_t Findings::count(Verdict verdict) const {
  const auto found = by_verdict_.find(verdict);
  return found == by_verdict_.end() ? 0 : found->second;
}

}  // namespace outfuzz
