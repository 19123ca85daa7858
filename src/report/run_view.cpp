// SPDX-License-Identifier: MIT
#include "report/run_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "base/json.h"
#include "report/facts.h"

namespace moe::report {
namespace {

std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void put(std::string& out, double value) {
  if (std::isfinite(value))
    fmt::format_to(std::back_inserter(out), "{:.6g}", value);
  else
    out += "null";
}

template <class Items, class Number>
std::string list(const Items& items, Number number) {
  std::string out = "[";
  for (const auto& item : items) {
    if (out.size() > 1) out += ',';
    put(out, number(item));
  }
  return out + "]";
}

template <class Items>
std::string steps(const Items& items) {
  std::string out = "[";
  for (const auto& item : items)
    fmt::format_to(std::back_inserter(out), "{}{}", out.size() > 1 ? "," : "", item.step);
  return out + "]";
}

std::string to_json(const Series& series) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const auto& points = series.points();
  std::string out =
      fmt::format(R"({{"step":{},"mean":{})", steps(points),
                  list(points, [](const auto& point) { return point.count > 0 ? point.mean() : kNone; }));
  if (series.merged())
    out += fmt::format(R"(,"low":{},"high":{})",
                       list(points, [](const auto& point) { return point.count > 0 ? point.low : kNone; }),
                       list(points, [](const auto& point) { return point.count > 0 ? point.high : kNone; }));
  out += R"(,"last":)";
  put(out, series.last());
  return out + "}";
}

std::string to_json(const Map& map) {
  std::string values = "[";
  for (const auto& slice : map.slices()) {
    values += values.size() > 1 ? ",[" : "[";
    for (size_t i = 0; i < slice.sum.size(); ++i)
      fmt::format_to(std::back_inserter(values), "{}{:.3g}", i > 0 ? "," : "",
                     slice.sum[i] / static_cast<double>(slice.count));
    values += "]";
  }
  return fmt::format(R"({{"rows":{},"columns":{},"step":{},"values":{}]}})", map.rows(), map.columns(),
                     steps(map.slices()), values);
}

}  // namespace

// In a page "</script>" and "<!--" inside a text would be markup.
std::string safe_in_script(std::string json) {
  for (size_t at = 0; (at = json.find('<', at)) != std::string::npos;) json.replace(at, 1, "\\u003c");
  return json;
}

void RunView::clear() {
  *this = RunView(name_, config_json_);
}

template <class Item>
Item& RunView::find(std::map<std::string, Item>& all, Places<Item>& places, size_t place,
                    const std::string& name) {
  if (place >= places.known.size()) places.known.resize(place + 1);
  auto& [known, item] = places.known[place];
  if (item == nullptr || known != name) known = name, item = &all[name];
  return *item;
}

void RunView::add_table(int64_t step, const std::vector<std::vector<double>>& table) {
  flat_.clear();
  for (const auto& layer : table) {
    if (layer.size() != table.front().size()) return;
    const double total = std::accumulate(layer.begin(), layer.end(), 0.0);
    const double scale = total > 0 ? static_cast<double>(layer.size()) / total : 0.0;
    for (const double count : layer) flat_.push_back(count * scale);
  }
  load_.add(step, table.size(), table.empty() ? 0 : table.front().size(), flat_);
}

void RunView::add(const metrics::Row& row) {
  last_step_ = std::max(last_step_, row.step);
  Note note{.step = row.step, .kind = {}, .text = {}};
  for (size_t i = 0; i < row.values.size(); ++i) {
    const auto& [name, value] = row.values[i];
    if (const auto number = metrics::Row::number_of(value)) {
      find(series_, series_places_, i, name).add(row.step, *number);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      if (name == "alert") {
        note.kind = *text;
      } else if (name == "alert_text") {
        note.text = *text;
      } else {
        texts_[name] = {.step = row.step, .kind = name, .text = *text};
      }
    } else if (const auto* values = std::get_if<std::vector<double>>(&value)) {
      find(maps_, map_places_, i, name).add(row.step, values->size(), 1, *values);
    } else if (const auto* table = std::get_if<std::vector<std::vector<double>>>(&value)) {
      add_table(row.step, *table);
    }
  }
  if (note.kind.empty()) return;
  if (notes_.size() == kMostNotes) notes_.erase(notes_.begin());
  notes_.push_back(std::move(note));
}

std::string RunView::json() const {
  const auto object = [](const Note& note) {
    return fmt::format(R"({{"step":{},"kind":{},"text":{}}})", note.step, quoted(note.kind),
                       quoted(note.text));
  };
  const auto pairs = [](const std::vector<Fact>& all) {
    std::string text;
    for (const Fact& fact : all)
      text += fmt::format("{}[{},{}]", text.empty() ? "" : ",", quoted(fact.label), quoted(fact.value));
    return text;
  };
  std::string curves, maps, notes, texts;
  for (const auto& [name, series] : series_)
    curves += fmt::format("{}{}:{}", curves.empty() ? "" : ",", quoted(name), to_json(series));
  for (const auto& [name, map] : maps_)
    maps += fmt::format("{}{}:{}", maps.empty() ? "" : ",", quoted(name), to_json(map));
  for (const Note& note : notes_) notes += fmt::format("{}{}", notes.empty() ? "" : ",", object(note));
  for (const auto& [name, text] : texts_)
    texts += fmt::format("{}{}", texts.empty() ? "" : ",", object(text));
  return safe_in_script(fmt::format(
      R"({{"name":{},"last_step":{},"config":{},"series":{{{}}},"maps":{{{}}},"load":{},"notes":[{}],"texts":[{}],)"
      R"("status":{{"state":{},"text":{}}},"facts":[{}],"outline":[{}]}})",
      quoted(name_), last_step_, config_json_.empty() ? "{}" : config_json_, curves, maps, to_json(load_),
      notes, texts, quoted(status_.state), quoted(status_.text), pairs(facts(*this)), pairs(outline(*this))));
}

}  // namespace moe::report
