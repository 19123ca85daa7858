// SPDX-License-Identifier: MIT
#include "wandb/upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>

#include "base/error.h"
#include "net/headers.h"
#include "wandb/history.h"

namespace moe::wandb {
namespace {

// Another attempt cannot mend these.
bool is_final(long status) {
  constexpr long kFinal[] = {400, 401, 403, 404, 410, 413, 422, 501};
  return std::find(std::begin(kFinal), std::end(kFinal), status) != std::end(kFinal);
}

std::string hint_for(long status) {
  if (status == 401 || status == 403) return "check WANDB_API_KEY and WANDB_ENTITY";
  if (status == 404 || status == 410)
    return "check WANDB_BASE_URL, WANDB_ENTITY and whether the run was deleted there";
  return "";
}

std::string file_json(const char* name, int64_t offset, const std::vector<std::string>& lines) {
  std::string content;
  for (const std::string& line : lines) {
    if (!content.empty()) content += ',';
    content += json_string(line);
  }
  return fmt::format(R"("{}":{{"offset":{},"content":[{}]}})", name, offset, content);
}

std::string url_of(const std::string& base) {
  return base == "https://api.wandb.ai" ? "https://wandb.ai" : base;
}

}  // namespace

Upload::Upload(const Settings& settings, std::filesystem::path records, bool continued, net::Client& client,
               Terminal& terminal)
    : settings_(settings),
      records_(std::move(records)),
      continued_(continued),
      client_(client),
      terminal_(terminal),
      api_(settings_, client_) {}

std::string Upload::url() const {
  if (run_.entity.empty()) return "";
  return fmt::format("{}/{}/{}/runs/{}", url_of(settings_.base_url), net::percent_encode(run_.entity),
                     net::percent_encode(run_.project), net::percent_encode(id_));
}

// Makes the run there and finds out where to go on. False: given up.
bool Upload::start() {
  LineReader head(records_, {});
  head.read(1);
  const RunDescription run = head.description();
  CHECK(!run.id.empty(), "a .wandb file begins with its run");
  id_ = run.id;
  const std::optional<LineCounts> there = api_.counts(run.id);
  if (!started_ && !continued_) {
    if (there && settings_.resume == Resume::never) {
      give_up("the run " + run.id + " is there already", "WANDB_RESUME=allow goes on in it");
      return false;
    }
    if (!there && settings_.resume == Resume::must) {
      give_up("there is no run " + run.id + " to resume", "WANDB_RESUME=allow makes it");
      return false;
    }
    // Without a word about resuming, a run of the same id is written anew.
    if (there && settings_.resume != Resume::unset) base_ = *there;
  }
  LineCounts done;
  if (there && (continued_ || started_))
    done = {there->history - base_.history, there->events - base_.events, there->output - base_.output};
  run_ = api_.upsert(run);
  lines_.emplace(records_, done);
  revision_sent_ = head.revisions();
  uploaded_ = std::max<int64_t>(done.history, 0);
  if (!std::exchange(started_, true) && !settings_.silent) terminal_.line("wandb     " + url());
  return true;
}

std::string Upload::body() const {
  std::string files;
  const auto add = [&](const char* name, int64_t base, const Lines& lines) {
    if (lines.content.empty()) return;
    if (!files.empty()) files += ',';
    files += file_json(name, base + lines.first, lines.content);
  };
  add("wandb-history.jsonl", base_.history, lines_->history);
  add("wandb-events.jsonl", base_.events, lines_->events);
  add("output.log", base_.output, lines_->output);
  if (lines_->summary) add("wandb-summary.json", 0, {.first = 0, .content = {*lines_->summary}});
  std::string text = files.empty() ? "{" : fmt::format(R"({{"files":{{{}}},)", files);
  if (const auto code = lines_->exit_code())
    return text + fmt::format(R"("complete":true,"exitcode":{}}})", *code);
  return text + R"("complete":false})";
}

void Upload::send() {
  if (lines_->revisions() > revision_sent_) {
    const int64_t revision = lines_->revisions();
    api_.upsert(lines_->description());
    revision_sent_ = revision;
  }
  const bool last = lines_->exit_code().has_value();
  const bool stop = api_.post_lines(run_, id_, body());
  lines_->taken();
  uploaded_ = lines_->history.first;
  complete_ = last;
  if (stop && !std::exchange(told_stopped_, true))
    terminal_.warning("somebody pressed \"stop\" in Weights & Biases: Ctrl-C here saves and ends the run");
  send_alerts();
}

// Only for the eye of somebody: one that gets lost is not sent again, it is in the record.
void Upload::send_alerts() {
  while (alerts_sent_ < lines_->alerts.size()) {
    const auto& [title, text] = lines_->alerts[alerts_sent_++];
    try {
      api_.alert(run_, id_, title, text);
    } catch (const UserError&) {
      return;
    }
  }
}

void Upload::give_up(const std::string& reason, const std::string& hint) {
  given_up_ = true;
  terminal_.warning(
      fmt::format("wandb: {}{}{}; training goes on, and the run's folder keeps everything for `wandb sync`",
                  reason, hint.empty() ? "" : ": ", hint));
}

double Upload::failed(const std::string& reason, const std::optional<double>& asked) {
  if (failures_++ == 0)
    terminal_.warning(fmt::format("wandb: {}; training goes on, uploading is tried again", reason));
  const double own = std::min(kLongestWait, std::ldexp(kFirstWait, std::min(failures_ - 1, 10)));
  return asked ? std::clamp(*asked, 0.5, 600.0) : own;
}

double Upload::refused(long status, const UserError& error) {
  if (is_final(status)) {
    give_up(error.found, hint_for(status));
    return 0;
  }
  if (status == 409 && ++conflicts_ > kMostConflicts) {
    give_up("the service does not take our lines (HTTP 409)", "does another program write to this run?");
    return 0;
  }
  if (status == 409) lines_.reset();  // go on from what it has
  return -1;
}

double Upload::step(double now) {
  if (done()) return 0;
  try {
    if (!lines_ && !start()) return 0;
    lines_->read(kMostBytes);
    const bool nothing = lines_->waiting_bytes() == 0 && !lines_->summary && !lines_->exit_code();
    if (nothing && now - last_post_ < kHeartbeat) return kPace;
    send();
    if (std::exchange(failures_, 0) > 0 && !settings_.silent) terminal_.line("wandb: uploading goes on");
    conflicts_ = 0;
    last_post_ = now;
    lines_->read(kMostBytes);
    return lines_->waiting_bytes() >= kMostBytes || lines_->exit_code() ? 0 : kPace;
  } catch (const net::HttpError& error) {
    if (const double wait = refused(error.status, error); wait >= 0) return wait;
    auto asked = net::parse_retry_after(error.headers.get("Retry-After"), std::time(nullptr));
    if (error.headers.get("RateLimit-Remaining") == "0")
      asked = net::parse_retry_after(error.headers.get("RateLimit-Reset"), std::time(nullptr));
    return failed(error.found, asked);
  } catch (const net::Unreachable& error) {
    return failed(error.found, std::nullopt);
  } catch (const UserError& error) {
    give_up(error.found, error.hint);
    return 0;
  }
}

}  // namespace moe::wandb
