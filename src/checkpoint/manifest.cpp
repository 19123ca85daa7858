// SPDX-License-Identifier: MIT
#include "checkpoint/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace moe {

using nlohmann::json;

std::string to_json(const Manifest& manifest) {
  nlohmann::ordered_json root = {{"format", kCheckpointFormat},
                                 {"program", manifest.program},
                                 {"step", manifest.step},
                                 {"files", json::object()}};
  for (const auto& [name, file] : manifest.files) {
    root["files"][name] = {{"bytes", file.bytes}, {"xxh3_128", file.hash}};
  }
  return root.dump(2) + "\n";
}

Manifest parse_manifest(const std::string& where, std::string_view text) {
  try {
    const json root = json::parse(text.begin(), text.end());
    const int64_t format = root.at("format").get<int64_t>();
    const std::string program = root.at("program").get<std::string>();
    if (format != kCheckpointFormat) {
      throw UserError(
          where, fmt::format("checkpoint format {}", kCheckpointFormat),
          fmt::format("format {}, written by {}", format, program),
          fmt::format("read it with a{} version of moe", format > kCheckpointFormat ? " newer" : "n older"));
    }
    Manifest manifest{root.at("step").get<int64_t>(), program, {}};
    for (const auto& [name, file] : root.at("files").items()) {
      if (name.empty() || std::filesystem::path(name).filename() != name) {
        throw UserError(where, "plain file names", "\"" + name + "\"");
      }
      manifest.files[name] = {file.at("bytes").get<uint64_t>(), file.at("xxh3_128").get<std::string>()};
    }
    return manifest;
  } catch (const json::exception& error) {
    throw UserError(where, "the manifest of a checkpoint", error.what());
  }
}

Hash::Hash() : state_(XXH3_createState()) {
  CHECK(state_);
  XXH3_128bits_reset(state_.get());
}

void Hash::add(const void* data, size_t size) {
  XXH3_128bits_update(state_.get(), data, size);
}

std::string Hash::hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
  return fmt::format("{:02x}", fmt::join(canonical.digest, ""));
}

}  // namespace moe
