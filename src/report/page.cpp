// SPDX-License-Identifier: MIT
#include "report/page.h"

#include <fmt/format.h>

#include <string_view>

#include "base/error.h"

// Made of files by assets.S.
extern "C" {
extern const char moe_report_html_begin[], moe_report_html_end[];
extern const char moe_report_css_begin[], moe_report_css_end[];
extern const char moe_report_js_begin[], moe_report_js_end[];
extern const char moe_report_chart_begin[], moe_report_chart_end[];
}

namespace moe::report {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

void put_in(std::string& page, std::string_view mark, std::string_view text) {
  const size_t at = page.find(mark);
  CHECK(at != std::string::npos, std::string(mark));
  page.replace(at, mark.size(), text);
}

std::string runs_json(const std::vector<RunView>& runs) {
  std::string json = R"("runs":[)";
  for (size_t i = 0; i < runs.size(); ++i) {
    if (i > 0) json += ',';
    json += runs[i].json();
  }
  return json + "]";
}

std::string page_with(std::string_view data) {
  std::string page(between(moe_report_html_begin, moe_report_html_end));
  // From the end: what is put in is not searched again.
  put_in(page, "/*SCRIPT*/", between(moe_report_js_begin, moe_report_js_end));
  put_in(page, "/*DATA*/", data);
  put_in(page, "/*CHART*/", between(moe_report_chart_begin, moe_report_chart_end));
  put_in(page, "/*STYLE*/", between(moe_report_css_begin, moe_report_css_end));
  return page;
}

}  // namespace

std::string data_json(const std::vector<RunView>& runs) {
  std::string json = "{";
  return json.append(runs_json(runs)).append("}");
}

std::string page(const std::vector<RunView>& runs, double smooth) {
  return page_with(fmt::format("const DATA = {}, LIVE = false, SMOOTH = {};", data_json(runs), smooth));
}

std::string page(const std::vector<RunView>& runs, const Comparison& comparison) {
  const std::string json = comparison_json(comparison).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string script = "const DATA = {";
  script.append(runs_json(runs)).append(",\"comparison\":").append(safe_in_script(json));
  return page_with(script.append("}, LIVE = false, SMOOTH = 0;"));
}

std::string live_page() {
  return page_with(R"(const DATA = {"runs":[]}, LIVE = true, SMOOTH = 0;)");
}

}  // namespace moe::report
