// SPDX-License-Identifier: MIT
#include "checkpoint/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"

namespace moe::checkpoint {

std::string to_json(const Manifest& manifest) {
  OrderedJson root = {{"format", kCheckpointFormat},
                      {"program", manifest.program},
                      {"step", manifest.step},
                      {"files", OrderedJson::object()}};
  for (const auto& [name, file] : manifest.files) {
    root["files"][name] = {{"bytes", file.bytes}, {"xxh3_128", file.hash}};
  }
  return root.dump(2) + "\n";
}

Manifest parse_manifest(const std::string& where, std::string_view text) {
  const Json json = parse_json(where, text);
  const JsonFields root(where, json);
  const int64_t format = root.whole("format");
  Manifest manifest{0, root.text("program"), {}};
  if (format != kCheckpointFormat) {
    throw UserError(
        where, fmt::format("checkpoint format {}", kCheckpointFormat),
        fmt::format("format {}, written by {}", format, excerpt(manifest.program)),
        fmt::format("read it with a{} version of moe", format > kCheckpointFormat ? " newer" : "n older"));
  }
  manifest.step = root.whole("step");
  for (const auto& [name, entry] : root.inside("files").value().items()) {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      throw UserError(where, "plain file names", quote(Json(name)));
    const JsonFields file(fmt::format("{}: {}", where, excerpt(name)), entry);
    manifest.files[name] = {static_cast<uint64_t>(file.whole("bytes")), file.text("xxh3_128")};
  }
  return manifest;
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

}  // namespace moe::checkpoint
