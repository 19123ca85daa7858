// SPDX-License-Identifier: MIT
// A block of 64 bytes becomes one 64-bit mask for each class; shifts and ands of the masks give the mask of
// pre-token starts (after Langdale and Lemire, "Parsing gigabytes of JSON per second", VLDB Journal 2019).
// Contractions and characters beyond ASCII are the two things done one by one.
#include "text/pretokenize.h"

#include <bit>
#include <cstring>

#include "base/utf8.h"
#include "text/unicode.h"

namespace moe::text {
namespace {

using Bytes = std::array<uint8_t, 64>;

// Bit i: truth[i] is 1 (else 0). The product gathers eight bytes' lowest bits in its highest byte.
uint64_t pack_bits(const Bytes& truth) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t bits = 0;
  for (size_t i = 0; i < 8; ++i) {
    uint64_t eight;
    std::memcpy(&eight, truth.data() + 8 * i, sizeof(eight));
    bits |= (eight * 0x0102040810204080u >> 56) << (8 * i);
  }
  return bits;
}

// Bit i: bytes[i] | fold is one of the `count` values from `first` on.
uint64_t in_range(const Bytes& bytes, uint8_t first, uint8_t count, uint8_t fold = 0) {
  Bytes truth;
  for (size_t i = 0; i < bytes.size(); ++i) {
    truth[i] = static_cast<uint8_t>((bytes[i] | fold) - first) < count ? 1 : 0;
  }
  return pack_bits(truth);
}

constexpr uint64_t low_bits(size_t count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// The length of 's 't 'm 'd 're 've 'll at the apostrophe that begins `rest`; 0 where there is none.
size_t contraction_length(std::string_view rest) {
  if (rest.size() < 2) return 0;
  const char first = rest[1];
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (rest.size() < 3) return 0;
  const char second = rest[2];
  const bool three = second == 'e' ? first == 'r' || first == 'v' : second == 'l' && first == 'l';
  return three ? 3 : 0;
}

}  // namespace

Pretokenizer::Pretokenizer(std::string_view text) : text_(text), classes_(UnicodeClasses::instance()) {}

Pretokenizer::Block Pretokenizer::classify(const char* bytes, size_t available) const {
  Bytes copy;
  Block block{};
  block.length = std::min(available, kBlock);
  if (available >= kBlock) {
    std::memcpy(copy.data(), bytes, kBlock);
    if (available > kBlock && is_continuation(bytes[kBlock])) {
      do --block.length;
      while (is_continuation(bytes[block.length]));
    }
  } else {
    copy.fill(0);
    std::memcpy(copy.data(), bytes, available);
  }
  const uint64_t inside = low_bits(block.length);
  block.letter = in_range(copy, 'a', 26, 0x20) & inside;
  block.number = in_range(copy, '0', 10) & inside;
  block.space = in_range(copy, ' ', 1) & inside;
  block.white = (in_range(copy, '\t', 5) & inside) | block.space;
  block.apostrophe = in_range(copy, '\'', 1) & inside;
  const uint64_t long_bytes = in_range(copy, 0x80, 0x80) & inside;
  block.other = inside & ~(block.letter | block.number | block.white | long_bytes);
  if (long_bytes != 0) classify_long_characters(bytes, long_bytes, block);
  return block;
}

void Pretokenizer::classify_long_characters(const char* bytes, uint64_t long_bytes, Block& block) const {
  while (long_bytes != 0) {
    const int at = std::countr_zero(long_bytes);
    const CodePoint code_point = decode_utf8(bytes + at);
    const uint64_t span = low_bits(static_cast<size_t>(code_point.length)) << at;
    long_bytes &= ~span;
    const CharacterClasses set = classes_of(classes_(code_point.value));
    if ((set & kLetters) != 0) {
      block.letter |= span;
    } else if ((set & kNumbers) != 0) {
      block.number |= span;
    } else if ((set & kWhite) != 0) {
      block.white |= span;
      block.white_tail |= span & (span - 1);
    } else {
      block.other |= span;
    }
  }
}

// apostrophes: those in the block at position_ that begin a pre-token.
Pretokenizer::Contractions Pretokenizer::contractions(uint64_t apostrophes, size_t length) const {
  Contractions found;
  for (; apostrophes != 0; apostrophes &= apostrophes - 1) {
    const auto at = static_cast<size_t>(std::countr_zero(apostrophes));
    const size_t size = contraction_length(text_.substr(position_ + at, 3));
    if (size == 0) continue;
    const auto mark = [length](size_t bit, uint64_t& here, uint64_t& next) {
      if (bit < length) {
        here |= uint64_t{1} << bit;
      } else {
        next |= uint64_t{1} << (bit - length);
      }
    };
    mark(at + 1, found.inside, found.inside_next);
    mark(at + size, found.begin, found.begin_next);
  }
  return found;
}

bool Pretokenizer::white_at(size_t position) const {
  const auto byte = static_cast<unsigned char>(text_[position]);
  if (byte < 0x80) return byte == ' ' || static_cast<unsigned char>(byte - '\t') < 5;
  return (classes_of(classes_(decode_utf8(text_.data() + position).value)) & kWhite) != 0;
}

// The starts of pre-tokens in the block at position_, and the block's length.
uint64_t Pretokenizer::scan_block(size_t& length) {
  const Block block = classify(text_.data() + position_, text_.size() - position_);
  length = block.length;
  const size_t end = position_ + length;

  // A run of letters, of numbers or of others begins where the byte before is of another class; a space
  // before it is its prefix, and begins it.
  const uint64_t goes_on = (block.letter & (block.letter << 1 | before_.letter)) |
                           (block.number & (block.number << 1 | before_.number)) |
                           (block.other & (block.other << 1 | before_.other)) |
                           (block.space << 1 | before_.space);
  const uint64_t black = block.letter | block.number | block.other;
  // White space begins after anything else, and its last character begins anew if something follows it. At
  // the end of the text nothing does.
  const uint64_t black_next = end < text_.size() && !white_at(end) ? uint64_t{1} << (length - 1) : 0;
  uint64_t last_white = block.white & (black >> 1 | black_next);
  while ((last_white & block.white_tail) != 0) {
    last_white = (last_white & ~block.white_tail) | (last_white & block.white_tail) >> 1;
  }
  uint64_t starts = (black & ~goes_on) | (block.white & ~(block.white << 1 | before_.white)) | last_white;

  uint64_t begin = before_.begin, inside = before_.inside;
  Before after;
  if (const uint64_t apostrophes = block.apostrophe & starts; apostrophes != 0) {
    const Contractions found = contractions(apostrophes, length);
    begin |= found.begin;
    inside |= found.inside;
    after.begin = found.begin_next;
    after.inside = found.inside_next;
  }
  starts = (starts & ~inside) | (begin & low_bits(length));

  const size_t last = length - 1;
  after.letter = block.letter >> last & 1;
  after.number = block.number >> last & 1;
  after.other = block.other >> last & 1;
  after.white = block.white >> last & 1;
  after.space = block.space >> last & 1;
  before_ = after;
  return starts;
}

std::span<const size_t> Pretokenizer::next() {
  size_t count = 0;
  while (count + kBlock < kMaxBatch && position_ < text_.size()) {
    size_t length = 0;
    uint64_t starts = scan_block(length);
    if (position_ == 0) starts &= ~uint64_t{1};  // the first start ends nothing
    // Eight at a time, some of them void: one branch for most blocks instead of one for each start.
    const auto found = static_cast<size_t>(std::popcount(starts));
    for (size_t* end = ends_.data() + count; starts != 0; end += 8) {
      for (size_t i = 0; i < 8; ++i) {
        end[i] = position_ + static_cast<size_t>(std::countr_zero(starts));
        starts &= starts - 1;
      }
    }
    count += found;
    position_ += length;
    if (position_ == text_.size()) ends_[count++] = position_;
  }
  return {ends_.data(), count};
}

}  // namespace moe::text
