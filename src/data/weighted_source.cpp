// SPDX-License-Identifier: MIT
#include "data/weighted_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/random.h"

namespace moe::data {
namespace {

class Joined : public Source {
 public:
  // weights: of each part; none: a single share.
  Joined(std::vector<std::shared_ptr<const Source>> parts, std::vector<int64_t> weights,
         std::shared_ptr<const Remote> remote)
      : parts_(std::move(parts)), weights_(std::move(weights)), remote_(std::move(remote)) {
    first_.reserve(parts_.size() + 1);
    first_.push_back(0);
    for (const auto& part : parts_) first_.push_back(first_.back() + part->units());
  }

  int64_t units() const override { return first_.back(); }
  std::vector<Share> shares() const override {
    if (weights_.empty()) return Source::shares();
    std::vector<Share> shares;
    for (size_t i = 0; i < parts_.size(); ++i) shares.push_back({first_[i], first_[i + 1], weights_[i]});
    return shares;
  }
  int64_t unit_bytes(int64_t unit) const override {
    const size_t i = part(unit);
    return parts_[i]->unit_bytes(unit - first_[i]);
  }
  void read(int64_t unit, Documents& documents) const override {
    const size_t i = part(unit);
    parts_[i]->read(unit - first_[i], documents);
  }
  // "2 UNITS HASH": of this version. Looked at once: a file that changes later is another matter.
  std::string identity() const override {
    const std::lock_guard lock(mutex_);
    if (identity_.empty()) identity_ = fmt::format("2 {} {}", units(), hash(&Source::identity));
    return identity_;
  }
  std::string old_identity() const override { return hash(&Source::old_identity); }
  std::vector<DataFilePtr> files() const override {
    std::vector<DataFilePtr> all;
    for (const auto& part : parts_) {
      const auto files = part->files();
      all.insert(all.end(), files.begin(), files.end());
    }
    return all;
  }
  NetworkCounts network() const override {
    NetworkCounts sum = remote_ ? remote_->counts() : NetworkCounts{};
    for (const auto& part : parts_) {
      const NetworkCounts counts = part->network();
      sum.requests += counts.requests;
      sum.bytes += counts.bytes;
      sum.retries += counts.retries;
      sum.rate_limited += counts.rate_limited;
      sum.too_slow += counts.too_slow;
      sum.waited_seconds += counts.waited_seconds;
    }
    return sum;
  }
  int64_t rows() const override {
    int64_t sum = 0;
    for (const auto& part : parts_) sum += part->rows();
    return sum;
  }

 private:
  size_t part(int64_t unit) const {
    CHECK(unit >= 0 && unit < units());
    return static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), unit) - first_.begin()) - 1;
  }
  std::string hash(std::string (Source::*of)() const) const {
    std::string all;
    for (size_t i = 0; i < parts_.size(); ++i)
      all += ((*parts_[i]).*of)() + (weights_.empty() ? "\n" : fmt::format(" {}\n", weights_[i]));
    return fmt::format("{:016x}", stream_id(all));
  }

  mutable std::mutex mutex_;
  mutable std::string identity_;
  std::vector<std::shared_ptr<const Source>> parts_;
  std::vector<int64_t> weights_;
  std::shared_ptr<const Remote> remote_;
  std::vector<int64_t> first_;  // number of each part's first unit
};

}  // namespace

std::shared_ptr<const Source> joined_source(std::vector<std::shared_ptr<const Source>> parts,
                                            std::shared_ptr<const Remote> remote) {
  return std::make_shared<Joined>(std::move(parts), std::vector<int64_t>{}, std::move(remote));
}

std::shared_ptr<const Source> weighted_source(
    const std::vector<std::pair<std::shared_ptr<const Source>, double>>& parts) {
  double sum = 0;
  for (const auto& [source, weight] : parts) {
    CHECK(weight > 0 && source != nullptr);
    sum += weight;
  }
  std::vector<std::shared_ptr<const Source>> sources;
  std::vector<int64_t> weights;
  for (const auto& [source, weight] : parts) {
    sources.push_back(source);
    weights.push_back(std::max<int64_t>(1, std::llround(weight / sum * 1e6)));
  }
  return std::make_shared<Joined>(std::move(sources), std::move(weights), nullptr);
}

}  // namespace moe::data
