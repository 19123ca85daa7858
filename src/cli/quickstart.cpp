// SPDX-License-Identifier: MIT
#include "cli/quickstart.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"
#include "doctor/machine.h"

namespace moe::cli {

void expect_dictionary(const train::RunConfig& config) {
  std::error_code ignored;
  for (const std::string& source : config.data.source) {
    const std::filesystem::path file(source);
    if (file.filename() != std::filesystem::path(doctor::kDictionary).filename() ||
        std::filesystem::exists(file, ignored))
      continue;
    throw UserError("data.source", "the dictionary that the quickstart learns from", "no file " + source,
                    "Debian's and Ubuntu's package dict-gcide has it: apt-get install dict-gcide. Or take "
                    "text of your own: data.source=my_texts/ data.document_split=file");
  }
}

}  // namespace moe::cli
