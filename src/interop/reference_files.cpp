// SPDX-License-Identifier: MIT
#include "interop/reference_files.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "interop/hf_weights.h"

namespace moe::interop {

namespace fs = std::filesystem;

ReferenceFiles::ReferenceFiles(const fs::path& folder) : folder_(folder) {
  std::set<std::string> names{kSingleFile};
  if (const fs::path index = folder / kShardIndex; fs::exists(index)) {
    names.clear();
    for (auto& [tensor, file] : read_shard_index(index.string(), read_file(index))) names.insert(file);
  }
  for (const std::string& name : names) {
    const checkpoint::Safetensors& file = files_.emplace_back(folder / name);
    for (const auto& entry : file.entries()) found_[entry.name] = {&file, &entry};
  }
}

ReferenceFiles::Place ReferenceFiles::at(const std::string& name) const {
  const auto place = found_.find(name);
  if (place == found_.end()) throw UserError(folder_.string(), "tensor " + name, "none");
  return place->second;
}

std::vector<int64_t> ReferenceFiles::shape(const std::string& name) const {
  return at(name).second->shape;
}

std::vector<double> ReferenceFiles::values(const std::string& name) const {
  const Place place = at(name);
  int64_t count = 1;
  for (const int64_t size : place.second->shape) count *= size;
  std::vector<float> read(static_cast<size_t>(count));
  place.first->read_floats(*place.second, 0, read);
  return {read.begin(), read.end()};
}

std::vector<double> ReferenceFiles::row(const std::string& name, int64_t index) const {
  const Place place = at(name);
  std::vector<float> read(static_cast<size_t>(place.second->shape.back()));
  place.first->read_floats(*place.second, index * place.second->shape.back(), read);
  return {read.begin(), read.end()};
}

Vectors ReferenceFiles::product(const std::string& name, const Vectors& x, int64_t begin,
                                int64_t rows) const {
  const Place place = at(name);
  const int64_t columns = place.second->shape.back();
  if (columns != x.width)
    throw UserError(folder_.string(), name + " of rows of " + std::to_string(x.width),
                    std::to_string(columns));
  if (rows < 0) rows = place.second->shape.front();
  Vectors y(x.count, rows);
  std::vector<float> read(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r) {
    place.first->read_floats(*place.second, (begin + r) * columns, read);
    for (int64_t i = 0; i < x.count; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < columns; ++c)
        sum += static_cast<double>(read[static_cast<size_t>(c)]) * x.row(i)[c];
      y.row(i)[r] = sum;
    }
  }
  return y;
}

}  // namespace moe::interop
