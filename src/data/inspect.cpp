// SPDX-License-Identifier: MIT
#include "data/inspect.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "data/decode.h"
#include "data/find_files.h"
#include "data/parquet.h"
#include "data/source.h"
#include "data/source_bytes.h"
#include "data/text_size.h"
#include "text/tokenizer.h"

namespace moe::data {
namespace {

constexpr size_t kShownText = 600;

const char* name_of(DataFormat format) {
  switch (format) {
    case DataFormat::text:
      return "text";
    case DataFormat::jsonl:
      return "jsonl";
    case DataFormat::parquet:
      return "parquet";
    case DataFormat::tokens:
      return "tokens";
  }
  CHECK(false, "a format without a name");
}

// The beginning, without half a character at its end.
std::string beginning(std::string_view text) {
  size_t size = std::min(text.size(), kShownText);
  while (size > 0 && size < text.size() && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  std::string shown;
  repair_utf8(text.substr(0, size), shown);
  return shown + (size < text.size() ? "..." : "");
}

bool is_learned(text::TokenId marked) {
  return !is_given(marked);
}

void take_sample(const Source& source, const text::Tokenizer& tokenizer, int64_t sample_bytes,
                 Inspection& found) {
  const auto encoder = tokenizer.encoder();
  std::vector<int64_t> lengths;
  sample_units(source, {0, found.units, 1}, sample_bytes, [&](int64_t unit, const Documents& documents) {
    ++found.sample_units;
    found.sample_unit_bytes += source.unit_bytes(unit);
    for (int64_t i = 0; i < documents.size(); ++i) {
      std::vector<text::TokenId> ids;
      encoder->encode(documents.text(i), ids);
      const auto marked = documents.ids(i);
      const bool conversation = is_conversation(marked);
      const int64_t tokens = (conversation ? 0 : 1) + std::ssize(ids) + std::ssize(marked);
      if (conversation) found.learned_tokens += std::count_if(marked.begin(), marked.end(), is_learned);
      if (lengths.empty() && conversation) found.first_conversation.assign(marked.begin(), marked.end());
      if (lengths.empty()) found.first_document = beginning(documents.text(i));
      lengths.push_back(tokens);
      found.sample_tokens += tokens;
      found.sample_bytes += documents.bytes(i);
    }
  });
  found.replaced = static_cast<int64_t>(encoder->replaced());
  found.sample_documents = std::ssize(lengths);
  if (lengths.empty()) return;
  std::sort(lengths.begin(), lengths.end());
  for (size_t i = 0; i < kPercentiles.size(); ++i)
    found.tokens_per_document[i] = lengths[(lengths.size() - 1) * static_cast<size_t>(kPercentiles[i]) / 100];
}

int64_t scaled(int64_t sample, const Inspection& found) {
  if (found.sample_unit_bytes == 0) return 0;
  return std::llround(static_cast<double>(sample) * static_cast<double>(found.text_bytes) /
                      static_cast<double>(found.sample_unit_bytes));
}

}  // namespace

double Inspection::bytes_per_token() const {
  return sample_tokens > 0 ? static_cast<double>(sample_bytes) / static_cast<double>(sample_tokens) : 0;
}

int64_t Inspection::epoch_documents() const {
  return scaled(sample_documents, *this);
}

int64_t Inspection::epoch_tokens() const {
  return scaled(sample_tokens, *this);
}

Inspection inspect(const std::vector<std::string>& places, const DataConfig& config,
                   const text::Tokenizer& tokenizer, int64_t sample_bytes, Terminal& terminal) {
  Inspection found;
  DataConfig looking = config;
  looking.hub_cache_gb = 0;
  const auto remote =
      std::any_of(places.begin(), places.end(), is_remote) ? Remote::open(terminal, looking) : nullptr;
  for (const FoundFile& file :
       find_files(places, asked_format(config.format), terminal, remote, folder_rule(config)).files) {
    found.files.push_back({file.file->name(), file.file->size(), name_of(file.format)});
    found.file_bytes += file.file->size();
    if (found.columns.empty() && file.format == DataFormat::parquet && !is_compressed(file.file->name()))
      found.columns = parquet_schema(file.file);
  }
  const auto source = open_source(places, config, terminal, remote);
  found.units = source->units();
  found.text_bytes = source->bytes();
  found.rows = source->rows();
  take_sample(*source, tokenizer, sample_bytes, found);
  return found;
}

}  // namespace moe::data
