// SPDX-License-Identifier: MIT
// Which part of a text is held out for validation: whole units, and of one more unit the end of its text, so
// that the share is kept however few units there are. A text that is one document, a book, gives its end. The
// choice depends on the source alone, not on a seed: losses of different runs compare, and no text is on both
// sides.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/config.h"
#include "data/source.h"

namespace moe::data {

struct HeldOut {
  std::vector<int64_t> units;  // whole ones, in ascending order
  int64_t cut = -1;            // one more, of which a part is held out; -1: none
  double tail = 0;             // that part: the end of its text

  bool empty() const { return units.empty() && cut < 0; }
  double bytes(const Source& source) const;
};

// Of one share of the source: data.validation_fraction of its bytes, within a tenth. Nothing when the
// fraction is 0 or data.validation_source names other files. With data.rules 1: of the number of its units,
// at least one and never all, and none is cut.
HeldOut held_out(const Source& source, const Share& share, const DataConfig& config);

// Of a mixture: in any of its shares.
bool has_validation(const Source& source, const DataConfig& config);

// "1.0 % of the text, 2.5 MiB: 1 of 120 units and a part of another".
std::string describe_held_out(const Source& source, const DataConfig& config);

}  // namespace moe::data
