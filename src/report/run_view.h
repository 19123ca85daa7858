// SPDX-License-Identifier: MIT
// One run as the report shows it: all its curves, maps, alerts and texts, from its rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "metrics/row.h"
#include "report/series.h"

namespace moe::report {

struct Note {
  int64_t step = 0;
  std::string kind, text;
};

// Whether somebody trains the run, and how it ended (train/run_status.h).
struct Status {
  std::string state;  // "running", "starting", "ended" and so on; empty: not known
  std::string text;   // a sentence for the person
};

// JSON whose texts cannot end a <script>.
std::string safe_in_script(std::string json);

class RunView {
 public:
  static constexpr size_t kMostNotes = 200;  // the newest

  // config_json: {"section": {"key": value}}, or "" when it is not known.
  RunView(std::string name, std::string config_json)
      : name_(std::move(name)), config_json_(std::move(config_json)) {}
  void add(const metrics::Row& row);
  void clear();
  void set_status(Status status) { status_ = std::move(status); }
  void set_config(std::string config_json) { config_json_ = std::move(config_json); }

  const Status& status() const { return status_; }
  const std::string& name() const { return name_; }
  const std::string& config_json() const { return config_json_; }
  int64_t last_step() const { return last_step_; }
  const std::map<std::string, Series>& series() const { return series_; }
  const std::map<std::string, Map>& maps() const { return maps_; }  // lists: [layers][1]
  // Load of each expert over the mean of its layer: [layers][experts].
  const Map& load() const { return load_; }
  const std::vector<Note>& notes() const { return notes_; }
  const std::map<std::string, Note>& texts() const { return texts_; }  // the last of each name, as "sample"

  // As one JSON object; text in it cannot end a <script>.
  std::string json() const;

 private:
  // Rows have the same names in the same order nearly always: where the curve or map of a name is, by its
  // place in the row. A copy of the view begins without.
  template <class Item>
  struct Places {
    Places() = default;
    Places(const Places&) {}
    Places& operator=(const Places&) {
      known.clear();
      return *this;
    }
    ~Places() = default;
    std::vector<std::pair<std::string, Item*>> known;
  };
  template <class Item>
  static Item& find(std::map<std::string, Item>& all, Places<Item>& places, size_t place,
                    const std::string& name);
  void add_table(int64_t step, const std::vector<std::vector<double>>& table);

  std::string name_, config_json_;
  Status status_;
  int64_t last_step_ = 0;
  std::map<std::string, Series> series_;
  std::map<std::string, Map> maps_;
  Map load_{48};
  std::vector<Note> notes_;
  std::map<std::string, Note> texts_;
  Places<Series> series_places_;
  Places<Map> map_places_;
  std::vector<double> flat_;  // one table
};

}  // namespace moe::report
