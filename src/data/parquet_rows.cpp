// SPDX-License-Identifier: MIT
#include "data/parquet_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "data/parquet_file.h"

namespace moe::data {
namespace {

using parquet::schema::Node;

// A column as a place in a JSON object.
struct Leaf {
  int column = 0;
  std::vector<std::string> path;
  bool list = false;
  int16_t entry_level = 0;               // definition level from which on a list has an entry, be it null
  std::vector<std::string> inside = {};  // of an entry of the list, which is a struct then
};

bool is_list(const Node& node) {
  return node.converted_type() == parquet::ConvertedType::LIST ||
         (node.logical_type() && node.logical_type()->is_list());
}

// "endings.list.element" is the list "endings". Nothing for types that are left out.
std::optional<Leaf> leaf_of(const parquet::SchemaDescriptor& schema, int column) {
  const parquet::ColumnDescriptor& descriptor = *schema.Column(column);
  const bool known = holds_text(descriptor) || holds_numbers(descriptor) ||
                     descriptor.physical_type() == parquet::Type::BOOLEAN;
  if (!known || descriptor.max_repetition_level() > 1) return std::nullopt;
  std::vector<const Node*> nodes;  // from the top
  for (const Node* node = descriptor.schema_node().get(); node->parent() != nullptr; node = node->parent())
    nodes.insert(nodes.begin(), node);
  Leaf leaf{column, {}, false, descriptor.max_definition_level()};
  const auto repeated =
      std::find_if(nodes.begin(), nodes.end(), [](const Node* node) { return node->is_repeated(); });
  leaf.list = repeated != nodes.end();
  auto end = repeated;
  if (leaf.list) {
    const bool annotated = repeated != nodes.begin() && is_list(**std::prev(repeated));
    // Below what is repeated is the entry, which may be a struct, or it is the entry itself.
    const auto entry = annotated && std::next(repeated) != nodes.end() ? std::next(repeated) : repeated;
    for (auto node = std::next(entry); node < nodes.end(); ++node) leaf.inside.push_back((*node)->name());
    leaf.entry_level = 0;
    for (auto node = nodes.begin(); node <= repeated; ++node)
      if (!(*node)->is_required()) ++leaf.entry_level;
    if (!annotated) ++end;
  }
  for (auto node = nodes.begin(); node != end; ++node) leaf.path.push_back((*node)->name());
  return leaf;
}

class RowGroup {
 public:
  RowGroup(int64_t rows, RowLimits& left) : rows_(static_cast<size_t>(rows), Json::object()), left_(left) {}

  void add(const Leaf& leaf, parquet::ColumnReader& column) {
    const bool positive = is_unsigned(*column.descr());
    const auto plain = [](auto value) { return Json(value); };
    switch (column.type()) {
      case parquet::Type::INT32:
        return read<parquet::Int32Type>(leaf, column, [&](int32_t value) {
          return positive ? Json(static_cast<uint32_t>(value)) : Json(value);
        });
      case parquet::Type::INT64:
        return read<parquet::Int64Type>(leaf, column, [&](int64_t value) {
          return positive ? Json(static_cast<uint64_t>(value)) : Json(value);
        });
      case parquet::Type::FLOAT:
        return read<parquet::FloatType>(leaf, column, plain);
      case parquet::Type::DOUBLE:
        return read<parquet::DoubleType>(leaf, column, plain);
      case parquet::Type::BOOLEAN:
        return read<parquet::BooleanType>(leaf, column, plain);
      case parquet::Type::BYTE_ARRAY:
        return read<parquet::ByteArrayType>(leaf, column, [&](const parquet::ByteArray& value) {
          spend(left_.bytes, value.len, "bytes of text");
          return Json(std::string_view(reinterpret_cast<const char*>(value.ptr), value.len));
        });
      default:
        CHECK(false, "a column of another type");
    }
  }

  std::vector<std::string> lines(int64_t most) const {
    std::vector<std::string> lines;
    for (size_t i = 0; i < std::min(rows_.size(), static_cast<size_t>(most)); ++i)
      lines.push_back(rows_[i].dump(-1, ' ', false, Json::error_handler_t::replace));
    return lines;
  }

  static void spend(int64_t& left, int64_t count, const char* what) {
    left -= count;
    if (left < 0) throw parquet::ParquetException(std::string("too many ") + what);
  }

 private:
  template <class Type, class Convert>
  void read(const Leaf& leaf, parquet::ColumnReader& column, Convert&& convert) {
    size_t begun = 0, entries = 0;  // rows; entries of a row's list
    for_each_entry<Type>(column, [&](const typename Type::c_type* value, int16_t level, int16_t repeat) {
      if (repeat == 0 && ++begun > rows_.size())
        throw parquet::ParquetException("more rows than the row group has");
      if (begun == 0) throw parquet::ParquetException("a list that begins before its row");
      if (repeat == 0) entries = 0;
      spend(left_.values, 1, "values");
      if (value == nullptr && !(leaf.list && level >= leaf.entry_level)) {
        if (leaf.list && level == leaf.entry_level - 1) at(leaf, begun - 1) = Json::array();
        return;
      }
      Json& place = at(leaf, begun - 1);
      if (!leaf.inside.empty()) {
        if (!place.is_array()) place = Json::array();
        if (place.size() <= entries) place.push_back(Json::object());
        Json* field = &place[entries++];
        if (value == nullptr) return;
        for (const std::string& name : leaf.inside) field = &(*field)[name];
        *field = convert(*value);
        return;
      }
      Json converted = value == nullptr ? Json() : convert(*value);
      if (leaf.list)
        place.push_back(std::move(converted));
      else
        place = std::move(converted);
    });
    if (begun != rows_.size())
      throw parquet::ParquetException(fmt::format("{} rows of {}", begun, rows_.size()));
  }

  Json& at(const Leaf& leaf, size_t row) {
    Json* place = &rows_[row];
    for (const std::string& name : leaf.path) place = &(*place)[name];
    return *place;
  }

  std::vector<Json> rows_;
  RowLimits& left_;
};

}  // namespace

struct ParquetRowReader::State {
  DataFilePtr file;
  std::shared_ptr<parquet::FileMetaData> metadata;
  std::vector<Leaf> leaves;
  std::vector<int> columns;
};

ParquetRowReader::ParquetRowReader(DataFilePtr file, const std::vector<std::string>& names) {
  const auto wanted_name = [&](const std::string& name) {
    return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
  };
  auto state = std::make_unique<State>();
  state->metadata = read_footer(*file);
  guarded(*file, "the footer", [&] {
    const parquet::SchemaDescriptor& schema = *state->metadata->schema();
    for (int i = 0; i < state->metadata->num_columns(); ++i)
      if (auto leaf = leaf_of(schema, i); leaf && wanted_name(leaf->path.front())) {
        state->columns.push_back(i);
        state->leaves.push_back(std::move(*leaf));
      }
    if (state->leaves.empty())
      throw UserError(
          file->name(),
          names.empty() ? "columns of text or numbers" : fmt::format("columns {}", fmt::join(names, ", ")),
          "none of them");
  });
  state->file = std::move(file);
  state_ = std::move(state);
}

ParquetRowReader::~ParquetRowReader() = default;

int64_t ParquetRowReader::row_groups() const {
  return state_->metadata->num_row_groups();
}

int64_t ParquetRowReader::rows(int64_t row_group) const {
  return state_->metadata->RowGroup(static_cast<int>(row_group))->num_rows();
}

int64_t ParquetRowReader::bytes(int64_t row_group) const {
  const auto group = state_->metadata->RowGroup(static_cast<int>(row_group));
  int64_t sum = 0;
  for (const int column : state_->columns)
    sum += std::max<int64_t>(0, group->ColumnChunk(column)->total_uncompressed_size());
  return sum;
}

std::vector<std::string> ParquetRowReader::read(int64_t row_group, int64_t limit, RowLimits& left) const {
  const int group = static_cast<int>(row_group);
  const DataFile& file = *state_->file;
  const Slices slices = fetch_columns(file, state_->metadata, group, state_->columns);
  std::vector<std::string> lines;
  guarded(file, fmt::format("row group {}", group), [&] {
    const auto reader = open_reader(slices, state_->metadata)->RowGroup(group);
    const int64_t count = reader->metadata()->num_rows();
    if (count < 0) throw parquet::ParquetException("a negative number of rows");
    RowGroup::spend(left.rows, count, "rows");
    RowGroup found(count, left);
    for (const Leaf& leaf : state_->leaves) found.add(leaf, *reader->Column(leaf.column));
    lines = found.lines(limit);
  });
  return lines;
}

std::vector<std::string> ParquetRowReader::read(int64_t row_group) const {
  RowLimits left;
  return read(row_group, left.rows, left);
}

std::vector<std::string> parquet_rows(const DataFilePtr& file, const std::vector<std::string>& names,
                                      int64_t limit, const RowLimits& most) {
  const ParquetRowReader rows(file, names);
  RowLimits left = most;
  std::vector<std::string> lines;
  for (int64_t group = 0; group < rows.row_groups(); ++group) {
    const int64_t wanted = limit == 0 ? most.rows : limit - std::ssize(lines);
    if (wanted == 0) break;
    for (std::string& line : rows.read(group, wanted, left)) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace moe::data
