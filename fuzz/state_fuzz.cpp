// SPDX-License-Identifier: MIT
// Any bytes as the state of a run (state.json, moe_state.json) and as a cursor: a UserError, or a state from
// which a run may go on; a cursor is written and read to itself, and a loader that begins there gives a batch
// or a UserError.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "data/config.h"
#include "data/loader.h"
#include "data/text.h"
#include "text/gpt2_tokenizer.h"
#include "train/resume.h"

namespace {

const moe::text::Tokenizer& tokenizer() {
  static const moe::text::Gpt2Tokenizer tokenizer;
  return tokenizer;
}

const std::shared_ptr<const moe::data::Source>& source() {
  static const std::string text = [] {
    std::string lines;
    for (int i = 0; i < 40; ++i) lines += "line " + std::to_string(i) + " of a text\n";
    return lines;
  }();
  static const std::shared_ptr<const moe::data::Source> source =
      moe::data::text_source(moe::data::memory_file("text", text), moe::data::DocumentSplit::line, 100);
  return source;
}

void load_from(const moe::data::Cursor& cursor) {
  moe::data::DataConfig config;
  config.num_workers = config.read_threads = config.prefetch_batches = 1;
  try {
    moe::data::Loader(source(), tokenizer(), config, 1, 2, 16, cursor, moe::data::Part::train).next();
  } catch (const moe::UserError&) {
  }
}

void as_cursor(const moe::Json& json) {
  const auto cursor = json.get<moe::data::Cursor>();
  CHECK(moe::Json(cursor).get<moe::data::Cursor>() == cursor);
  CHECK(moe::data::merge(std::span(&cursor, 1)) == cursor);
  if (cursor.streams.size() == 1) load_from(cursor);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const moe::train::SavedState saved = moe::train::read_state("fuzz", text);
    CHECK(saved.step >= 0);
    moe::train::resume_point("fuzz", text, *source(), moe::train::RunConfig{});
  } catch (const moe::UserError&) {
  }
  try {
    as_cursor(moe::parse_json("fuzz", text));
  } catch (const moe::UserError&) {
  }
  return 0;
}
