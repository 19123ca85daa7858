// SPDX-License-Identifier: MIT
// Keeping the cache within a size.
#include <algorithm>
#include <string>

#include "hub/cache.h"
#include "hub/file_lock.h"

namespace moe::hub {
namespace {

namespace fs = std::filesystem;

struct Blob {
  fs::path marker, content, lock;
  fs::file_time_type last_use;
  int64_t size = 0;  // of the content and of what of it is half fetched
};

int64_t size_on_disk(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(path, error)))
    return 0;  // a link into a store that Python shares
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

fs::path incomplete(const fs::path& content) {
  return content.string() + ".incomplete";
}

// Those that we fetched, by the markers beside them.
std::vector<Blob> own_blobs(const fs::path& folder) {
  std::vector<Blob> blobs;
  std::error_code error;
  for (fs::directory_iterator repository(folder, error), end; !error && repository != end;
       repository.increment(error)) {
    std::error_code none;
    for (fs::directory_iterator marker(repository->path() / ".moe", none); !none && marker != end;
         marker.increment(none)) {
      const std::string oid = marker->path().filename().string();
      if (!is_oid(oid)) continue;
      Blob blob{.marker = marker->path(),
                .content = repository->path() / "blobs" / oid,
                .lock = folder / ".locks" / repository->path().filename() / (oid + ".lock"),
                .last_use = fs::last_write_time(marker->path(), none)};
      blob.size =
          size_on_disk(blob.content);  // first: a file that is renamed in between must not count twice
      blob.size += size_on_disk(incomplete(blob.content));
      blobs.push_back(std::move(blob));
    }
  }
  return blobs;
}

// A link without its blob would make Python call the cache corrupt.
void remove_links(const fs::path& repository, const std::string& oid) {
  std::error_code error;
  std::vector<fs::path> links;
  for (fs::recursive_directory_iterator entry(repository / "snapshots", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code no_link;
    if (fs::read_symlink(entry->path(), no_link).filename() == oid) links.push_back(entry->path());
  }
  for (const fs::path& link : links) fs::remove(link, error);
}

}  // namespace

int64_t Cache::fetched_bytes() const {
  int64_t total = 0;
  for (const Blob& blob : own_blobs(folder_)) total += blob.size;
  return total;
}

int64_t Cache::missing_bytes(const Address& address, const File& file) const {
  return file.size - size_on_disk(incomplete(blob(address, file.oid)));
}

int64_t Cache::prune(int64_t limit) const {
  std::vector<Blob> blobs = own_blobs(folder_);
  std::sort(blobs.begin(), blobs.end(), [](const Blob& a, const Blob& b) { return a.last_use < b.last_use; });
  int64_t total = 0, freed = 0;
  for (const Blob& blob : blobs) total += blob.size;
  for (const Blob& blob : blobs) {
    if (total - freed <= limit) break;
    const auto lock = FileLock::try_lock(blob.lock);
    if (!lock) continue;
    std::error_code none;
    const auto use = FileLock::use_alone(blob.content);
    if (!use && fs::exists(blob.content, none)) continue;
    remove_links(blob.content.parent_path().parent_path(), blob.content.filename().string());
    std::error_code error;
    for (const fs::path& path : {blob.content, incomplete(blob.content), blob.marker})
      fs::remove(path, error);
    freed += blob.size;
  }
  return freed;
}

}  // namespace moe::hub
