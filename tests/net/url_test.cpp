// SPDX-License-Identifier: MIT
#include "net/url.h"

#include <gmock/gmock.h>

#include "support/errors.h"

namespace moe::net {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Url, OriginIsSchemeHostAndPort) {
  EXPECT_EQ(Url::parse("https://Hub.Example/a").origin, "https://hub.example:443");
  EXPECT_EQ(Url::parse("http://hub.example/a").origin, "http://hub.example:80");
  EXPECT_EQ(Url::parse("https://hub.example:8443").origin, "https://hub.example:8443");
  EXPECT_EQ(Url::parse("https://user:word@hub.example/").origin, "https://hub.example:443");
}

TEST(Url, ShownHasNoSecrets) {
  const Url url = Url::parse("https://user:word@cdn.example:444/a/b.parquet?Signature=secret#part");
  EXPECT_EQ(url.shown, "https://cdn.example:444/a/b.parquet");
  EXPECT_THAT(url.text, HasSubstr("Signature=secret"));
}

TEST(Url, ResolvesRedirects) {
  const Url base = Url::parse("https://hub.example/datasets/u/n/resolve/main/x?download=1");
  EXPECT_EQ(base.resolve("/api/y").text, "https://hub.example/api/y");
  EXPECT_EQ(base.resolve("z").text, "https://hub.example/datasets/u/n/resolve/main/z");
  EXPECT_EQ(base.resolve("//cdn.example/x").origin, "https://cdn.example:443");
  EXPECT_EQ(base.resolve("http://cdn.example/x?a=b c").text, "http://cdn.example/x?a=b+c");
  EXPECT_EQ(base.resolve("?page=2").text, "https://hub.example/datasets/u/n/resolve/main/x?page=2");
}

TEST(Url, RefusesWhatIsNone) {
  for (const char* text : {"", "a", "/a", "file:///etc/passwd", "ftp://host/x", "https://",
                           "http://host:99999/", "https://host name/", "https:// host/"})
    EXPECT_THAT(test::user_error_of([&] { Url::parse(text); }), HasSubstr("http:// or https:// URL")) << text;
  EXPECT_THAT(test::user_error_of([&] { Url::parse(std::string("https://host/\0x", 15)); }),
              HasSubstr("zero byte"));
  EXPECT_THAT(test::user_error_of([&] { Url::parse("gopher://user:word@host/?secret"); }),
              AllOf(HasSubstr("gopher"), Not(HasSubstr("word")), Not(HasSubstr("secret"))));
}

TEST(Url, PercentEncodesOneSegment) {
  EXPECT_EQ(percent_encode("refs/convert/parquet"), "refs%2Fconvert%2Fparquet");
  EXPECT_EQ(percent_encode("a b+c~d_e.f-9\xC3\xA9"), "a%20b%2Bc~d_e.f-9%C3%A9");
}

}  // namespace
}  // namespace moe::net
