// SPDX-License-Identifier: MIT
// Which certificates HTTPS trusts. libcurl and OpenSSL know the place of the system they were built on; a
// program that brings them along to another system has to find that system's own.
#pragma once

#include <filesystem>
#include <string>

namespace moe::net {

struct Certificates {
  std::string file, folder;  // for libcurl; "": its own default
  std::string from;  // what names the file: an environment variable, or "the system"; "": nothing does
};

// file: MOE_CA_FILE, else SSL_CERT_FILE, else the first bundle that is at one of the usual places of Linux
// distributions. folder: SSL_CERT_DIR. A variable counts as it is: the first connection tells of a file that
// is not there. root: of the usual places.
Certificates find_certificates(const std::filesystem::path& root = "/");

}  // namespace moe::net
