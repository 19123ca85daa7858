// SPDX-License-Identifier: MIT
// What is asked of the hub's API. Downloads are in download.cpp.
#include "hub/hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "base/error.h"
#include "hub/answers.h"

namespace moe::hub {
namespace {

// The state of main since 2025-07-11.
constexpr const char* kFineWebEdu = "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9";

// The path's segments encoded, the slashes as they are.
std::string encode_path(std::string_view path) {
  std::string result;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    result += '/';
    result += net::percent_encode(path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  return result;
}

std::string unquoted(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

// The server's refusal in words about the repository.
[[noreturn]] void explain(const net::HttpError& error, const Address& address, const Settings& settings) {
  const std::string page =
      settings.endpoint + (address.kind == "models" ? "/" : "/" + address.kind + "/") + address.repo;
  const std::string& code = error.headers.get("X-Error-Code");
  std::string expected, hint = error.hint;
  if (code == "RepoNotFound" || (error.status == 401 && code.empty())) {
    expected = address.repo + " among the " + address.kind;
    hint = settings.token.empty()
               ? "check the name; if it is private, set HF_TOKEN to a token of who may read it"
               : "check the name, and that the token's owner may read it";
  } else if (error.status == 401 || error.status == 403) {
    expected = "leave to read " + address.repo;
    hint = "accept its terms on " + page +
           (settings.token.empty() ? " and set HF_TOKEN to your token"
                                   : " with the account that the token is of");
  } else if (code == "RevisionNotFound") {
    expected = "revision " + revision_or_default(address);
    hint = page + "/tree/main shows branches and tags";
  } else if (error.status == 404) {
    expected = address.path.empty() ? "files" : address.path;
    hint = "check the path: " + page + "/tree/" + net::percent_encode(revision_or_default(address));
  } else if (error.status == 429 && settings.token.empty()) {
    hint = "the limit for anonymous users is used up; wait some minutes, or set HF_TOKEN";
  }
  const UserError explained(address.text(), expected, error.found, hint);
  if (error.status >= 500) throw net::Unreachable(explained);
  throw explained;
}

std::string not_a_hub(const Settings& settings) {
  return "is HF_ENDPOINT a Hugging Face hub? " + settings.endpoint;
}

}  // namespace

std::string revision_or_default(const Address& address) {
  if (!address.revision.empty()) return address.revision;
  const bool pinned = address.kind == "datasets" && address.repo == "HuggingFaceFW/fineweb-edu";
  return pinned ? kFineWebEdu : "main";
}

Hub::Hub(Settings settings, net::Client& client, Event on_event)
    : settings_(std::move(settings)),
      endpoint_(net::Url::parse(settings_.endpoint)),
      client_(client),
      on_event_(std::move(on_event)),
      cache_(settings_.cache) {}

void Hub::event(const std::string& line) const {
  if (on_event_) on_event_(line);
}

std::string Hub::api(const Address& address, const std::string& verb, const std::string& revision) const {
  return settings_.endpoint + "/api/" + address.kind + "/" + address.repo + "/" + verb + "/" +
         net::percent_encode(revision);
}

net::Response Hub::ask(const net::Url& url, const Address& address, std::optional<double> patience) const {
  try {
    // A page's link to the next one may lead anywhere; the token may not.
    return client_.get({.url = url,
                        .bearer = url.origin == endpoint_.origin ? settings_.token : "",
                        .name = address.text(),
                        .patience = patience});
  } catch (const net::HttpError& error) {
    explain(error, address, settings_);
  }
}

std::string Hub::commit(const Address& address) {
  std::string revision = revision_or_default(address);
  if (is_commit(revision)) return revision;
  const std::lock_guard lock(mutex_);
  std::string& known = commits_[address.kind + "/" + address.repo + "@" + revision];
  if (!known.empty()) return known;
  const auto cached = cache_.commit(address, revision);
  if (settings_.offline) {
    if (!cached)
      throw UserError(address.text(), "revision " + revision + " in the cache " + cache_.folder().string(),
                      "none", "HF_HUB_OFFLINE is set: unset it, or name a commit that is there");
    return known = *cached;
  }
  try {
    const double least = std::min(kPatienceWithCache, client_.options().retry.patience);
    return known = ask_commit(address, revision, cached ? std::optional(least) : std::nullopt);
  } catch (const net::Unreachable& error) {
    if (!cached) throw;
    event(fmt::format("{}; using commit {} of the cache", error.what(), *cached));
    return known = *cached;
  }
}

std::string Hub::ask_commit(const Address& address, const std::string& revision,
                            std::optional<double> patience) const {
  const net::Response response = ask(net::Url::parse(api(address, "revision", revision)), address, patience);
  return read_commit(fmt::format("{}: revision {}", address.text(), revision), response.body,
                     not_a_hub(settings_));
}

std::vector<File> Hub::list(const Address& address) {
  const std::string commit_id = commit(address);
  std::vector<File> files;
  if (auto tree = cache_.tree(address, commit_id)) {
    files = std::move(*tree);
  } else if (settings_.offline) {
    files = cache_.list(address, commit_id);
    event(fmt::format("{}: offline, {} files in the cache", address.text(), files.size()));
  } else {
    files = ask_list(address, commit_id);
  }
  if (files.empty())
    throw UserError(address.text(), "files", settings_.offline ? "none in the cache" : "none",
                    settings_.offline ? "HF_HUB_OFFLINE is set: unset it to ask the hub" : "check the path");
  return files;
}

std::vector<File> Hub::ask_list(const Address& address, const std::string& commit) const {
  try {
    return at_or_below(address.path, ask_tree(address, commit, address.path, true));
  } catch (const UserError&) {
    if (address.path.empty()) throw;
    // A file is no tree: it stands in its folder's.
    const size_t slash = address.path.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : address.path.substr(0, slash);
    std::vector<File> files;
    try {
      files = at_or_below(address.path, ask_tree(address, commit, folder, false));
    } catch (const UserError&) {
      files.clear();
    }
    if (files.empty()) throw;
    return files;
  }
}

std::vector<File> Hub::ask_tree(const Address& address, const std::string& commit, const std::string& path,
                                bool recursive) const {
  net::Url url =
      net::Url::parse(api(address, "tree", commit) + encode_path(path) +
                      (recursive ? "?recursive=True&expand=False" : "?recursive=False&expand=False"));
  std::vector<File> files;
  for (size_t pages = 1;; ++pages) {
    const net::Response response = ask(url, address);
    auto page = read_listing(address.text(), response.body, not_a_hub(settings_));
    files.insert(files.end(), std::make_move_iterator(page.begin()), std::make_move_iterator(page.end()));
    const auto next = net::parse_next_link(response.headers.get("Link"));
    if (!next) return files;
    if (pages == kMostPages || files.size() > kMostFiles)
      throw UserError(
          address.text(),
          fmt::format("a listing that ends, of at most {} pages and {} files", kMostPages, kMostFiles),
          fmt::format("{} pages with {} files, and a next one", pages, files.size()),
          "name a folder below it");
    url = response.final_url.resolve(*next);
  }
}

std::shared_ptr<const Input> Hub::open(const Address& address, const File& file) {
  const std::string commit_id = commit(address);
  if (auto input = cache_.open(address, commit_id, file)) return input;
  return remote(address, commit_id, file);
}

std::shared_ptr<net::RemoteFile> Hub::remote(const Address& address, const std::string& commit,
                                             const File& file) const {
  Address one = address;
  one.path = file.path;
  if (settings_.offline)
    throw UserError(one.text(), "the file in the cache " + cache_.folder().string(),
                    "none of that name and size", "HF_HUB_OFFLINE is set: unset it to ask the hub");
  return std::make_shared<net::RemoteFile>(
      client_, one.text(), [this, one, commit, file] { return resolve(one, commit, file); },
      net::RemoteIdentity{.size = file.size});
}

// Asks where the bytes are: a signed URL elsewhere for LFS files, one of the hub's own for small ones.
net::RemoteAddress Hub::resolve(const Address& address, const std::string& commit, const File& file) const {
  constexpr int kHops = 5;  // a renamed repository first leads to its new name
  net::Url url =
      net::Url::parse(settings_.endpoint + (address.kind == "models" ? "/" : "/" + address.kind + "/") +
                      address.repo + "/resolve/" + commit + encode_path(file.path));
  for (int hop = 0; hop < kHops; ++hop) {
    net::Response response;
    try {
      response = client_.get(
          {.url = url, .method = "HEAD", .bearer = settings_.token, .name = address.text(), .follow = false});
    } catch (const net::HttpError& error) {
      explain(error, address, settings_);
    }
    const std::string linked = unquoted(response.headers.get("X-Linked-ETag"));
    if (!linked.empty() && file.lfs && linked != file.oid)
      throw UserError(address.text(), "content " + file.oid, linked, "the file changed; start again");
    const std::string& location = response.headers.get("Location");
    if (response.status < 300 || location.empty()) return {.url = url, .bearer = settings_.token};
    const net::Url target = url.resolve(location);
    if (url.secure() && !target.secure())
      throw UserError(url.shown, "https throughout", "a redirect to " + target.shown);
    if (target.origin != endpoint_.origin) return {.url = target};
    url = target;
  }
  throw UserError(address.text(), fmt::format("at most {} redirects", kHops), "more");
}

}  // namespace moe::hub
