// SPDX-License-Identifier: MIT
#include "text/kept_tokenizer.h"

#include <fmt/core.h>
#include <unistd.h>

#include <system_error>

#include "base/choices.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/load_tokenizer.h"

namespace moe::text {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNote = "moe_tokenizer.json";
constexpr const char* kHint = "copy the run's folder tokenizer/ again from where it is whole";

std::string note_of(const std::string& setting, const Tokenizer& tokenizer) {
  const TokenizerOrigin& origin = tokenizer.origin();
  const OrderedJson note{
      {"name", tokenizer.facts().name},         {"setting", setting},
      {"file", origin.files.front().name},      {"pattern", origin.pattern},
      {"end_of_text", tokenizer.end_of_text()}, {"fingerprint", fingerprint_text(tokenizer.fingerprint())}};
  return note.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

void keep_tokenizer(const fs::path& folder, const std::string& setting, const Tokenizer& tokenizer) {
  if (tokenizer.origin().files.empty()) return;
  const fs::path staged = fmt::format("{}.tmp-{}", folder.string(), getpid());
  remove_quietly(staged);
  make_folders(staged);
  for (const TokenizerOrigin::File& file : tokenizer.origin().files) {
    write_file_atomically(staged / file.name, file.bytes);
  }
  write_file_atomically(staged / kNote, note_of(setting, tokenizer));
  remove_quietly(folder);
  std::error_code error;
  fs::rename(staged, folder, error);
  if (error) throw UserError(folder.string(), "a folder that can be made", error.message());
  synchronise_folder(folder_of(folder));
}

bool has_kept_tokenizer(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kNote, ignored);
}

KeptTokenizer open_kept_tokenizer(const fs::path& folder) {
  const std::string where = (folder / kNote).string();
  const Json json = parse_json(where, read_file(folder / kNote), kHint);
  const JsonFields note(where, json, kHint);
  const std::string pattern = note.text("pattern"), fingerprint = note.text("fingerprint");
  const fs::path file = folder / fs::path(note.text("file")).filename();
  KeptTokenizer kept{.setting = note.text("setting"), .tokenizer = {}};
  if (pattern.empty()) {
    kept.tokenizer = load_tokenizer(file, note.text("name"));
  } else {
    const auto known = value_named<SplitPattern>(pattern);
    if (!known) note.refuse("pattern", "a pattern that is known here", quote(note.at("pattern")));
    const auto end = static_cast<TokenId>(note.whole("end_of_text", 0, 1 << 30));
    kept.tokenizer = load_tiktoken(file, *known, end, note.text("name"));
  }
  if (const std::string found = fingerprint_text(kept.tokenizer->fingerprint()); found != fingerprint) {
    throw UserError(folder.string(), fmt::format("the tokenizer of the run, fingerprint {}", fingerprint),
                    "another, " + found, kHint);
  }
  return kept;
}

}  // namespace moe::text
