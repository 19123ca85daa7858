// SPDX-License-Identifier: MIT
// Addresses as they may be shown, alone and inside other texts.
#include "base/secrets.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/error.h"

namespace moe {
namespace {

TEST(SecretsTest, AddressesLoseUserQueryAndFragment) {
  for (const auto& [text, shown] : {
           std::pair{"http://user:PASS@host/x.txt?sig=SECRET", "http://host/x.txt"},
           {"https://PASS@host:8443/x#SECRET", "https://host:8443/x"},
           {"0.7 https://host/a?SECRET", "0.7 https://host/a"},
           {"[\"https://u:PASS@h/a?b=SECRET\", \"https://h/b\"]", "[\"https://h/a\", \"https://h/b\"]"},
           {"no server at https://h/x?SECRET 'https://u:PASS@h/'", "no server at https://h/x 'https://h/'"},
           {"https://user:PA/SS@host/x", "https://host/x"},
           {"https://user:PA?SS@host/x?SECRET", "https://host/x"},
           {"socks5h://u:PASS@proxy:1080", "socks5h://proxy:1080"},
           {"https://u:PASS@[::1]:80/x", "https://[::1]:80/x"},
       })
    EXPECT_EQ(without_secrets(text), shown);
}

TEST(SecretsTest, WhatHoldsNoneStays) {
  for (const char* text :
       {"", "://", "a://", "texts/what?.txt", "hf://datasets/user/name@refs/convert/parquet/x?y",
        "https://h:80/@user/x", "https://[::1]:80/x", "user@host:/path",
        "expected http:// or https:// addresses", "0.3 hf://a/b@main/c"}) {
    EXPECT_EQ(without_secrets(text), text);
    EXPECT_FALSE(has_secrets(text));
  }
  EXPECT_TRUE(has_secrets("x http://a@b"));
}

TEST(SecretsTest, ErrorsHoldNone) {
  const UserError error("https://u:PASS@h/x?sig=SECRET", "https://u:PASS@h", "http://h/?SECRET",
                        "open http://h#SECRET");
  EXPECT_STREQ(error.what(), "https://h/x: expected https://h, found http://h/. Hint: open http://h");
  EXPECT_EQ(error.where, "https://h/x");
}

}  // namespace
}  // namespace moe
