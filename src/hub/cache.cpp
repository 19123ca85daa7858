// SPDX-License-Identifier: MIT
// Everything about the cache but the removal of blobs, which is in prune.cpp.
#include "hub/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "hub/answers.h"
#include "hub/file_lock.h"

namespace moe::hub {
namespace {

namespace fs = std::filesystem;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string folder_name(const Address& address) {
  std::string name = address.kind + "--" + address.repo;
  name.replace(name.rfind('/'), 1, "--");
  return name;
}

[[noreturn]] void fail(const fs::path& path, const char* step, const std::error_code& error) {
  throw UserError(path.string(), "", fmt::format("cannot {}: {}", step, error.message()),
                  "HF_HUB_CACHE names the cache's folder");
}

void make_folder(const fs::path& folder) {
  make_folders(folder, "HF_HUB_CACHE names the cache's folder");
}

// The lock keeps the file from being pruned.
class BlobInput : public FileInput {
 public:
  BlobInput(const fs::path& path, int64_t size, FileLock use) : FileInput(path, size), use_(std::move(use)) {}

 private:
  const FileLock use_;
};

// The size of a file, through links; -1 when it is not there.
int64_t size_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return -1;
  const auto size = fs::file_size(path, error);
  return error ? -1 : static_cast<int64_t>(size);
}

}  // namespace

bool is_commit(std::string_view text) {
  return text.size() == 40 && is_hex(text);
}

bool is_oid(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && is_hex(text);
}

std::vector<File> at_or_below(const std::string& path, std::vector<File> files) {
  std::erase_if(files, [&](const File& file) {
    return !path.empty() && file.path != path && !file.path.starts_with(path + "/");
  });
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.path < b.path; });
  return files;
}

fs::path Cache::repository(const Address& address) const {
  return folder_ / folder_name(address);
}

fs::path Cache::blob(const Address& address, const std::string& oid) const {
  CHECK(is_oid(oid), "a blob called " + oid);
  return repository(address) / "blobs" / oid;
}

fs::path Cache::snapshot(const Address& address, const std::string& commit, const std::string& path) const {
  CHECK(is_commit(commit) && is_inner_path(path), commit + "/" + path);
  return repository(address) / "snapshots" / commit / path;
}

fs::path Cache::lock(const Address& address, const std::string& oid) const {
  return folder_ / ".locks" / folder_name(address) / (oid + ".lock");
}

std::optional<std::string> Cache::commit(const Address& address, const std::string& revision) const {
  if (is_commit(revision)) return revision;
  const fs::path file = repository(address) / "refs" / revision;
  if (size_of(file) < 0) return std::nullopt;
  std::string text = read_file(file);
  while (text.ends_with('\n')) text.pop_back();
  return is_commit(text) ? std::optional(text) : std::nullopt;
}

void Cache::write_ref(const Address& address, const std::string& revision,
                      const std::string& commit_id) const {
  if (commit(address, revision) == commit_id) return;
  const fs::path file = repository(address) / "refs" / revision;
  make_folder(file.parent_path());
  write_file_atomically(file, commit_id);
}

std::vector<File> Cache::list(const Address& address, const std::string& commit) const {
  std::vector<File> files;
  const fs::path root = repository(address) / "snapshots" / commit;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    File file{.path = entry->path().lexically_relative(root).generic_string(),
              .size = size_of(entry->path()),
              .oid = ""};
    if (file.size < 0) continue;
    std::error_code no_link;
    const std::string blob = fs::read_symlink(entry->path(), no_link).filename().string();
    if (is_oid(blob)) file.oid = blob;
    file.lfs = file.oid.size() == 64;
    files.push_back(std::move(file));
  }
  return at_or_below(address.path, std::move(files));
}

std::optional<std::vector<File>> Cache::tree(const Address& address, const std::string& commit) const {
  const fs::path path = repository(address) / "trees" / (commit + ".json");
  if (size_of(path) < 0) return std::nullopt;
  auto files = read_kept_tree(read_file(path));
  if (!files) return std::nullopt;
  return at_or_below(address.path, std::move(*files));
}

std::optional<fs::path> Cache::find(const Address& address, const std::string& commit,
                                    const File& file) const {
  if (!file.oid.empty()) {
    const fs::path content = blob(address, file.oid);
    if (size_of(content) == file.size) return content;
  }
  // A copy in place of a link (file systems without links), or what an offline listing named without a hash.
  const fs::path named = snapshot(address, commit, file.path);
  std::error_code error;
  if (fs::is_regular_file(fs::symlink_status(named, error)) && size_of(named) == file.size) return named;
  return std::nullopt;
}

std::shared_ptr<const Input> Cache::open(const Address& address, const std::string& commit,
                                         const File& file) const {
  const auto path = find(address, commit, file);
  if (!path) return nullptr;
  auto use = FileLock::use(*path);
  if (!use) return nullptr;  // pruned at this moment
  auto input = std::make_shared<BlobInput>(*path, file.size, std::move(*use));
  std::error_code error;
  if (fs::exists(repository(address) / ".moe" / file.oid, error) && !file.oid.empty())
    mark(address, file.oid);
  return input;
}

fs::path Cache::link(const Address& address, const std::string& commit, const File& file) const {
  fs::path link = snapshot(address, commit, file.path);
  const fs::path target = blob(address, file.oid).lexically_relative(link.parent_path());
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return link;
  make_folder(link.parent_path());
  const fs::path beside = link.string() + fmt::format(".tmp-{}", ::getpid());
  fs::remove(beside, error);
  fs::create_symlink(target, beside, error);
  if (!error) fs::rename(beside, link, error);
  if (error) {
    remove_quietly(beside);
    fail(link, "make the link", error);
  }
  synchronise_folder(link.parent_path());  // before a ref names the commit
  return link;
}

void Cache::mark(const Address& address, const std::string& oid) const {
  const fs::path marker = repository(address) / ".moe" / oid;
  make_folder(marker.parent_path());
  const int descriptor = ::open(marker.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(marker, "write", std::error_code(errno, std::generic_category()));
  ::futimens(descriptor, nullptr);  // now
  ::close(descriptor);
}

}  // namespace moe::hub
