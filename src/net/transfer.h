// SPDX-License-Identifier: MIT
// One request and its answer over libcurl, without redirects and retries, and the connections it runs over.
// The only place that drives libcurl. Inside src/net only.
#pragma once

#include <curl/curl.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"
#include "net/interrupt.h"

namespace moe::net {

// What to send, and who takes the answer. The callbacks may throw; the exception comes out of
// Connection::perform.
struct Transfer {
  const Url& url;
  bool head = false;
  const std::string* payload = nullptr;  // not null: a POST of it
  std::vector<std::string> header_lines;
  // When status and headers are complete.
  std::function<void(long, const Headers&)> begin;
  // Pieces of the body. False: enough, the rest is not wanted.
  std::function<bool(std::string_view)> body;
};

// How it ended, when not by an answer in full.
struct Failure {
  bool failed = false;
  bool passing = false;  // may go away by itself
  bool slow = false;     // ours: the answer did not come in time
  std::string reason;
  std::string hint;
};

// One easy handle in a multi handle of its own, which keeps the connections: curl_multi_poll can be woken
// from another thread, curl_easy_perform cannot. Used by one thread at a time.
class Connection {
 public:
  Connection();

  // Blocks until the answer is there in full or will not come. Throws Cancelled, and what the callbacks
  // throw.
  Failure perform(const Transfer& transfer, const ClientOptions& options, Interrupt& interrupt);
  bool has_been_at(const std::string& origin) const;

 private:
  struct FreeEasy {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  };
  struct FreeMulti {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };
  struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  struct Answer;

  void set_options(const Transfer& transfer, const ClientOptions& options, Answer& answer);
  CURLcode drive(Interrupt& interrupt, Answer& answer, std::string& too_slow);

  std::unique_ptr<CURLM, FreeMulti> multi_;
  std::unique_ptr<CURL, FreeEasy> easy_;  // after multi_: it goes first
  std::unique_ptr<curl_slist, FreeList> header_lines_;
  std::vector<std::string> origins_;
};

}  // namespace moe::net
