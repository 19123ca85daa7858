// SPDX-License-Identifier: MIT
#include "net/certificates.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "net/http.h"
#include "support/folder.h"

namespace moe::net {
namespace {

class CertificatesTest : public testing::Test {
 protected:
  void SetUp() override { forget(); }
  void TearDown() override { forget(); }
  static void forget() {
    for (const char* name : {"MOE_CA_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"}) ::unsetenv(name);
  }
  std::string put(const std::string& name) {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    return folder_.put(name, "certificates").string();
  }
  test::TestFolder folder_;
};

TEST_F(CertificatesTest, EachSystemHasItsPlace) {
  EXPECT_EQ(find_certificates(folder_.path()).file, "");
  EXPECT_EQ(find_certificates(folder_.path()).from, "");
  const std::string suse = put("etc/ssl/ca-bundle.pem");
  EXPECT_EQ(find_certificates(folder_.path()).file, suse);
  const std::string fedora = put("etc/pki/tls/certs/ca-bundle.crt");
  EXPECT_EQ(find_certificates(folder_.path()).file, fedora);
  const std::string debian = put("etc/ssl/certs/ca-certificates.crt");
  EXPECT_EQ(find_certificates(folder_.path()).file, debian);
  EXPECT_EQ(find_certificates(folder_.path()).from, "the system");
  // A folder of that name is none.
  std::filesystem::remove(debian);
  std::filesystem::create_directories(debian);
  EXPECT_EQ(find_certificates(folder_.path()).file, fedora);
}

TEST_F(CertificatesTest, TheEnvironmentComesFirst) {
  put("etc/ssl/certs/ca-certificates.crt");
  ::setenv("SSL_CERT_FILE", "/of/mine.pem", 1);
  ::setenv("SSL_CERT_DIR", "/of/mine", 1);
  const Certificates own = find_certificates(folder_.path());
  EXPECT_EQ(own.file, "/of/mine.pem");
  EXPECT_EQ(own.folder, "/of/mine");
  EXPECT_EQ(own.from, "SSL_CERT_FILE");
  ::setenv("MOE_CA_FILE", "/of/ours.pem", 1);
  EXPECT_EQ(find_certificates(folder_.path()).file, "/of/ours.pem");
  ::setenv("MOE_CA_FILE", "", 1);  // set and empty is not set
  EXPECT_EQ(find_certificates(folder_.path()).file, "/of/mine.pem");
}

TEST_F(CertificatesTest, TheClientTakesThem) {
  EXPECT_EQ(ClientOptions::from_environment().ca_file, find_certificates().file);
  ::setenv("SSL_CERT_FILE", "/of/mine.pem", 1);
  EXPECT_EQ(ClientOptions::from_environment().ca_file, "/of/mine.pem");
}

}  // namespace
}  // namespace moe::net
