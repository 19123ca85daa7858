// SPDX-License-Identifier: MIT
// Whose turn it is: how the rows of the global stream are taken from several streams of one source, and dealt
// to ranks, so that a rank reads only its part, and the rows of a global batch are the same for any number of
// ranks. docs/decisions/0006-data-order.md has the reasons.
//
// The global stream is an endless list of rows. Row g is in column g mod L, where L is about data.streams;
// the L rows from a multiple of L on are one turn. Each turn belongs to one share of the source (a mixture
// has several): the one furthest behind its weight, turns counted. A share's documents are dealt to S
// streams, S a divisor of L; column l takes the share's rows from its stream l * S / L. A global batch of
// world * rows consecutive rows is ordered by column, then row; rank r takes the r-th part of it. So a rank
// reads about L / world columns, exactly as many when world divides L and L divides world * rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/cursor.h"
#include "data/source.h"

namespace moe::data {

enum class Part : uint8_t;

// Of a mixture: a number of streams, and a weight in whole millionths of their sum.
struct ShareStreams {
  int64_t first = 0;  // number of its first stream
  int64_t count = 1;
  int64_t weight = 1;
};

struct Layout {
  int64_t columns = 1;
  std::vector<ShareStreams> shares;
  int64_t streams() const { return shares.back().first + shares.back().count; }
};

// A stream has at least this many units of its share, so that all come to the end of an epoch about
// together: the text of two streams differs by at most one unit.
inline constexpr int64_t kUnitsPerStream = 128;

// A pure function of the source and data.streams; one column, stream and share unless part is train.
Layout layout(const Source& source, const DataConfig& config, Part part);

// Goes through the rows from a cursor on.
class Interleave {
 public:
  // Throws UserError when the cursor's streams are not those of the layout.
  Interleave(Layout layout, const Cursor& start);

  struct Row {
    int64_t column, stream;
  };
  Row next();

  // Passes over each share that are complete in all of these streams, at a place; the most there is for a
  // share that none of them is of.
  std::vector<int64_t> epochs(const Cursor& at, std::span<const int64_t> streams) const;

  // The streams of which a rank, now or later, takes rows, in ascending order.
  std::vector<int64_t> read_by(int64_t rank, int64_t world, int64_t rows) const;

 private:
  int64_t furthest_behind() const;

  Layout layout_;
  int64_t row_ = 0;             // rows so far
  std::vector<int64_t> turns_;  // of each share
  size_t share_ = 0;            // whose turn it is
};

// Which of a global batch's rows, given by their columns, a rank takes: their numbers in the batch, in the
// order in which they stand in its own batch.
std::vector<int64_t> rows_of_rank(const std::vector<int64_t>& columns, int64_t rank, int64_t world);

}  // namespace moe::data
