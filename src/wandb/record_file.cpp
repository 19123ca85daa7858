// SPDX-License-Identifier: MIT
#include "wandb/record_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "base/backlog.h"
#include "base/error.h"
#include "base/little_endian.h"

namespace moe::wandb {
namespace {

constexpr int64_t kBlock = 32768;  // counted from the file's start
constexpr int64_t kHead =
    7;  // of a chunk: checksum (4), length (2), type (1); also the size of the file's header
constexpr std::string_view kFileHeader("\x3a\x57\x26\x42\xe1\xbe\x00", 7);
enum Type : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

uint32_t checksum(uint8_t type, std::string_view payload) {
  const uLong start = crc32(0, &type, 1);
  return static_cast<uint32_t>(
      crc32(start, reinterpret_cast<const Bytef*>(payload.data()), static_cast<uInt>(payload.size())));
}

// The record as chunks, for a file of `size` bytes.
std::string framed(std::string_view record, int64_t size) {
  std::string out;
  bool first = true;
  for (;;) {
    int64_t room = kBlock - (size + std::ssize(out)) % kBlock;
    if (room < kHead) {  // no chunk fits
      out.append(static_cast<size_t>(room), '\0');
      room = kBlock;
    }
    const std::string_view payload = record.substr(0, static_cast<size_t>(room - kHead));
    record.remove_prefix(payload.size());
    const bool last = record.empty();
    const uint8_t type = first ? (last ? kFull : kFirst) : (last ? kLast : kMiddle);
    put_little_endian(out, checksum(type, payload), 4);
    put_little_endian(out, payload.size(), 2);
    out += static_cast<char>(type);
    out += payload;
    if (last) return out;
    first = false;
  }
}

[[noreturn]] void cannot(const std::filesystem::path& path, const std::string& expected) {
  throw UserError(path.string(), expected, std::generic_category().message(errno));
}

}  // namespace

RecordWriter::RecordWriter(const std::filesystem::path& path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_APPEND, 0666);
  if (descriptor_ < 0 || !append_whole(descriptor_, kFileHeader, size_)) cannot(path, "a new file");
}

RecordWriter::RecordWriter(const std::filesystem::path& path, int64_t size) : size_(size) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_APPEND | O_NOFOLLOW);
  if (descriptor_ < 0 || ::ftruncate(descriptor_, size) != 0) cannot(path, "a file that can be written");
  if (size > 0) return;  // else a process was killed before it had written the header
  if (!append_whole(descriptor_, kFileHeader, size_)) cannot(path, "a file that can be written");
}

RecordWriter::~RecordWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool RecordWriter::append(std::string_view record) {
  return append_whole(descriptor_, framed(record, size_), size_);
}

RecordReader::RecordReader(const std::filesystem::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) cannot(path, "a file that can be read");
}

RecordReader::~RecordReader() {
  ::close(descriptor_);
}

bool RecordReader::read_at(int64_t position, void* to, size_t size) const {
  auto* out = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = ::pread(descriptor_, out, size, position);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cannot(path_, "a file that can be read");
    if (got == 0) return false;
    out += got, position += got, size -= static_cast<size_t>(got);
  }
  return true;
}

void RecordReader::refuse(int64_t position, const std::string& found) const {
  throw UserError(fmt::format("{}, byte {}", path_.string(), position), "a record of a .wandb file", found,
                  "the file is damaged from there on, or is none of Weights & Biases");
}

std::optional<RecordReader::Chunk> RecordReader::chunk_at(int64_t position) const {
  if (const int64_t room = kBlock - position % kBlock; room < kHead) position += room;
  std::array<uint8_t, kHead> head{};
  if (!read_at(position, head.data(), head.size())) return std::nullopt;
  const uint32_t expected = static_cast<uint32_t>(head[0]) | static_cast<uint32_t>(head[1]) << 8 |
                            static_cast<uint32_t>(head[2]) << 16 | static_cast<uint32_t>(head[3]) << 24;
  const auto length = static_cast<int64_t>(head[4] | head[5] << 8);
  Chunk chunk{.type = head[6], .payload = {}, .end = position + kHead + length};
  if (chunk.type < kFull || chunk.type > kLast)
    refuse(position, fmt::format("a chunk of type {}", chunk.type));
  if (position % kBlock + kHead + length > kBlock) refuse(position, "a chunk that crosses a block");
  chunk.payload.resize(static_cast<size_t>(length));
  if (!read_at(position + kHead, chunk.payload.data(), chunk.payload.size())) return std::nullopt;
  if (checksum(chunk.type, chunk.payload) != expected) refuse(position, "another checksum");
  return chunk;
}

std::optional<std::string> RecordReader::next() {
  int64_t position = position_;
  if (position == 0) {
    std::string header(kFileHeader.size(), '\0');
    if (!read_at(0, header.data(), header.size())) return std::nullopt;
    if (header != kFileHeader) refuse(0, "another header");
    position = position_ = std::ssize(kFileHeader);
  }
  std::string record;
  for (bool first = true;; first = false) {
    const auto chunk = chunk_at(position);
    if (!chunk) return std::nullopt;
    const bool begins = chunk->type == kFull || chunk->type == kFirst;
    if (begins != first) refuse(position, first ? "the middle of a record" : "a record within another");
    record += chunk->payload;
    position = chunk->end;
    if (chunk->type == kFull || chunk->type == kLast) {
      position_ = position;
      return record;
    }
  }
}

}  // namespace moe::wandb
