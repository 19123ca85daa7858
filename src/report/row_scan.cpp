// SPDX-License-Identifier: MIT
#include "report/row_scan.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace moe::report {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// The item of `list` at `i`, new or of the row before.
template <class T>
T& slot(std::vector<T>& list, size_t i) {
  return i < list.size() ? list[i] : list.emplace_back();
}

// The variant's T, kept with its memory where the row before had one.
template <class T>
T& alternative(metrics::Row::Value& value) {
  if (T* kept = std::get_if<T>(&value)) return *kept;
  return value.emplace<T>();
}

class Scan {
 public:
  explicit Scan(std::string_view line) : at_(line.data()), end_(line.data() + line.size()) {}

  bool row(metrics::Row& row) {
    std::string_view name;
    bool real = false;
    double ignored = 0;
    if (!take('{') || !text(name) || name != "step" || !take(':') || !number(real, row.step, ignored) || real)
      return false;
    bool same = true;
    size_t count = 0;
    for (; take(','); ++count) {
      auto& [known, value] = slot(row.values, count);
      if (!skip_name(known)) {
        if (!text(name) || name.empty() || !take(':')) return false;
        known = name, same = false;
      }
      if (!this->value(value)) return false;
    }
    same = same && count == row.values.size();
    row.values.resize(count);
    return take('}') && at_ == end_ && (same || differ(row));  // the names of the row before differ
  }

 private:
  static bool differ(const metrics::Row& row) {
    std::vector<std::string_view> names;
    names.reserve(row.values.size() + 1);
    for (const auto& [name, value] : row.values) names.emplace_back(name);
    names.emplace_back("step");
    std::sort(names.begin(), names.end());
    return std::adjacent_find(names.begin(), names.end()) == names.end();
  }

  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    return ++at_, true;
  }

  // "known": if that is what comes.
  bool skip_name(std::string_view known) {
    const size_t size = known.size();
    if (size == 0 || static_cast<size_t>(end_ - at_) < size + 3) return false;
    if (at_[0] != '"' || at_[size + 1] != '"' || at_[size + 2] != ':') return false;
    if (std::memcmp(at_ + 1, known.data(), size) != 0) return false;
    return at_ += size + 3, true;
  }

  // Without escapes, in ASCII.
  bool text(std::string_view& found) {
    if (!take('"')) return false;
    const char* const begin = at_;
    while (at_ != end_ && *at_ >= ' ' && *at_ < '\x7f' && *at_ != '"' && *at_ != '\\') ++at_;
    found = {begin, static_cast<size_t>(at_ - begin)};
    return take('"');
  }

  bool digits() {
    const char* const begin = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != begin;
  }

  // By JSON's grammar. real: it has a fraction or an exponent, and is in `fraction`.
  bool number(bool& real, int64_t& whole, double& fraction) {
    const char* const begin = at_;
    take('-');
    const char* const first = at_;
    if (!digits() || (*first == '0' && at_ - first > 1)) return false;
    real = false;
    if (take('.')) {
      real = true;
      if (!digits()) return false;
    }
    if (take('e') || take('E')) {
      real = true;
      if (!take('-')) take('+');
      if (!digits()) return false;
    }
    const auto [stop, error] =
        real ? std::from_chars(begin, at_, fraction) : std::from_chars(begin, at_, whole);
    return stop == at_ && error == std::errc();
  }

  bool list(std::vector<double>& numbers) {
    numbers.clear();
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      bool real = false;
      int64_t whole = 0;
      double fraction = 0;
      if (!number(real, whole, fraction)) return false;
      numbers.push_back(real ? fraction : static_cast<double>(whole));
    } while (take(','));
    return take(']');
  }

  bool table(std::vector<std::vector<double>>& lists) {
    size_t count = 0;
    if (!take('[')) return false;
    do {
      if (!list(slot(lists, count++))) return false;
    } while (take(','));
    lists.resize(count);
    return take(']');
  }

  bool value(metrics::Row::Value& value) {
    if (at_ == end_) return false;
    if (*at_ == '[') {
      return at_ + 1 != end_ && at_[1] == '[' ? table(alternative<std::vector<std::vector<double>>>(value))
                                              : list(alternative<std::vector<double>>(value));
    }
    bool real = false;
    int64_t whole = 0;
    double fraction = 0;
    if (!number(real, whole, fraction)) return false;
    if (real)
      value = fraction;
    else
      value = whole;
    return true;
  }

  const char* at_;
  const char* end_;
};

}  // namespace

bool scan_row(std::string_view line, metrics::Row& row) {
  return Scan(line).row(row);
}

}  // namespace moe::report
