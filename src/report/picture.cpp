// SPDX-License-Identifier: MIT
#include "report/picture.h"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/format.h"
#include "report/facts.h"

namespace moe::report {
namespace {

struct Colour {
  double red, green, blue;
};
constexpr Colour of(int rgb) {
  return {(rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0};
}

struct Theme {
  Colour ground, ink, soft, line, card;
  std::array<Colour, 6> runs;
  std::array<Colour, 5> sides;  // from too little over even to too much
};
// The colours of runs are those of the page: the palette of Okabe and Ito, told apart with any colour vision.
constexpr Theme kLight = {
    of(0xffffff),
    of(0x1b1f24),
    of(0x5c6670),
    of(0xd5dae0),
    of(0xf6f7f9),
    {of(0x0072b2), of(0xd55e00), of(0x009e73), of(0xb0568c), of(0xb37d00), of(0x3a9bd0)},
    {of(0x08306b), of(0x4292c6), of(0xf0f0ee), of(0xf1a340), of(0x8c2d04)}};
constexpr Theme kDark = {of(0x14171b),
                         of(0xe6e9ec),
                         of(0x9aa5b1),
                         of(0x353c45),
                         of(0x1d2127),
                         {of(0x56b4e9), of(0xff9a4d), of(0x2fc79a), of(0xe39cc6), of(0xf0e442), of(0x9db8ff)},
                         {of(0x78beff), of(0x286eaa), of(0x262b32), of(0xc86e14), of(0xffbe6e)}};

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

  double width_of(const std::string& words, double size) {
    cairo_set_font_size(cairo_.get(), size);
    cairo_text_extents_t extents;
    cairo_text_extents(cairo_.get(), words.c_str(), &extents);
    return extents.x_advance;
  }
  // At most `room` wide: the end of longer words is left out.
  std::string fitting(std::string words, double size, double room) {
    if (width_of(words, size) <= room) return words;
    const auto continues = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; };
    while (!words.empty() && width_of(words + "...", size) > room) {
      while (words.size() > 1 && continues(words.back())) words.pop_back();
      words.pop_back();
    }
    return words + "...";
  }

  enum class Align { left, centre, right };
  void text(double x, double y, const std::string& words, double size, Colour colour,
            Align align = Align::left) {
    const double width = width_of(words, size);
    const double shift = align == Align::left ? 0 : align == Align::centre ? width / 2 : width;
    set(colour);
    cairo_move_to(cairo_.get(), x - shift, y);
    cairo_show_text(cairo_.get(), words.c_str());
  }

  void rectangle(const Box& box, Colour colour) {
    set(colour);
    cairo_rectangle(cairo_.get(), box.x, box.y, box.width, box.height);
    cairo_fill(cairo_.get());
  }

  // Upwards, its middle at the place.
  void text_up(double x, double y, const std::string& words, double size, Colour colour) {
    cairo_save(cairo_.get());
    cairo_translate(cairo_.get(), x, y);
    cairo_rotate(cairo_.get(), -std::numbers::pi / 2);
    text(0, 0, words, size, colour, Align::centre);
    cairo_restore(cairo_.get());
  }

  void line(const std::vector<std::pair<double, double>>& points, Colour colour, double width,
            bool dashed = false, double opacity = 1) {
    cairo_set_source_rgba(cairo_.get(), colour.red, colour.green, colour.blue, opacity);
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
  const double step = nice_step(std::max(y.high - y.low, 1e-12), 7);
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

struct Chart {
  std::string title, unit;
  std::vector<std::string> names;         // the second is dashed
  bool from_zero = false, exact = false;  // exact: what is set, not measured, is not smoothed
};

struct Curve {
  std::vector<CurvePoint> points, raw;  // raw: without smoothing, where that makes a difference
  Colour colour;
  bool dashed = false;
};

std::vector<Curve> curves_of(const Chart& chart, const std::vector<RunView>& runs, double smooth,
                             const Theme& theme) {
  std::vector<Curve> curves;
  for (size_t r = 0; r < runs.size(); ++r)
    for (size_t n = 0; n < chart.names.size(); ++n) {
      const auto found = runs[r].series().find(chart.names[n]);
      if (found == runs[r].series().end()) continue;
      Curve curve{.points = smoothed(found->second, chart.exact ? 0 : smooth),
                  .raw = {},
                  .colour = theme.runs[r % 6]};
      if (smooth > 0) curve.raw = smoothed(found->second, 0);
      curve.dashed = n > 0;
      if (!curve.points.empty()) curves.push_back(std::move(curve));
    }
  return curves;
}

// Where a curve has its values.
Range across_of(const std::vector<Curve>& curves) {
  Range x;
  for (const Curve& curve : curves)
    for (const CurvePoint& point : curve.points) x.take(static_cast<double>(point.step));
  return x;
}

void draw_chart(Picture& picture, const Box& box, const Chart& chart, const std::vector<Curve>& curves) {
  const Theme& theme = picture.theme();
  picture.text(box.x + 74, box.y + 18, chart.title, 18, theme.ink);
  const Box plot{box.x + 74, box.y + 32, box.width - 90, box.height - 82};
  picture.text_up(box.x + 14, plot.y + plot.height / 2, chart.unit, 14, theme.soft);
  picture.text(plot.x + plot.width / 2, plot.y + plot.height + 41, "step", 14, theme.soft,
               Picture::Align::centre);
  const Range x = across_of(curves);
  Range y;
  for (const Curve& curve : curves)
    for (const auto* points : {&curve.points, &curve.raw})
      for (const CurvePoint& point : *points) y.take(point.value);
  if (chart.from_zero) y.take(0);
  draw_axes(picture, plot, x, y);
  const auto draw = [&](const std::vector<CurvePoint>& points, const Curve& curve, double opacity) {
    std::vector<std::pair<double, double>> places;
    places.reserve(points.size());
    for (const CurvePoint& point : points)
      places.emplace_back(plot.x + plot.width * x.share(static_cast<double>(point.step)),
                          plot.y + plot.height * (1 - y.share(point.value)));
    picture.line(places, curve.colour, opacity < 1 ? 1 : 2.2, curve.dashed, opacity);
  };
  for (const Curve& curve : curves) draw(curve.raw, curve, 0.3);
  for (const Curve& curve : curves) draw(curve.points, curve, 1);
}

// The first four that have values.
void draw_charts(Picture& picture, double y, const std::vector<RunView>& runs, double smooth) {
  const std::vector<Chart> charts = {
      {"Loss (validation dashed)", "nats per token", {"loss", "validation_loss"}},
      {"Speed", "tokens per second", {"tokens_per_second"}, true},
      {"Gradient norm, before clipping", "L2 norm", {"gradient_norm"}},
      {"How even the experts' load is", "entropy, 1 is even", {"expert_load_entropy"}},
      {"Bits per byte of held-out text", "bits", {"validation_bits_per_byte"}},
      {"Learning rate", "", {"learning_rate"}, true, true}};
  size_t drawn = 0;
  for (const Chart& chart : charts) {
    const auto curves = curves_of(chart, runs, smooth, picture.theme());
    if (curves.empty() || drawn == 4) continue;
    const Box box{drawn % 2 == 0 ? 10.0 : 810.0, y + (drawn < 2 ? 0 : 330), 780, 320};
    draw_chart(picture, box, chart, curves);
    ++drawn;
  }
  if (drawn == 0)
    picture.text(800, y + 300, "waiting for the first step", 24, picture.theme().soft,
                 Picture::Align::centre);
}

// Twice the mean is as far from it as half; below 1/4 and above 4 all is alike.
Colour colour_of_load(double load, const Theme& theme) {
  const double at = std::clamp(load > 0 ? std::log2(load) + 2 : 0, 0.0, 4.0);
  const auto i = std::min<size_t>(static_cast<size_t>(at), 3);
  const double f = at - static_cast<double>(i);
  const Colour &one = theme.sides[i], &other = theme.sides[i + 1];
  return {std::lerp(one.red, other.red, f), std::lerp(one.green, other.green, f),
          std::lerp(one.blue, other.blue, f)};
}

void draw_load_scale(Picture& picture, const Box& plot) {
  const double x = plot.x + plot.width + 12;
  for (int i = 0; i < 60; ++i)
    picture.rectangle({x, plot.y + plot.height * i / 60, 12, plot.height / 60 + 0.5},
                      colour_of_load(std::exp2(2 - 4 * i / 59.0), picture.theme()));
  const std::array<const char*, 5> marks = {">= 4", "2", "1", "1/2", "<= 1/4"};
  for (size_t i = 0; i < marks.size(); ++i)
    picture.text(x + 18, plot.y + 12 + (plot.height - 14) * static_cast<double>(i) / 4, marks[i], 14,
                 picture.theme().soft);
}

void draw_load(Picture& picture, const Box& box, const RunView& run, bool of_several) {
  const Map& map = run.load();
  const Theme& theme = picture.theme();
  const Map::Slice& slice = map.slices().back();
  picture.text(box.x + 74, box.y + 18,
               fmt::format("Load of each expert over its layer's mean at step {}{}", slice.step,
                           of_several ? ", " + run.name() : ""),
               18, theme.ink);
  const Box plot{box.x + 74, box.y + 32, box.width - 164, box.height - 78};
  const double width = plot.width / static_cast<double>(map.columns()),
               height = plot.height / static_cast<double>(map.rows());
  for (size_t r = 0; r < map.rows(); ++r)
    for (size_t c = 0; c < map.columns(); ++c)
      picture.rectangle(
          {plot.x + static_cast<double>(c) * width, plot.y + static_cast<double>(r) * height,
           width > 8 ? width - 1 : width + 0.5, height > 8 ? height - 1 : height + 0.5},
          colour_of_load(slice.sum[r * map.columns() + c] / static_cast<double>(slice.count), theme));
  const auto every = [](size_t count, size_t most) { return (count + most - 1) / most; };
  for (size_t r = 0; r < map.rows(); r += every(map.rows(), 8))
    picture.text(plot.x - 8, plot.y + (static_cast<double>(r) + 0.5) * height + 5, fmt::format("{}", r), 14,
                 theme.soft, Picture::Align::right);
  for (size_t c = 0; c < map.columns(); c += every(map.columns(), 16))
    picture.text(plot.x + (static_cast<double>(c) + 0.5) * width, plot.y + plot.height + 19,
                 fmt::format("{}", c), 14, theme.soft, Picture::Align::centre);
  picture.text(plot.x + plot.width / 2, plot.y + plot.height + 39, "expert", 14, theme.soft,
               Picture::Align::centre);
  picture.text_up(box.x + 14, plot.y + plot.height / 2, "layer with a router", 14, theme.soft);
  draw_load_scale(picture, plot);
}

constexpr int kWidth = 1600, kFactHeight = 24;

// A card for each run: its name and its figures. Returns where they end.
double draw_cards(Picture& picture, double y, const std::vector<RunView>& runs) {
  const Theme& theme = picture.theme();
  const size_t columns = std::min<size_t>(runs.size(), 3);
  const double width = (kWidth - 20.0) / static_cast<double>(columns);
  size_t most = 0;
  for (const RunView& run : runs) most = std::max(most, facts(run).size());
  const double height = 44 + kFactHeight * static_cast<double>(most);
  for (size_t r = 0; r < runs.size(); ++r) {
    const size_t line_of_cards = r / columns;
    const Box box{10 + width * static_cast<double>(r % columns),
                  y + height * static_cast<double>(line_of_cards), width - 10, height - 10};
    picture.rectangle(box, theme.card);
    picture.rectangle({box.x, box.y, 6, box.height}, theme.runs[r % 6]);
    picture.text(box.x + 18, box.y + 24, picture.fitting(runs[r].name(), 18, box.width - 30), 18, theme.ink);
    double line = box.y + 26;
    for (const Fact& fact : facts(runs[r])) {
      line += kFactHeight;
      const double labelled = picture.width_of(fact.label, 15);
      picture.text(box.x + 18, line, fact.label, 15, theme.soft);
      picture.text(box.x + box.width - 12, line, picture.fitting(fact.value, 15, box.width - 50 - labelled),
                   15, theme.ink, Picture::Align::right);
    }
  }
  const size_t lines_of_cards = (runs.size() + columns - 1) / columns;
  return y + height * static_cast<double>(lines_of_cards);
}

// Of one run: its figures side by side, in lines as wide as the picture.
double draw_tiles(Picture& picture, double y, const RunView& run) {
  const Theme& theme = picture.theme();
  double x = 10;
  for (const Fact& fact : facts(run)) {
    const double width = std::max(picture.width_of(fact.value, 21), picture.width_of(fact.label, 13)) + 28;
    if (x + width > kWidth - 10) x = 10, y += 68;
    picture.rectangle({x, y, width, 60}, theme.card);
    picture.text(x + 14, y + 27, fact.value, 21, theme.ink);
    picture.text(x + 14, y + 48, fact.label, 13, theme.soft);
    x += width + 8;
  }
  return y + 76;
}

// What stands above the charts. Returns where it ends.
double draw_head(Picture& picture, const std::vector<RunView>& runs) {
  if (runs.size() > 1) return draw_cards(picture, 12, runs);
  const RunView& run = runs.front();
  picture.text(12, 34, run.name(), 26, picture.theme().ink);
  picture.text(26 + picture.width_of(run.name(), 26), 34, run.status().text, 16, picture.theme().soft);
  return draw_tiles(picture, 52, run);
}

}  // namespace

void write_picture(const std::filesystem::path& path, const std::vector<RunView>& runs, bool dark,
                   double smooth) {
  CHECK(!runs.empty());
  const Theme& theme = dark ? kDark : kLight;
  Picture measure(kWidth, 1, theme);
  const double charts = draw_head(measure, runs) + 8;
  const bool load = !runs.front().load().slices().empty();
  const double end = charts + 660 + (load ? 290 : 0);
  Picture picture(kWidth, static_cast<int>(std::ceil(end)), theme);
  draw_head(picture, runs);
  draw_charts(picture, charts, runs, smooth);
  if (load) draw_load(picture, {10, charts + 665, 1580, 280}, runs.front(), runs.size() > 1);
  write_file_atomically(path, picture.png());
}

}  // namespace moe::report
