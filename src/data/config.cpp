// SPDX-License-Identifier: MIT
#include "data/config.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/filter.h"
#include "data/text.h"

namespace moe::data {

void DataConfig::describe(Fields& fields) {
  fields.add("tokenizer", tokenizer.name, "gpt2, gpt2:N, a tokenizer.json or its folder, or RANKS#PATTERN")
      .known_as({"tokenizer_name", "tokenizer_path", "tokenizer_type", "tokenizer_model", "tokenizer_file",
                 "tokenizer_name_or_path", "hf_tokenizer"});
  fields.add("source", source, "files, folders, hf://datasets/USER/NAME/PATH, https:// addresses")
      .known_as({"dataset", "datasets", "dataset_name", "dataset_path", "data_path", "data_dir", "train_data",
                 "train_file", "train_files", "path", "files"});
  fields.add("mixture", mixture, "in place of source: each place after its weight, as \"0.7 texts/\"");
  fields.add("validation_source", validation_source, "files or folders held out; [] takes a share of source")
      .known_as({"validation_file", "validation_data", "val_data", "val_file", "eval_dataset", "eval_data"});
  fields
      .add("validation_fraction", validation_fraction,
           "that share of the text, held out; unused with validation_source")
      .at_least(0)
      .less_than(1)
      .known_as({"val_split", "val_fraction", "validation_split", "test_size", "eval_fraction"});
  fields.add("format", format, "of files whose ending names none; auto takes only endings it knows");
  fields.add("text_column", text_column, "Parquet column or JSON key that holds the text")
      .known_as(
          {"text_field", "dataset_text_field", "text_key", "content_field", "text_column_name", "json_keys"});
  fields.add("filters", filters, "rows to take, by other columns, as \"int_score >= 3\"");
  fields.add("conversations", conversations,
             "lines and rows are conversations of this form, or of any: auto");
  fields.add("chat_template", chat_template, "auto, default, chatml, qwen3, llama3, tulu, mistral or a path");
  fields.add("learned", learned, "of conversations: the assistant's tokens, or all");
  fields.add("special_text", special_text,
             "where <|im_end|> is that token: anywhere, or of the template alone");
  fields.add("document_split", document_split, "where a text file's documents begin");
  fields.add("document_marker", document_marker, "text between documents, with document_split: marker");
  fields.add("bad_rows", bad_rows, "rows that cannot be read: stop there, or leave them out and count them");
  fields.add("bad_rows_limit", bad_rows_limit, "so many rows are left out, one more stops").at_least(0);
  fields.add("document_mask", document_mask, "tokens see their own document only");
  fields.add("shuffle", shuffle, "mix the order of documents");
  fields.add("shuffle_window_mb", shuffle_window_mb, "MiB of text mixed at a time")
      .range(1, 1 << 20)
      .known_as({"shuffle_buffer", "shuffle_buffer_size", "buffer_size"});
  fields.add("unit_kb", unit_kb, "KiB of text read as one piece of work").range(1, 1 << 20);
  fields.add("packing", packing, "documents in rows: cut at the end, whole as they fit, or one a row");
  fields.add("streams", streams, "rows come in turn from so many, which ranks share out").range(1, 1024);
  fields.add("num_workers", num_workers, "threads that tokenize")
      .range(1, 1024)
      .known_as({"dataloader_num_workers", "num_proc", "preprocessing_num_workers"});
  fields.add("read_threads", read_threads, "threads that read files").range(1, 1024);
  fields.add("prefetch_batches", prefetch_batches, "batches ready ahead of the trainer").range(1, 4096);
  fields
      .add("hub_cache_gb", hub_cache_gb,
           "GB of files kept in the hub's cache, fetched as they are read; 0: none")
      .range(0, 1e6);
  fields.add("stage", stage, "raised with --resume: another text begins at its start; the rest goes on")
      .range(1, 1e6);
  fields.add("check_text", check_text, "a resumed run's text must be the same; false: it may be repaired");
  fields.add("rules", rules, "how files are taken and text is held out; 1: as in version 0.1").range(1, 2);
  fields
      .add("network_patience_minutes", network_patience_minutes,
           "an outage of remote data that lasts longer ends the run, saved")
      .range(0, 1e6);
  fields
      .add("network_least_kb_per_second", network_least_kb_per_second,
           "remote data that comes slower is asked for again; 0: any rate")
      .range(0, 1e6);
  fields.add("cache_dir", cache_dir, "folder for decoded copies of compressed files; \"\" is ~/.cache/moe");
}

void DataConfig::validate() const {
  DataConfig copy = *this;
  Fields fields;
  copy.describe(fields);
  fields.check("data");
  if (!source.empty() && !mixture.empty())
    throw UserError("data.mixture", "a mixture or data.source", "both", "set one of them to []");
  parse_filters(filters);
  if (has_conversations() && packing == Packing::concat)
    throw UserError("data.packing", "best_fit or pad, which keep conversations whole",
                    std::string(name_of(packing)), "set data.packing to best_fit");
  if (has_conversations() && !document_mask)
    throw UserError("data.document_mask", "true, so that no conversation sees another", "false");
  if (has_conversations() && !filters.empty())
    throw UserError("data.filters", "none beside data.conversations", std::to_string(filters.size()));
  if (document_split == DocumentSplit::marker &&
      (document_marker.empty() || std::ssize(document_marker) > kLongestMarker))
    throw UserError("data.document_marker", fmt::format("a text of 1 to {} bytes", kLongestMarker),
                    fmt::format("{} bytes", document_marker.size()));
  if (shuffle && unit_kb > shuffle_window_mb * 1024)
    throw UserError("data.unit_kb", fmt::format("at most data.shuffle_window_mb ({} MiB)", shuffle_window_mb),
                    fmt::format("{} KiB", unit_kb), fmt::format("unit_kb {}", shuffle_window_mb * 1024));
}

std::shared_ptr<const text::Chat> DataConfig::open_chat() const {
  if (!kept_chat.empty()) return text::open_kept_chat(kept_chat, tokenizer.open());
  return text::open_chat(chat_template, tokenizer.name, tokenizer.open());
}

void DataConfig::require_text() const {
  if (source.empty() && mixture.empty())
    throw UserError("data.source", "files or folders with training text", "an empty list",
                    "add data.source=FILE to the command line, or a section data to the config file");
}

}  // namespace moe::data
