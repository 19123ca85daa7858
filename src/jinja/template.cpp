// SPDX-License-Identifier: MIT
#include "jinja/template.h"

#include <algorithm>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"
#include "jinja/machine.h"
#include "jinja/parser.h"

namespace moe::jinja {
namespace {

UserError complaint(const std::string& where, const char* expected, const Failure& failure) {
  return UserError(failure.line > 0 ? where + ":" + std::to_string(failure.line) : where, expected,
                   excerpt(failure.what(), 400));
}

bool has_generation(const Body& body) {
  return std::any_of(body.begin(), body.end(), [](const Statement& one) {
    return one.kind == Statement::Kind::generation || has_generation(one.body) || has_generation(one.other);
  });
}

}  // namespace

struct Template::Tree {
  Body body;
};

Template::Template(std::string where, std::string_view source) : where_(std::move(where)) {
  if (source.size() > kLongest)
    throw UserError(where_, "a template of at most 1 MiB", std::to_string(source.size()) + " bytes");
  if (const size_t good = well_formed_prefix(source); good < source.size())
    throw UserError(where_, "UTF-8", "other bytes from byte " + std::to_string(good) + " on");
  try {
    tree_ = std::make_unique<const Tree>(Tree{parse_template(source)});
  } catch (const Failure& failure) {
    throw complaint(where_, "a template in Jinja's language", failure);
  }
  marks_generation_ = has_generation(tree_->body);
}

Template::~Template() = default;

Rendered Template::render(const Dict& variables, int64_t now) const {
  try {
    Machine machine(variables, now);
    machine.run(tree_->body);
    return {.text = machine.out(), .generated = machine.generated()};
  } catch (const Failure& failure) {
    throw complaint(where_, "what this template can render", failure);
  }
}

}  // namespace moe::jinja
