// SPDX-License-Identifier: MIT
#include "report/picture.h"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"

namespace moe::report {
namespace {

struct Colour {
  double red, green, blue;
};
constexpr Colour of(int rgb) {
  return {(rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0};
}

struct Theme {
  Colour ground, ink, soft, line;
  std::array<Colour, 6> runs;
};
constexpr Theme kLight = {
    of(0xffffff),
    of(0x1b1f24),
    of(0x5c6670),
    of(0xd5dae0),
    {of(0x2563c4), of(0xd1495b), of(0x2a8a52), of(0x8a5cc2), of(0xb3700e), of(0x0f8b9d)}};
constexpr Theme kDark = {
    of(0x14171b),
    of(0xe6e9ec),
    of(0x9aa5b1),
    of(0x353c45),
    {of(0x6ea8fe), of(0xff8fa0), of(0x67c587), of(0xc3a6ff), of(0xf0b45a), of(0x5fd0e0)}};

struct Box {
  double x, y, width, height;
};

class Picture {
 public:
  Picture(int width, int height, const Theme& theme)
      : theme_(theme),
        surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height)),
        cairo_(cairo_create(surface_.get())) {
    set(theme_.ground);
    cairo_paint(cairo_.get());
    cairo_select_font_face(cairo_.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  }

  enum class Align { left, centre, right };
  void text(double x, double y, const std::string& words, double size, Colour colour,
            Align align = Align::left) {
    cairo_set_font_size(cairo_.get(), size);
    cairo_text_extents_t extents;
    cairo_text_extents(cairo_.get(), words.c_str(), &extents);
    const double shift = align == Align::left     ? 0
                         : align == Align::centre ? extents.x_advance / 2
                                                  : extents.x_advance;
    set(colour);
    cairo_move_to(cairo_.get(), x - shift, y);
    cairo_show_text(cairo_.get(), words.c_str());
  }

  void rectangle(const Box& box, Colour colour) {
    set(colour);
    cairo_rectangle(cairo_.get(), box.x, box.y, box.width, box.height);
    cairo_fill(cairo_.get());
  }

  void line(const std::vector<std::pair<double, double>>& points, Colour colour, double width,
            bool dashed = false) {
    set(colour);
    constexpr double kDash[] = {8, 5};
    cairo_set_dash(cairo_.get(), kDash, dashed ? 2 : 0, 0);
    cairo_set_line_width(cairo_.get(), width);
    cairo_new_path(cairo_.get());
    for (const auto& [x, y] : points) cairo_line_to(cairo_.get(), x, y);
    cairo_stroke(cairo_.get());
  }

  std::string png() {
    std::string bytes;
    const auto take = [](void* out, const unsigned char* data, unsigned size) {
      static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(data), size);
      return CAIRO_STATUS_SUCCESS;
    };
    CHECK(cairo_surface_write_to_png_stream(surface_.get(), take, &bytes) == CAIRO_STATUS_SUCCESS, "cairo");
    return bytes;
  }
  const Theme& theme() const { return theme_; }

 private:
  void set(Colour colour) { cairo_set_source_rgb(cairo_.get(), colour.red, colour.green, colour.blue); }

  struct Free {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* cairo) const { cairo_destroy(cairo); }
  };
  const Theme& theme_;
  std::unique_ptr<cairo_surface_t, Free> surface_;
  std::unique_ptr<cairo_t, Free> cairo_;
};

// 1, 2 or 5 times a power of ten: about `count` of them in `range`.
double nice_step(double range, int count) {
  const double raw = range / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power) return factor * power;
  return 10 * power;
}

std::string label(double value) {
  return std::abs(value) >= 10000 ? format_count(value) : fmt::format("{:.4g}", value);
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void take(double value) { low = std::min(low, value), high = std::max(high, value); }
  double share(double value) const { return high > low ? (value - low) / (high - low) : 0.5; }
};

void draw_axes(Picture& picture, const Box& plot, const Range& x, const Range& y) {
  const double step = nice_step(std::max(y.high - y.low, 1e-12), 5);
  for (double value = std::ceil(y.low / step) * step; value <= y.high; value += step) {
    const double at = plot.y + plot.height * (1 - y.share(value));
    picture.line({{plot.x, at}, {plot.x + plot.width, at}}, picture.theme().line, 1);
    picture.text(plot.x - 8, at + 5, label(std::abs(value) < 1e-9 * step ? 0 : value), 14,
                 picture.theme().soft, Picture::Align::right);
  }
  const double across = std::max(1.0, nice_step(std::max(x.high - x.low, 1e-12), 6));
  for (double value = std::ceil(x.low / across) * across; value <= x.high; value += across)
    picture.text(plot.x + plot.width * x.share(value), plot.y + plot.height + 20, label(value), 14,
                 picture.theme().soft, Picture::Align::centre);
}

// Curves of the names over the runs; the second name is dashed.
void draw_chart(Picture& picture, const Box& box, const std::string& title,
                const std::vector<std::string>& names, const std::vector<RunView>& runs) {
  picture.text(box.x + 4, box.y + 18, title, 17, picture.theme().ink);
  const Box plot{box.x + 70, box.y + 30, box.width - 85, box.height - 62};
  Range x, y;
  for (const RunView& run : runs)
    for (const std::string& name : names)
      if (const auto found = run.series().find(name); found != run.series().end())
        for (const auto& point : found->second.points())
          if (point.count > 0) x.take(static_cast<double>(point.step)), y.take(point.mean());
  if (y.low > y.high) {
    picture.text(plot.x, plot.y + plot.height / 2, "no values", 15, picture.theme().soft);
    return;
  }
  draw_axes(picture, plot, x, y);
  for (size_t r = 0; r < runs.size(); ++r)
    for (size_t n = 0; n < names.size(); ++n) {
      const auto found = runs[r].series().find(names[n]);
      if (found == runs[r].series().end()) continue;
      std::vector<std::pair<double, double>> points;
      for (const auto& point : found->second.points())
        if (point.count > 0)
          points.emplace_back(plot.x + plot.width * x.share(static_cast<double>(point.step)),
                              plot.y + plot.height * (1 - y.share(point.mean())));
      picture.line(points, picture.theme().runs[r % 6], 2, n > 0);
    }
}

Colour heat(double share) {
  constexpr std::array<Colour, 5> kStops = {of(0x30126e), of(0x2a5596), of(0x21918c), of(0x78c85a),
                                            of(0xfde725)};
  const double at = std::clamp(share, 0.0, 1.0) * 4;
  const auto i = std::min<size_t>(static_cast<size_t>(at), 3);
  const double f = at - static_cast<double>(i);
  const auto mix = [f](double one, double other) { return one + f * (other - one); };
  return {mix(kStops[i].red, kStops[i + 1].red), mix(kStops[i].green, kStops[i + 1].green),
          mix(kStops[i].blue, kStops[i + 1].blue)};
}

void draw_load(Picture& picture, const Box& box, const RunView& run) {
  const Map& map = run.load();
  if (map.slices().empty()) return;
  const Map::Slice& slice = map.slices().back();
  const double top = std::clamp(static_cast<double>(map.columns()), 2.0, 4.0);
  picture.text(
      box.x + 4, box.y + 18,
      fmt::format(
          "load of each expert over the mean at step {}: expert across, layer down; dark 0, bright {:g}",
          slice.step, top),
      17, picture.theme().ink);
  const Box plot{box.x + 70, box.y + 30, box.width - 85, box.height - 40};
  const double width = plot.width / static_cast<double>(map.columns()),
               height = plot.height / static_cast<double>(map.rows());
  for (size_t r = 0; r < map.rows(); ++r)
    for (size_t c = 0; c < map.columns(); ++c)
      picture.rectangle({plot.x + static_cast<double>(c) * width, plot.y + static_cast<double>(r) * height,
                         width + 0.5, height + 0.5},
                        heat(slice.sum[r * map.columns() + c] / static_cast<double>(slice.count) / top));
}

}  // namespace

void write_picture(const std::filesystem::path& path, const std::vector<RunView>& runs, bool dark) {
  Picture picture(1600, 1000, dark ? kDark : kLight);
  double x = 20;
  for (size_t r = 0; r < runs.size(); ++r) {
    picture.rectangle({x, 14, 14, 14}, picture.theme().runs[r % 6]);
    picture.text(x + 20, 27, runs[r].name(), 16, picture.theme().ink);
    x += 40 + 9.5 * static_cast<double>(runs[r].name().size());
  }
  draw_chart(picture, {10, 45, 780, 310}, "loss, training and validation (dashed)",
             {"loss", "validation_loss"}, runs);
  draw_chart(picture, {810, 45, 780, 310}, "tokens per second", {"tokens_per_second"}, runs);
  draw_chart(picture, {10, 365, 780, 310}, "gradient norm", {"gradient_norm"}, runs);
  draw_chart(picture, {810, 365, 780, 310}, "entropy of the experts' load (1 is even)",
             {"expert_load_entropy"}, runs);
  draw_load(picture, {10, 690, 1580, 300}, runs.front());
  write_file_atomically(path, picture.png());
}

}  // namespace moe::report
