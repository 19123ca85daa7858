// SPDX-License-Identifier: MIT
// One call of Client::get: follows redirects, holds each answer against what was asked and what the file is,
// and remembers how far the body has come, so that the next attempt goes on from there. Inside src/net only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"
#include "net/interrupt.h"
#include "net/transfer.h"

namespace moe::net {

class Call {
 public:
  Call(const Request& request, const ClientOptions& options, Counters& counters, Connection& connection,
       Interrupt& interrupt);

  // Asks once, from the byte reached. Throws what no further attempt can mend.
  Failure attempt();
  // Whether the last attempt brought bytes, at the least rate.
  bool progressed() const { return progressed_; }
  // What the server asked to wait, after a failure.
  std::optional<double> asked_wait() const;
  Response take_response();
  // The error of the last attempt, after so many in a row, in so many seconds.
  [[noreturn]] void give_up(const Failure& failure, int failures, double seconds) const;

 private:
  int64_t begin() const { return request_.range ? request_.range->begin : 0; }
  int64_t end() const { return request_.range ? request_.range->end : -1; }  // -1: not known
  int64_t position() const { return begin() + received_; }
  bool asks_range() const { return request_.range || received_ > 0; }

  std::vector<std::string> header_lines(const Url& url) const;
  Failure follow();
  std::optional<Url> redirect_target();
  void start_anew();
  void take_head(long status, const Headers& headers);
  void check_identity();
  void check_place();
  bool take_piece(std::string_view piece);
  void deliver(std::string_view piece);
  Failure judge();
  void mismatch(const std::string& expected, const std::string& found, const std::string& hint);
  void changed(const std::string& expected, const std::string& found);
  std::string wanted_bytes() const;

  const Request& request_;
  const ClientOptions& options_;
  Counters& counters_;
  Connection& connection_;
  Interrupt& interrupt_;

  Response response_;  // of the last attempt, without its body
  std::string body_;
  std::string validator_;  // the ETag, else the date of the last change
  int64_t total_ = -1;     // size of the whole file
  int64_t received_ = 0;
  bool progressed_ = false;
  int64_t skip_ = 0;     // bytes of this answer that we have already
  int64_t dropped_ = 0;  // bytes of bodies that nobody wants
  bool wanted_ = false;  // this answer's body is the one asked for
  Failure mismatch_;     // of this answer
  int mismatches_ = 0;   // in a row
};

}  // namespace moe::net
