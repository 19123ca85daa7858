// SPDX-License-Identifier: MIT
#include "data/remote.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <utility>

#include "base/progress.h"
#include "data/config.h"
#include "hub/hub.h"
#include "hub/keeper.h"
#include "net/remote_file.h"

namespace moe::data {
namespace {

// Client and hub, kept alive by the files.
struct Connection {
  Connection(const hub::Settings& settings, net::ClientOptions options, const hub::Hub::Event& event,
             int64_t keep_bytes)
      : client(std::move(options)), hub(settings, client, event) {
    if (keep_bytes > 0) keeper.emplace(hub, client, keep_bytes, event);
  }
  net::Client client;
  hub::Hub hub;
  std::optional<hub::Keeper> keeper;
};

class HubFile : public DataFile {
 public:
  HubFile(std::shared_ptr<Connection> connection, const hub::Address& place, hub::File file)
      : DataFile(address_of(place, file).text(), file.size),
        connection_(std::move(connection)),
        address_(address_of(place, file)),
        file_(std::move(file)) {}

  // The hub's hash of the content; a cache that others filled may not say it, but holds the file.
  std::string identity() const override {
    return file_.oid.empty() ? sampled_identity(*open()) : fmt::format("{} {}", size(), file_.oid);
  }
  std::string old_identity() const override {
    return fmt::format("{} {} {}", address_.repo, file_.path,
                       file_.oid.empty() ? std::to_string(file_.size) : file_.oid);
  }
  std::shared_ptr<const Input> open() const override {
    const std::lock_guard lock(mutex_);
    if (!input_)
      input_ = connection_->keeper ? connection_->keeper->open(address_, file_)
                                   : connection_->hub.open(address_, file_);
    return input_;
  }
  std::shared_ptr<const Input> open_whole(Terminal& terminal) const override {
    Progress progress(terminal, "downloading " + name(), static_cast<uint64_t>(size()), "bytes");
    connection_->hub.download(address_, file_, [&](uint64_t bytes) { progress.add(bytes); });
    return connection_->hub.open(address_, file_);
  }

 private:
  static hub::Address address_of(const hub::Address& place, const hub::File& file) {
    hub::Address address = place;
    address.path = file.path;
    return address;
  }
  std::shared_ptr<Connection> connection_;
  hub::Address address_;
  hub::File file_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Input> input_;  // with a signed URL, good for many reads
};

class UrlFile : public DataFile {
 public:
  UrlFile(std::shared_ptr<Connection> connection, std::string name,
          std::shared_ptr<const net::RemoteFile> input)
      : DataFile(std::move(name), input->size()),
        connection_(std::move(connection)),
        input_(std::move(input)) {}

  // The server's ETag; a date of its last change names no bytes.
  std::string identity() const override {
    const std::string& validator = input_->validator();
    const bool etag = validator.starts_with('"') || validator.starts_with("W/");
    return etag ? fmt::format("{} {}", size(), validator) : sampled_identity(*input_, kRequests);
  }
  std::string old_identity() const override {
    return fmt::format("{} {} {}", std::filesystem::path(name()).filename().string(), size(),
                       input_->validator());
  }
  std::shared_ptr<const Input> open() const override { return input_; }

 private:
  static constexpr int64_t kRequests = 4;  // each block is one
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<const net::RemoteFile> input_;
};

class ConnectedRemote : public Remote {
 public:
  ConnectedRemote(Terminal& terminal, const hub::Settings& settings, net::ClientOptions options,
                  int64_t keep_bytes) {
    const auto print = [&terminal](const std::string& line) { terminal.line(line); };
    settings.apply(options);
    options.on_event = print;
    connection_ = std::make_shared<Connection>(settings, std::move(options), print, keep_bytes);
  }

  std::vector<DataFilePtr> files(const std::string& place) override {
    if (!hub::Address::is_hub(place))
      return {std::make_shared<UrlFile>(connection_, net::Url::parse(place).shown,
                                        net::open_url(connection_->client, place))};
    const auto address = hub::Address::parse(place);
    std::vector<DataFilePtr> files;
    for (hub::File& file : connection_->hub.list(address))
      files.push_back(std::make_shared<HubFile>(connection_, address, std::move(file)));
    return files;
  }

  NetworkCounts counts() const override {
    const net::Counters& c = connection_->client.counters();
    return {c.requests, c.bytes, c.retries, c.rate_limited, c.too_slow, c.waited()};
  }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace

bool is_remote(std::string_view place) {
  return hub::Address::is_hub(place) || place.starts_with("https://") || place.starts_with("http://");
}

std::shared_ptr<Remote> Remote::open(Terminal& terminal, const DataConfig& config) {
  net::ClientOptions options = net::ClientOptions::from_environment();
  options.retry.patience = 60 * config.network_patience_minutes;
  options.retry.least_rate = 1024 * config.network_least_kb_per_second;
  return open(terminal, hub::Settings::from_environment(), std::move(options),
              static_cast<int64_t>(config.hub_cache_gb * 1e9));
}

std::shared_ptr<Remote> Remote::open(Terminal& terminal, const hub::Settings& settings,
                                     net::ClientOptions options, int64_t keep_bytes) {
  return std::make_shared<ConnectedRemote>(terminal, settings, std::move(options), keep_bytes);
}

}  // namespace moe::data
