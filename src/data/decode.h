// SPDX-License-Identifier: MIT
// Compressed files (.gz, .dz, .zst, .zstd) are decoded once into a cache and read from there, because a
// cursor needs random access. Files of several members or frames, one after another, are one stream.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "base/input.h"
#include "base/terminal.h"
#include "data/data_file.h"

namespace moe {

bool is_compressed(const std::filesystem::path& path);  // by its ending

enum class Codec : uint8_t { gzip, zstd };
using Sink = std::function<void(std::string_view decoded)>;
// used: compressed bytes read since the last call; for progress.
using OnRead = std::function<void(int64_t used)>;

// Throws UserError naming the file and the byte for corrupt or truncated input.
void decode(const Input& input, Codec codec, const Sink& sink, const OnRead& on_read = {});

// The decoded copy of a compressed file, made when missing: "decoded/<hash>-<name>" below `cache`, the hash over
// the file's cache_key(). Appears when complete; processes may race for it.
std::filesystem::path decoded_file(const DataFile& file, const std::filesystem::path& cache,
                                   Terminal& terminal);

}  // namespace moe
