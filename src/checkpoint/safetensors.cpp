// SPDX-License-Identifier: MIT
// The reader of safetensors files: the header's promises are checked here, all of them, so that what follows
// can index without fear. The file is untrusted input: this is what fuzz/safetensors_fuzz.cpp attacks.
#include "checkpoint/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "checkpoint/safetensors_dtype.h"
#include "tensor/host_floats.h"

namespace moe::checkpoint {
namespace {

using Entry = Safetensors::Entry;

constexpr uint64_t kLengthBytes = 8, kMaximumHeader = 100'000'000;
constexpr const char* kDamaged = "the file is damaged or not a safetensors file; copy or make it again";

[[noreturn]] void refuse(const std::string& where, std::string expected, std::string found) {
  throw UserError(where, std::move(expected), std::move(found), kDamaged);
}

uint64_t unsigned_number(const std::string& where, const Json& value, const char* what) {
  if (!value.is_number_unsigned())
    refuse(where, fmt::format("{} that is a whole number", what), quote(value));
  return value.get<uint64_t>();
}

const Json& field(const std::string& where, const Json& object, const char* name, const char* type) {
  const auto found = object.find(name);
  if (found == object.end()) refuse(where, fmt::format("{} \"{}\"", type, name), "none");
  if (found->type_name() != std::string_view(type))
    refuse(where, fmt::format("{} \"{}\"", type, name), quote(*found));
  return *found;
}

std::string describe(const Entry& entry) {
  return fmt::format("{}[{}]", entry.dtype, fmt::join(entry.shape, ", "));
}

// Bytes that dtype and shape ask for.
uint64_t expected_bytes(const std::string& where, const Entry& entry) {
  const int bits = safetensors_bits(entry.dtype);
  if (bits == 0) refuse(where, "a dtype of the format", "\"" + excerpt(entry.dtype) + "\"");
  uint64_t total = static_cast<uint64_t>(bits);
  for (const int64_t dim : entry.shape) {
    if (__builtin_mul_overflow(total, static_cast<uint64_t>(dim), &total)) {
      refuse(where, "a shape whose size fits 64 bits", excerpt(describe(entry)));
    }
  }
  if (total % 8 != 0) refuse(where, "a whole number of bytes", fmt::format("{} bits", total));
  return total / 8;
}

Entry parse_entry(const std::string& file, const std::string& name, const Json& value) {
  const std::string where = fmt::format("{}: tensor {}", file, excerpt(name));
  if (!value.is_object()) refuse(where, "an object with dtype, shape and data_offsets", quote(value));
  Entry entry;
  entry.name = name;
  entry.dtype = field(where, value, "dtype", "string").get<std::string>();
  for (const Json& dim : field(where, value, "shape", "array")) {
    const uint64_t size = unsigned_number(where, dim, "a dimension");
    if (size > INT64_MAX) refuse(where, "a dimension below 2^63", quote(dim));
    entry.shape.push_back(static_cast<int64_t>(size));
  }
  const Json& offsets = field(where, value, "data_offsets", "array");
  if (offsets.size() != 2) refuse(where, "two data_offsets", quote(offsets));
  entry.begin = unsigned_number(where, offsets[0], "an offset");
  entry.end = unsigned_number(where, offsets[1], "an offset");
  const uint64_t bytes = expected_bytes(where, entry);
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    refuse(where, fmt::format("{} bytes for {}", bytes, excerpt(describe(entry))),
           fmt::format("data_offsets {}", quote(offsets)));
  }
  return entry;
}

Safetensors::Metadata parse_metadata(const std::string& where, const Json& value) {
  if (!value.is_object()) refuse(where, "__metadata__ to be an object", quote(value));
  Safetensors::Metadata metadata;
  for (const auto& [name, text] : value.items()) {
    if (!text.is_string()) refuse(where, "text for __metadata__ entry " + excerpt(name), quote(text));
    metadata.emplace(name, text.get<std::string>());
  }
  return metadata;
}

}  // namespace

Safetensors::Safetensors(const std::filesystem::path& path) : where_(path.string()), file_(path) {
  parse(file_.bytes());
}

Safetensors::Safetensors(std::string where, std::span<const uint8_t> bytes) : where_(std::move(where)) {
  parse(bytes);
}

void Safetensors::parse(std::span<const uint8_t> file) {
  if (file.size() < kLengthBytes) {
    refuse(where_, "at least 8 bytes", fmt::format("{} bytes", file.size()));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= uint64_t{file[i]} << (8 * i);
  const uint64_t available = std::min<uint64_t>(file.size() - kLengthBytes, kMaximumHeader);
  if (length > available) {
    refuse(where_, fmt::format("a header of at most {} bytes", available), fmt::format("{}", length));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (text.empty() || text.front() != '{') refuse(where_, "a header that begins with {", "another");

  data_ = file.subspan(kLengthBytes + length);
  const Json header = parse_json(where_ + ": header", text, kDamaged, {.bytes = kMaximumHeader});
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = parse_metadata(where_, value);
    } else {
      entries_.push_back(parse_entry(where_, name, value));
    }
  }
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  for (const Entry& entry : entries_) {
    if (entry.begin != covered) {
      refuse(fmt::format("{}: tensor {}", where_, excerpt(entry.name)),
             fmt::format("data from byte {}: neither hole nor overlap", covered),
             fmt::format("from byte {}", entry.begin));
    }
    covered = entry.end;
  }
  if (covered != data_.size()) {
    refuse(where_, fmt::format("{} bytes of data", covered), fmt::format("{}", data_.size()));
  }
  for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);
}

const Safetensors::Entry* Safetensors::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const Safetensors::Entry& Safetensors::require(const std::string& name, DType dtype) const {
  const Entry* entry = find(name);
  if (!entry) throw UserError(where_, "a tensor " + name, fmt::format("none among its {}", entries_.size()));
  if (entry->dtype != safetensors_name(dtype)) {
    throw UserError(fmt::format("{}: tensor {}", where_, name), std::string(safetensors_name(dtype)),
                    entry->dtype);
  }
  return *entry;
}

const Safetensors::Entry& Safetensors::require_shape(const std::string& name, const Tensor& like) const {
  CHECK(!like.empty(), name);
  const Entry& entry = require(name, like.dtype());
  const std::vector<int64_t> shape(like.shape(), like.shape() + like.rank());
  const bool scalar = entry.shape.empty() && shape == std::vector<int64_t>{1};
  if (shape != entry.shape && !scalar) {
    throw UserError(fmt::format("{}: tensor {}", where_, name),
                    fmt::format("{}[{}]", safetensors_name(like.dtype()), fmt::join(shape, ", ")),
                    describe(entry), "the file belongs to a model of another shape");
  }
  return entry;
}

void Safetensors::load(const std::string& name, Tensor dst, Device& device) const {
  const Entry& entry = require_shape(name, dst);
  if (dst.bytes() > 0) device.to_device(dst, bytes(entry).data());
}

void Safetensors::load(const NamedShard& part, Device& device) const {
  const Entry& entry = require_shape(part.name, part.global);
  CHECK(part.offset >= 0 && part.offset + part.local.numel() <= part.global.numel(), part.name);
  const auto skipped = static_cast<size_t>(part.offset) * size_of(part.local.dtype());
  if (part.local.bytes() > 0) device.to_device(part.local, bytes(entry).data() + skipped);
}

void Safetensors::read_floats(const Entry& entry, int64_t begin, std::span<float> values) const {
  const DType type = dtype_of_safetensors(entry.dtype).value();
  widen(values.data(), bytes(entry).data() + static_cast<size_t>(begin) * size_of(type), type,
        std::ssize(values));
}

}  // namespace moe::checkpoint
