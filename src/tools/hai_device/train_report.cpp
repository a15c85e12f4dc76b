// Writing the page of a training.
//
// Method: curves are inline SVG; pictures are decoded, made small and put in as BMP in base64, so that nothing of a
// picture's own file gets into the page but its pixels. Every text that comes from a file or a command line passes
// escaped(); the page has no script, and says so to the browser.
#include "tools/hai_device/train_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/html.h"
#include "base/utf8.h"
#include "data/image.h"

namespace hai::tools {
namespace {

constexpr size_t kMostPoints = 2000;
constexpr int kPictureSide = 112;
constexpr double kWidth = 640;
constexpr double kHeight = 220;
constexpr double kMargin = 50;

constexpr std::string_view kHead =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
    "'unsafe-inline'\">\n"
    "<style>\nbody{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1b1f24}\n"
    "table{border-collapse:collapse}td,th{padding:.15em 1em .15em 0;text-align:left;vertical-align:top}\n"
    "svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}.line{fill:none;stroke-width:1.6}\n"
    "figure{display:inline-block;width:9em;margin:.4em;vertical-align:top;font-size:12px;overflow-wrap:anywhere}\n"
    "figure img{width:100%;image-rendering:auto;border:3px solid #2a8a4a}figure.wrong img{border-color:#c0392b}\n"
    "</style>\n";

std::string escaped(std::string_view text) { return html_escaped(printable(text)); }

std::string base64(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8U | (i + k < bytes.size() ? bytes[i + k] : 0U);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[three >> (18 - 6 * k) & 63U] : '=';
  }
  return out;
}

// Means over the pixels that fall on each smaller one.
data::Image shrunk(const data::Image& image) {
  const int longest = std::max(image.width, image.height);
  data::Image out;
  out.width = std::max(1, std::min(image.width, image.width * kPictureSide / longest));
  out.height = std::max(1, std::min(image.height, image.height * kPictureSide / longest));
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int x0 = x * image.width / out.width;
      const int x1 = std::max(x0 + 1, (x + 1) * image.width / out.width);
      const int y0 = y * image.height / out.height;
      const int y1 = std::max(y0 + 1, (y + 1) * image.height / out.height);
      for (int channel = 0; channel < 3; ++channel) {
        int64_t sum = 0;
        for (int j = y0; j < y1; ++j)
          for (int i = x0; i < x1; ++i) sum += image.pixels[static_cast<size_t>((j * image.width + i) * 3 + channel)];
        out.pixels.push_back(static_cast<uint8_t>(sum / (int64_t{x1 - x0} * (y1 - y0))));
      }
    }
  }
  return out;
}

// BITMAPINFOHEADER of 24 bits, rows from the bottom, each filled up to four bytes.
std::vector<uint8_t> bitmap(const data::Image& image) {
  const auto row = static_cast<uint32_t>((image.width * 3 + 3) / 4 * 4);
  const uint32_t size = 54 + row * static_cast<uint32_t>(image.height);
  std::vector<uint8_t> out;
  const auto number = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i) & 255U));
  };
  number(0x4D42, 2);
  number(size, 4);
  number(0, 4);
  number(54, 4);
  number(40, 4);
  number(static_cast<uint32_t>(image.width), 4);
  number(static_cast<uint32_t>(image.height), 4);
  number(1, 2);
  number(24, 2);
  for (int i = 0; i < 6; ++i) number(0, 4);
  for (int y = image.height - 1; y >= 0; --y) {
    for (int x = 0; x < image.width; ++x)
      for (int channel = 2; channel >= 0; --channel)
        out.push_back(image.pixels[static_cast<size_t>((y * image.width + x) * 3 + channel)]);
    number(0, static_cast<int>(row) - image.width * 3);
  }
  return out;
}

using Points = std::vector<std::pair<double, double>>;

// One line over two axes, with the least and the largest number at each.
std::string curve(const Points& points, std::string_view title, std::string_view color) {
  if (points.empty()) return {};
  auto [low, high] = std::minmax_element(points.begin(), points.end(),
                                         [](const auto& a, const auto& b) { return a.second < b.second; });
  const double y0 = low->second;
  const double y1 = high->second > y0 ? high->second : y0 + 1;
  const double x0 = points.front().first;
  const double x1 = points.back().first > x0 ? points.back().first : x0 + 1;
  std::string line;
  for (const auto& [x, y] : points) {
    line += fmt::format("{:.1f},{:.1f} ", kMargin + (x - x0) / (x1 - x0) * (kWidth - 2 * kMargin),
                        kHeight - 25 - (y - y0) / (y1 - y0) * (kHeight - 50));
  }
  return fmt::format(
      "<h2>{}</h2>\n<svg viewBox=\"0 0 {} {}\" role=\"img\"><polyline class=\"line\" stroke=\"{}\" points=\"{}\"/>"
      "<text x=\"2\" y=\"29\">{:.4g}</text><text x=\"2\" y=\"{}\">{:.4g}</text><text x=\"{}\" y=\"{}\">{:.0f}</text>"
      "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.0f}</text></svg>\n",
      escaped(title), kWidth, kHeight, color, line, y1, kHeight - 25, y0, kMargin, kHeight - 5, x0, kWidth - kMargin,
      kHeight - 5, points.back().first);
}

std::string figure(const ExamplePrediction& example) {
  const auto image = data::read_image(example.path);
  if (!image || image->pixels.empty()) return {};
  return fmt::format(
      "<figure{}><img alt=\"\" src=\"data:image/bmp;base64,{}\"><figcaption>{} ({:.0f} %){}<br><small>{}</small>"
      "</figcaption></figure>\n",
      example.right ? "" : " class=\"wrong\"", base64(bitmap(shrunk(*image))), escaped(example.answer),
      100 * example.score, example.right ? std::string() : ", it is " + escaped(example.truth), escaped(example.path));
}

std::string epoch_table(const TrainReport& report) {
  std::string out =
      fmt::format("<h2>Epochs</h2>\n<table><tr><th>epoch</th><th>loss</th><th>{}</th><th>seconds</th></tr>\n",
                  escaped(report.metric_name));
  for (const EpochResult& epoch : *report.epochs) {
    out += fmt::format("<tr><td>{}{}</td><td>{:.4f}</td><td>{}</td><td>{:.1f}</td></tr>\n", epoch.epoch,
                       epoch.best ? " *" : "", epoch.loss,
                       epoch.metric ? fmt::format("{:.2f} %", *epoch.metric * 100) : "", epoch.seconds);
  }
  return out + "</table>\n<p>* the best so far</p>\n";
}

}  // namespace

void LossCurve::add(int64_t step, double loss) {
  if (seen_++ % every_ != 0 || !std::isfinite(loss)) return;
  points_.emplace_back(step, loss);
  if (points_.size() < kMostPoints) return;
  for (size_t i = 0; i < points_.size() / 2; ++i) points_[i] = points_[2 * i];
  points_.resize(points_.size() / 2);
  every_ *= 2;
}

std::string report_page(const TrainReport& report) {
  std::string out(kHead);
  out += "<title>" + escaped(report.title) + "</title></head><body>\n<h1>" + escaped(report.title) + "</h1>\n<table>\n";
  for (const auto& [what, value] : report.facts)
    out += "<tr><td>" + escaped(what) + "</td><td>" + escaped(value) + "</td></tr>\n";
  out += "</table>\n";
  Points losses, epoch_losses, metric;
  for (const auto& [step, loss] : report.losses->points()) losses.emplace_back(static_cast<double>(step), loss);
  for (const EpochResult& epoch : *report.epochs) {
    epoch_losses.emplace_back(static_cast<double>(epoch.epoch), epoch.loss);
    if (epoch.metric) metric.emplace_back(static_cast<double>(epoch.epoch), *epoch.metric * 100);
  }
  out += curve(losses, "Loss by step", "#2b6cb0") + curve(epoch_losses, "Loss by epoch (mean)", "#2b6cb0") +
         curve(metric, report.metric_name + " of what is held out, %", "#2a8a4a");
  if (!report.examples.empty()) {
    out += "<h2>Examples that were held out</h2>\n";
    for (const ExamplePrediction& example : report.examples) out += figure(example);
  }
  out += epoch_table(report);
  return out + "</body></html>\n";
}

}  // namespace hai::tools
