// SPDX-License-Identifier: MIT
// Examples of RFC 9110, RFC 8288, the hub's documentation, and what breaks the grammars.
#include "net/headers.h"

#include <gtest/gtest.h>

namespace moe::net {
namespace {

TEST(Headers, NamesHaveNoCase) {
  Headers headers;
  headers.add_line("Content-Length: 12\r\n");
  headers.add_line("X-Repo-Commit:abc \r\n");
  headers.add_line("no colon");
  headers.add_line(": no name");
  EXPECT_EQ(headers.get("content-length"), "12");
  EXPECT_EQ(headers.get("X-REPO-COMMIT"), "abc");
  EXPECT_EQ(headers.get("ETag"), "");
  EXPECT_FALSE(headers.has("ETag"));
  EXPECT_TRUE(headers.has("CONTENT-length"));
}

TEST(Headers, ContentRange) {
  const auto some = parse_content_range("bytes 42-1233/1234");
  ASSERT_TRUE(some);
  EXPECT_EQ(some->begin, 42);
  EXPECT_EQ(some->end, 1234);
  EXPECT_EQ(some->total, 1234);
  const auto open = parse_content_range(" Bytes 0-0/* ");
  ASSERT_TRUE(open);
  EXPECT_EQ(open->end, 1);
  EXPECT_EQ(open->total, -1);
  const auto outside = parse_content_range("bytes */1234");
  ASSERT_TRUE(outside);
  EXPECT_EQ(outside->begin, -1);
  EXPECT_EQ(outside->total, 1234);
  for (const char* wrong :
       {"", "bytes", "bytes 1-2", "bytes 2-1/3", "bytes 0-3/3", "bytes -1-2/3", "bytes */*", "bytes 1-2/3x",
        "bytes 1 - 2/3", "lines 1-2/3", "bytes 0-9223372036854775807/*", "bytes 0-99999999999999999999/*",
        "bytes 1-/3", "bytes +1-2/3"})
    EXPECT_FALSE(parse_content_range(wrong)) << wrong;
}

TEST(Headers, ContentLength) {
  EXPECT_EQ(parse_content_length(" 3495 "), 3495);
  for (const char* wrong : {"", "-1", "+1", "1,1", "0x10", "99999999999999999999"})
    EXPECT_FALSE(parse_content_length(wrong)) << wrong;
}

TEST(Headers, RetryAfter) {
  constexpr int64_t kNow = 946684799;  // Fri, 31 Dec 1999 23:59:59 GMT, as POSIX counts
  EXPECT_EQ(parse_retry_after("120", kNow), 120);
  EXPECT_EQ(parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT", kNow - 30), 30);
  EXPECT_EQ(parse_retry_after("Fri, 31 Dec 1999 23:59:59 GMT", kNow + 30), 0);
  EXPECT_EQ(parse_retry_after("Friday, 31-Dec-99 23:59:59 GMT", kNow), 0);  // the old form
  for (const char* wrong : {"", "soon", "-1", "12:99:xx", "1.5"})
    EXPECT_FALSE(parse_retry_after(wrong, kNow)) << wrong;
}

TEST(Headers, RateLimit) {
  EXPECT_EQ(parse_rate_limit("\"resolvers\";r=0;t=55"), 55);
  EXPECT_EQ(parse_rate_limit("\"api\";r=12;t=55"), std::nullopt);  // some requests are left
  EXPECT_EQ(parse_rate_limit("\"a\";r=0;t=5, \"b;t=99\" ; t=7 ; r=0, \"c\";r=1;t=300"), 7);
  for (const char* wrong : {"", "x", "\"a\";r=0", "\"a\";t=5", "\"a\";r=0;t=-5", "\"a;r=0;t=5", ";;;,,,=="})
    EXPECT_FALSE(parse_rate_limit(wrong)) << wrong;
}

TEST(Headers, NextLink) {
  EXPECT_EQ(parse_next_link("<https://h/api?cursor=ab%3D&limit=2>; rel=\"next\""),
            "https://h/api?cursor=ab%3D&limit=2");
  EXPECT_EQ(parse_next_link("<a>; rel=prev, <b,c;d>; title=\"x, <y>; rel=next\"; REL=\"last Next\""),
            "b,c;d");
  EXPECT_EQ(parse_next_link("<a>;rel=next"), "a");
  for (const char* wrong :
       {"", "a; rel=next", "<a; rel=next", "<a>; rel=\"nextpage\"", "<>; rel=next", "<a>", "\""})
    EXPECT_FALSE(parse_next_link(wrong)) << wrong;
}

}  // namespace
}  // namespace moe::net
