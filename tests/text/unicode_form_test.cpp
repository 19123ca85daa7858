// SPDX-License-Identifier: MIT
#include "text/unicode_form.h"

#include <gtest/gtest.h>

#include <string>

namespace moe::text {
namespace {

std::string nfc(std::string_view text) {
  std::string buffer = "left over";
  return std::string(to_form(UnicodeForm::nfc, text, buffer));
}

// By Python's unicodedata.normalize("NFC", ...).
TEST(Nfc, ComposesAsUnicodeDoes) {
  EXPECT_EQ(nfc(""), "");
  EXPECT_EQ(nfc("plain naïve Ж 漢字 한국"), "plain naïve Ж 漢字 한국");
  EXPECT_EQ(nfc("cafe\u0301 e\u0301"), "café é");
  EXPECT_EQ(nfc("\u0301a"), "\u0301a");
  EXPECT_EQ(nfc("é\u0323x"), "\u1EB9\u0301x");      // apart, ordered, together
  EXPECT_EQ(nfc("e\u0301\u0323"), "\u1EB9\u0301");  // marks in order
  EXPECT_EQ(nfc("и\u0306 й"), "й й");
  EXPECT_EQ(nfc("\u1112\u1161\u11AB \uAC00\u11A8"), "한 각");   // Hangul
  EXPECT_EQ(nfc("\u212B\u2126\u0958"), "Å\u03A9\u0915\u093C");  // singletons, and one that stays apart
  EXPECT_EQ(nfc("\u09C7\u09BE"), "\u09CB");                     // a second part that is no mark of a class
  EXPECT_EQ(nfc("\uFB01"), "\uFB01");                           // compatibility is not canonical
}

TEST(Nfc, KeepsWhatLiesBetween) {
  std::string text, expected;
  for (int i = 0; i < 200; ++i) {
    text += std::string(static_cast<size_t>(i % 7), 'x') + "漢o\u0308 y\u0308";
    expected += std::string(static_cast<size_t>(i % 7), 'x') + "漢ö ÿ";
  }
  EXPECT_EQ(nfc(text), expected);
}

// By Python's unicodedata.normalize() and str.lower().
TEST(UnicodeForm, TheOthersAreAsUnicodeSays) {
  const auto in = [](UnicodeForm form, std::string_view text) {
    std::string buffer = "left over";
    return std::string(to_form(form, text, buffer));
  };
  const std::string text = "é\u0323 \uFB01 \uAC01 \u1E9B\u0323 \u2460x";
  EXPECT_EQ(in(UnicodeForm::nfd, text), "e\u0323\u0301 \uFB01 \u1100\u1161\u11A8 \u017F\u0323\u0307 \u2460x");
  EXPECT_EQ(in(UnicodeForm::nfkd, text), "e\u0323\u0301 fi \u1100\u1161\u11A8 s\u0323\u0307 1x");
  EXPECT_EQ(in(UnicodeForm::nfkc, text), "\u1EB9\u0301 fi \uAC01 \u1E69 1x");
  for (const UnicodeForm form : {UnicodeForm::nfd, UnicodeForm::nfkd, UnicodeForm::nfkc}) {
    EXPECT_EQ(in(form, "plain"), "plain");
    EXPECT_EQ(in(form, ""), "");
  }
  std::string buffer;
  // Each character by itself: the last sigma of a word is as the others.
  EXPECT_EQ(to_lowercase("ΑΣ \u0130 Straße ǅ", buffer), "ασ i\u0307 straße ǆ");
}

// utf8proc alone would move each mark past all before it: minutes.
TEST(Nfc, ManyMarksAreNotQuadratic) {
  std::string text = "a";
  for (int i = 0; i < 100'000; ++i) text += "\u0301\u0323";
  const std::string composed = nfc(text);
  EXPECT_EQ(composed.substr(0, 5), "\u1EA1\u0323");
  EXPECT_EQ(composed.size(), text.size());  // three bytes are now one character of three
}

}  // namespace
}  // namespace moe::text
