// SPDX-License-Identifier: MIT
// Compressed files (.gz, .dz, .zst, .zstd) are decoded once into a cache and read from there, because a
// cursor needs random access. Files of several members or frames, one after another, are one stream. So are
// files that are one JSON list: their copy has each item on a line.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "base/input.h"
#include "base/terminal.h"
#include "data/data_file.h"

namespace moe::data {

bool is_compressed(const std::filesystem::path& path);  // by its ending

enum class Codec : uint8_t { gzip, zstd };
using DecodedSink = std::function<void(std::string_view decoded)>;
// used: compressed bytes read since the last call; for progress.
using OnRead = std::function<void(int64_t used)>;

// From so many bytes on, a file may not hold more than so many bytes for each of its own: text does not
// shrink like that, and a few kilobytes could fill a disk.
inline constexpr int64_t kFreeBytes = int64_t{1} << 30, kMostGrowth = 200;

// Throws UserError naming the file and the byte for corrupt or truncated input, and for input that grows too
// much.
void decode(const Input& input, Codec codec, const DecodedSink& sink, const OnRead& on_read = {});

// The copy of a compressed file, or of JSON that is a list: "decoded/<hash>-<name>" below `cache`, the hash
// over the file's cache_key(), and beside it the copy's size, in <copy>.size. Made when missing or of another
// size; appears when complete; processes may race for it. rows: the file is JSON lines or such a list.
std::filesystem::path decoded_file(const DataFile& file, const std::filesystem::path& cache,
                                   Terminal& terminal, bool rows = false);

// The file itself, or its copy where it needs one. cache: asked for only then. blocks: as in local_file.
DataFilePtr readable_file(const DataFilePtr& file, bool rows,
                          const std::function<std::filesystem::path()>& cache, Terminal& terminal,
                          int64_t blocks = kSampledBlocks);

}  // namespace moe::data
