// SPDX-License-Identifier: MIT
#include "hub/answers.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "hub/address.h"

namespace moe::hub {
namespace {

File checked(const std::string& where, File file) {
  if (!is_inner_path(file.path) || !is_oid(file.oid))
    throw UserError(where, "a path inside the repository, and a hash",
                    fmt::format("\"{}\" and \"{}\"", excerpt(file.path), excerpt(file.oid)));
  return file;
}

}  // namespace

std::string read_commit(const std::string& where, std::string_view answer, const std::string& hint) {
  const auto json = try_parse_json(answer);
  const bool has = json && json->is_object() && json->contains("sha") && json->at("sha").is_string();
  auto commit = has ? json->at("sha").get<std::string>() : std::string();
  if (!is_commit(commit)) throw UserError(where, "the commit of the revision", "an answer without one", hint);
  return commit;
}

std::vector<File> read_listing(const std::string& where, std::string_view answer, const std::string& hint) {
  const Json page = parse_json(where + ": listing", answer, hint);
  if (!page.is_array()) throw UserError(where, "a listing", quote(page), hint);
  std::vector<File> files;
  for (const Json& element : page) {
    const JsonFields entry(where + ": listing", element, hint);
    if (entry.text("type") != "file") continue;
    const bool lfs = entry.has("lfs");
    const JsonFields content = lfs ? entry.inside("lfs") : entry;
    files.push_back(checked(
        entry.where(),
        {.path = entry.text("path"), .size = content.whole("size"), .oid = content.text("oid"), .lfs = lfs}));
  }
  return files;
}

std::optional<std::vector<File>> read_kept_tree(std::string_view text) {
  try {
    const Json json = parse_json("", text);
    const JsonFields tree("", json);
    if (tree.whole("format_version") != 1) return std::nullopt;
    std::vector<File> files;
    for (const auto& [name, value] : tree.inside("files").value().items()) {
      const JsonFields entry("", value);
      const bool lfs = entry.has("lfs_sha256");
      files.push_back(checked("", {.path = name,
                                   .size = entry.whole(lfs ? "lfs_size" : "size"),
                                   .oid = entry.text(lfs ? "lfs_sha256" : "blob_id"),
                                   .lfs = lfs}));
    }
    return files;
  } catch (const UserError&) {
    return std::nullopt;
  }
}

}  // namespace moe::hub
