// SPDX-License-Identifier: MIT
#include "net/certificates.h"

#include <unistd.h>

#include <cstdlib>
#include <system_error>

namespace moe::net {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBundles[] = {
    "etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
    "etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL and their kin
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // the same, where the older name is gone
    "etc/ssl/ca-bundle.pem",                             // openSUSE, SLES
    "var/lib/ca-certificates/ca-bundle.pem",             // the same
    "etc/ssl/cert.pem",                                  // Alpine, Void
};

}  // namespace

Certificates find_certificates(const fs::path& root) {
  Certificates found;
  if (const char* folder = std::getenv("SSL_CERT_DIR")) found.folder = folder;
  for (const char* const name : {"MOE_CA_FILE", "SSL_CERT_FILE"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0')
      return {.file = value, .folder = found.folder, .from = name};
  for (const char* const bundle : kBundles) {
    const fs::path path = root / bundle;
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored) || access(path.c_str(), R_OK) != 0) continue;
    found.file = path.string();
    found.from = "the system";
    break;
  }
  return found;
}

}  // namespace moe::net
