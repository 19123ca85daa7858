// SPDX-License-Identifier: MIT
// Where the training text comes from and how it becomes rows: section "data" of a config file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/fields.h"
#include "text/chat.h"
#include "text/open_tokenizer.h"

namespace moe::data {

// What a file is whose ending names no format.
enum class FormatSetting : uint8_t { automatic, text, jsonl, parquet, tokens };
constexpr auto choices_of(FormatSetting) {
  return choices<FormatSetting>({{FormatSetting::automatic, "auto"},
                                 {FormatSetting::text, "text"},
                                 {FormatSetting::jsonl, "jsonl"},
                                 {FormatSetting::parquet, "parquet"},
                                 {FormatSetting::tokens, "tokens"}});
}

enum class DocumentSplit : uint8_t {
  file,        // the whole file is one document
  line,        // every line
  blank_line,  // blocks between blank lines (lines of white space only)
  unindented,  // a line that begins with a non-space after a blank line; indented blocks stay with it
  marker       // what lies between two markers
};
constexpr auto choices_of(DocumentSplit) {
  return choices<DocumentSplit>({{DocumentSplit::unindented, "unindented"},
                                 {DocumentSplit::blank_line, "blank_line"},
                                 {DocumentSplit::line, "line"},
                                 {DocumentSplit::file, "file"},
                                 {DocumentSplit::marker, "marker"}});
}

enum class BadRows : uint8_t { stop, skip };
constexpr auto choices_of(BadRows) {
  return choices<BadRows>({{BadRows::stop, "stop"}, {BadRows::skip, "skip"}});
}

enum class Packing : uint8_t { concat, best_fit, pad };  // data/packer.h
constexpr auto choices_of(Packing) {
  return choices<Packing>(
      {{Packing::concat, "concat"}, {Packing::best_fit, "best_fit"}, {Packing::pad, "pad"}});
}

// What a line of JSON or a row of Parquet has of a conversation (data/conversation.h).
enum class ConversationFormat : uint8_t { none, automatic, messages, sharegpt, alpaca, prompt };
constexpr auto choices_of(ConversationFormat) {
  return choices<ConversationFormat>({{ConversationFormat::none, "none"},
                                      {ConversationFormat::automatic, "auto"},
                                      {ConversationFormat::messages, "messages"},
                                      {ConversationFormat::sharegpt, "sharegpt"},
                                      {ConversationFormat::alpaca, "alpaca"},
                                      {ConversationFormat::prompt, "prompt"}});
}

// Which tokens of a conversation are targets.
enum class Learned : uint8_t { answers, all };
constexpr auto choices_of(Learned) {
  return choices<Learned>({{Learned::answers, "answers"}, {Learned::all, "all"}});
}

struct DataConfig {
  text::TokenizerChoice tokenizer;
  std::vector<std::string> source;             // places (data/source.h); no default
  std::vector<std::string> mixture;            // "WEIGHT PLACE", in place of source
  std::vector<std::string> validation_source;  // empty: hold out validation_fraction of source
  double validation_fraction = 0.01;
  FormatSetting format = FormatSetting::automatic;
  std::string text_column = "text";
  std::vector<std::string> filters;  // data/filter.h
  ConversationFormat conversations = ConversationFormat::none;
  std::string chat_template = "auto";  // text/chat.h
  Learned learned = Learned::answers;
  text::SpecialText special_text = text::SpecialText::anywhere;
  DocumentSplit document_split = DocumentSplit::file;
  std::string document_marker = "<|endoftext|>";
  BadRows bad_rows = BadRows::stop;
  int64_t bad_rows_limit = 1000;
  bool document_mask = true;
  double hub_cache_gb = 0;               // hub/keeper.h
  double network_patience_minutes = 30;  // net/http.h
  double network_least_kb_per_second = 1;
  bool shuffle = true;
  int64_t shuffle_window_mb = 64;
  int64_t unit_kb = 256;
  Packing packing = Packing::concat;
  int64_t streams = 8;  // see data/interleave.h
  int64_t num_workers = 2;
  int64_t read_threads = 4;
  int64_t prefetch_batches = 4;
  int64_t stage = 1;       // train/resume.h
  bool check_text = true;  // train/resume.h
  int64_t rules = 2;       // 1: as version 0.1 chose files and formats, and held text out
  std::string cache_dir;   // empty: cache_folder() of base/file.h

  // No settings: the length of a row, above which a conversation loses its last turns; the folder of a run
  // that keeps its template, empty: as chat_template says.
  int64_t row_length = 0;
  std::filesystem::path kept_chat;

  void describe(Fields& fields);
  // Throws a UserError for a value outside its limits, or settings that contradict each other.
  void validate() const;
  // Throws a UserError when no text is named: a model can be used without, but not trained.
  void require_text() const;
  bool has_conversations() const { return conversations != ConversationFormat::none; }
  // The template, and the tokens that it adds to the tokenizer.
  std::shared_ptr<const text::Chat> open_chat() const;
};

}  // namespace moe::data
