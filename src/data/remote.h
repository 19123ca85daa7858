// SPDX-License-Identifier: MIT
// Files behind URLs and on the Hugging Face hub as DataFiles. One connection pool for the files of one
// source; settings come from the environment (src/hub/settings.h, src/net/http.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/terminal.h"
#include "data/data_file.h"
#include "data/source.h"
#include "hub/settings.h"
#include "net/http.h"

namespace moe::data {

// Of data.source: hf://..., https://... (and http://..., for mirrors in one's own network).
bool is_remote(std::string_view place);

class Remote {
 public:
  // As the environment and the section `data` say. Retries are told to the terminal, which must outlive this
  // object and its files.
  static std::shared_ptr<Remote> open(Terminal& terminal, const DataConfig& config);
  // keep_bytes: of hub files that are kept in the hub's cache (hub/keeper.h); 0 keeps none.
  static std::shared_ptr<Remote> open(Terminal& terminal, const hub::Settings& settings,
                                      net::ClientOptions options, int64_t keep_bytes = 0);
  virtual ~Remote() = default;

  // The files at or below a place on the hub, by path, or the one at a URL. Throws UserError when there are
  // none.
  virtual std::vector<DataFilePtr> files(const std::string& place) = 0;
  virtual NetworkCounts counts() const = 0;
};

}  // namespace moe::data
