// SPDX-License-Identifier: MIT
#include "base/config_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"

namespace moe {
namespace {

std::string place(const std::string& name, const YAML::Mark& mark) {
  return mark.is_null() ? name : fmt::format("{}:{}:{}", name, mark.line + 1, mark.column + 1);
}

// What a node is, for "found ...".
std::string kind(const YAML::Node& node) {
  if (node.IsMap()) return "a mapping";
  if (node.IsSequence()) return "a list";
  return node.IsScalar() ? fmt::format("\"{}\"", node.Scalar()) : "nothing";
}

std::string scalar_key(const YAML::Node& key, const std::string& name) {
  if (!key.IsScalar()) throw UserError(place(name, key.Mark()), "a name before the colon", kind(key));
  return key.Scalar();
}

std::vector<std::string> names(const std::vector<Section>& sections) {
  std::vector<std::string> list;
  list.reserve(sections.size());
  for (const auto& section : sections) list.push_back(section.name);
  return list;
}

std::vector<std::string> names(const Fields& fields) {
  std::vector<std::string> list;
  for (const auto& field : fields) list.push_back(field.name());
  return list;
}

Section* find_section(std::string_view name, std::vector<Section>& sections) {
  const auto section = std::ranges::find(sections, name, &Section::name);
  return section == sections.end() ? nullptr : &*section;
}

// What may have been meant by an unknown setting, looked for in `home` (may be null) first, then everywhere.
std::string setting_hint(const std::string& key, const Section* home, std::vector<Section>& sections) {
  for (auto& section : sections)
    if (section.fields.find(key)) return fmt::format("{} belongs to section {}", key, section.name);
  for (const auto& section : sections)
    if (std::string ours = section.fields.counterpart(key, section.name); !ours.empty()) return ours;
  if (home) {
    const std::string near = nearest_name(key, names(home->fields));
    if (!near.empty()) return fmt::format("did you mean {}.{}?", home->name, near);
  }
  std::string best_section, best;
  for (const auto& section : sections) {
    const std::string near = nearest_name(key, names(section.fields));
    if (near.empty() || (!best.empty() && edit_distance(key, near) >= edit_distance(key, best))) continue;
    best = near;
    best_section = section.name;
  }
  if (!best.empty()) return fmt::format("did you mean {}.{}?", best_section, best);
  return home ? fmt::format("section {} has {}", home->name, fmt::join(names(home->fields), ", ")) : "";
}

[[noreturn]] void unknown_section(const std::string& where, const std::string& name,
                                  std::vector<Section>& sections) {
  const std::string near = nearest_name(name, names(sections));
  const std::string hint =
      near.empty() ? setting_hint(name, nullptr, sections) : "did you mean " + near + "?";
  throw UserError(where, fmt::format("a section ({})", fmt::join(names(sections), ", ")),
                  fmt::format("\"{}\"", name), hint);
}

Field& known_field(const std::string& where, const std::string& key, Section& section,
                   std::vector<Section>& sections) {
  if (Field* field = section.fields.find(key)) return *field;
  throw UserError(where, "a setting of section " + section.name, fmt::format("\"{}\"", key),
                  setting_hint(key, &section, sections));
}

Field::List scalars(const YAML::Node& list, const std::string& name, const std::string& setting) {
  Field::List items;
  for (const auto& item : list) {
    if (!item.IsScalar()) throw UserError(place(name, item.Mark()) + ": " + setting, "a text", kind(item));
    items.push_back(item.Scalar());
  }
  return items;
}

void read_setting(const YAML::Node& key, const YAML::Node& value, const std::string& name, Section& section,
                  std::vector<Section>& sections) {
  Field& field = known_field(place(name, key.Mark()), scalar_key(key, name), section, sections);
  const std::string setting = section.name + "." + field.name();
  const std::string where = place(name, value.IsNull() ? key.Mark() : value.Mark()) + ": " + setting;
  if (value.IsScalar()) {
    field.set(value.Scalar(), where);
  } else if (value.IsSequence() && field.is_list()) {
    field.set_list(scalars(value, name, setting), where);
  } else {
    const bool empty_text = value.IsNull() && field.is_text();
    throw UserError(where, field.expected(), kind(value), empty_text ? "write \"\" for an empty text" : "");
  }
}

void read_section(const YAML::Node& body, const std::string& name, Section& section,
                  std::vector<Section>& sections) {
  if (body.IsNull()) return;
  if (!body.IsMap())
    throw UserError(place(name, body.Mark()), "settings of section " + section.name + " as \"name: value\"",
                    kind(body));
  std::set<std::string> seen;
  for (const auto& entry : body) {
    const YAML::Node &key = entry.first, &value = entry.second;
    const Field* const field = section.fields.find(scalar_key(key, name));  // also by a former name
    if (field != nullptr && !seen.insert(field->name()).second)
      throw UserError(place(name, key.Mark()), "each setting once",
                      section.name + "." + field->name() + " a second time");
    read_setting(key, value, name, section, sections);
  }
}

// Notes where documents begin and builds nothing.
struct DocumentStart : YAML::EventHandler {
  YAML::Mark mark;
  void OnDocumentStart(const YAML::Mark& at) override { mark = at; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
  }
  void OnMapEnd() override {}
};

// The one mistake in YAML that cannot be seen.
std::string hint_of_tabs(const std::string& text, const YAML::Mark& mark) {
  std::istringstream lines(text);
  std::string line;
  for (int i = 0; i <= mark.line && std::getline(lines, line); ++i) {
  }
  const size_t tab = line.find('\t');
  return tab != std::string::npos && tab <= line.find_first_not_of(" \t")
             ? "indent with blanks: this line has a tab"
             : "";
}

YAML::Node load(const std::string& text, const std::string& name) {
  try {
    // YAML::Load stops after the first document. Not LoadAll: before 0.9 it never returns from "{}, x"
    // (yaml-cpp pull request 1319).
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStart start;
    if (parser.HandleNextDocument(start) && parser.HandleNextDocument(start))
      throw UserError(place(name, start.mark), "one YAML document", "more after its end",
                      "look for a stray comma, bracket or --- there");
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw UserError(place(name, error.mark), "YAML", error.msg, hint_of_tabs(text, error.mark));
  }
}

OrderedJson to_json(const Field::Value& value) {
  return std::visit([](const auto& held) { return OrderedJson(held); }, value);
}

}  // namespace

void read_config(const std::filesystem::path& path, std::vector<Section>& sections) {
  read_config_text(read_file(path), path.string(), sections);
}

void read_config_text(const std::string& text, const std::string& name, std::vector<Section>& sections) {
  const YAML::Node root = load(text, name);
  if (root.IsNull()) return;
  if (!root.IsMap())
    throw UserError(place(name, root.Mark()), fmt::format("sections ({})", fmt::join(names(sections), ", ")),
                    kind(root));
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const YAML::Node& key = entry.first;
    const std::string section_name = scalar_key(key, name);
    Section* section = find_section(section_name, sections);
    if (!section) unknown_section(place(name, key.Mark()), section_name, sections);
    if (!seen.insert(section_name).second)
      throw UserError(place(name, key.Mark()), "each section once", section_name + " a second time");
    read_section(entry.second, name, *section, sections);
  }
}

void apply_override(std::string_view assignment, std::vector<Section>& sections) {
  const std::string place_name = "command line";
  const size_t equals = assignment.find('=');
  const std::string path(assignment.substr(0, equals));
  if (equals == std::string_view::npos)
    throw UserError(place_name, "section.key=value", fmt::format("\"{}\"", path));
  const std::string value(assignment.substr(equals + 1));
  const size_t dot = path.find('.');
  if (dot == std::string::npos)
    throw UserError(place_name, "section.key=value", fmt::format("\"{}\"", assignment),
                    setting_hint(path, nullptr, sections));
  Section* section = find_section(path.substr(0, dot), sections);
  if (!section) unknown_section(place_name, path.substr(0, dot), sections);
  Field& field = known_field(place_name, path.substr(dot + 1), *section, sections);
  const std::string where = place_name + ": " + path;
  if (field.is_list() && value.starts_with('[')) {
    const YAML::Node list = load(value, where);
    if (!list.IsSequence()) throw UserError(where, field.expected(), kind(list));
    field.set_list(scalars(list, place_name, path), where);
  } else {
    field.set(value, where);
  }
}

std::string print_config(const std::vector<Section>& sections) {
  std::string text;
  for (const auto& section : sections) {
    text += (text.empty() ? "" : "\n") + section.name + ":\n";
    for (const auto& field : section.fields) {
      const std::string setting = fmt::format("  {}: {}", field.name(), to_yaml(field.value()));
      text += fmt::format("{:<40}  # {}", setting, field.help());
      if (!field.allowed().empty()) text += fmt::format(" ({})", fmt::join(field.allowed(), " | "));
      text += '\n';
    }
  }
  return text;
}

std::string print_config_json(const std::vector<Section>& sections) {
  OrderedJson root = OrderedJson::object();
  for (const auto& section : sections) {
    auto& object = root[section.name] = OrderedJson::object();
    for (const auto& field : section.fields) object[field.name()] = to_json(field.value());
  }
  return root.dump(2) + "\n";
}

std::string print_config_help(const std::vector<Section>& sections) {
  std::string text;
  for (const auto& section : sections)
    for (const auto& field : section.fields)
      text += fmt::format("{}.{} = {}  ({})\n    {}\n", section.name, field.name(), to_yaml(field.initial()),
                          field.expected(), field.help());
  return text;
}

std::vector<std::string> config_differences(const std::vector<Section>& one,
                                            const std::vector<Section>& other) {
  CHECK(one.size() == other.size());
  std::vector<std::string> differences;
  for (size_t s = 0; s < one.size(); ++s) {
    CHECK(names(one[s].fields) == names(other[s].fields), one[s].name);
    auto theirs = other[s].fields.begin();
    for (const auto& field : one[s].fields) {
      if (field.value() != theirs->value())
        differences.push_back(fmt::format("{}.{}: {}, other {}", one[s].name, field.name(),
                                          to_yaml(field.value()), to_yaml(theirs->value())));
      ++theirs;
    }
  }
  return differences;
}

}  // namespace moe
