// SPDX-License-Identifier: MIT
#include "train/layer.h"

namespace moe::train {
namespace {

constexpr int64_t kNotGiven = -1;  // which no file may give

}  // namespace

Layer::Layer(TrainingConfig& training) : training_(training), before_(training) {
  for (const TwoForOne& pair : kTwoForOne)
    training_.*pair.first_place = training_.*pair.second_place = kNotGiven;
}

void Layer::settle() const {
  for (const TwoForOne& pair : kTwoForOne) {
    int64_t &first = training_.*pair.first_place, &second = training_.*pair.second_place;
    const bool given = first != kNotGiven;
    if (!given) first = before_.*pair.first_place;
    if (second == kNotGiven) second = given ? 0 : before_.*pair.second_place;
  }
}

}  // namespace moe::train
