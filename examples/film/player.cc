// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/player.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parley/media/colour.h"
#include "parley/media/pcm.h"
#include "parley/os/deadline.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wundef"
#include <SDL2/SDL.h>
#pragma GCC diagnostic pop

namespace parley::film {
namespace {

constexpr int64_t kMaxWaitNs = 1000000000;
constexpr uint32_t kMaxQueuedSeconds = 4;

struct Closer {
  void operator()(SDL_Window* window) const { SDL_DestroyWindow(window); }
  void operator()(SDL_Renderer* renderer) const { SDL_DestroyRenderer(renderer); }
  void operator()(SDL_Texture* texture) const { SDL_DestroyTexture(texture); }
};

// What the window shows: 8-bit 4:2:0 of planar Y'CbCr, by taking the nearest sample, and R, G, B of
// everything else. For the eye only.
bool IsPlanarYuv(const VideoFormat& format) {
  const PixelFormatInfo& info = InfoOf(format.pixel_format);
  const uint8_t matrix = ResolveColour(format).matrix;
  return (info.model == ColourModel::kGray || info.model == ColourModel::kYuv) &&
         info.plane_count >= std::min<uint8_t>(3, info.component_count) && !info.is_float &&
         !info.has_alpha && matrix != kMatrixIdentity && matrix != 8;
}

class I420 {
 public:
  explicit I420(const Picture& picture)
      : width_(picture.format.width),
        height_(picture.format.height),
        luma_(size_t{width_} * height_),
        u_(chroma_size(), 128),
        v_(chroma_size(), 128) {
    Fill(picture, 0, 0, luma_);
    if (InfoOf(picture.format.pixel_format).component_count < 3) return;
    Fill(picture, 1, 1, u_);
    Fill(picture, 2, 1, v_);
  }
  void Upload(SDL_Texture* texture) const {
    const int chroma_pitch = static_cast<int>(chroma_width());
    SDL_UpdateYUVTexture(texture, nullptr, luma_.data(), static_cast<int>(width_), u_.data(),
                         chroma_pitch, v_.data(), chroma_pitch);
  }

 private:
  uint32_t chroma_width() const { return (width_ + 1) / 2; }
  uint32_t chroma_height() const { return (height_ + 1) / 2; }
  size_t chroma_size() const { return size_t{chroma_width()} * chroma_height(); }

  static void Fill(const Picture& picture, size_t component, uint32_t halvings,
                   std::vector<uint8_t>& out) {
    const PixelReader reader(picture.format);
    const PixelComponent& from = InfoOf(picture.format.pixel_format).components[component];
    const uint32_t step = uint32_t{1} << halvings;
    size_t at = 0;
    for (uint32_t y = 0; y < picture.format.height; y += step) {
      for (uint32_t x = 0; x < picture.format.width; x += step) {
        const uint32_t raw = reader.Raw(component, picture.planes[from.plane],
                                        picture.strides_bytes[from.plane], x, y);
        out[at++] = static_cast<uint8_t>(from.depth_bits > 8 ? raw >> (from.depth_bits - 8) : raw);
      }
    }
  }

  uint32_t width_;
  uint32_t height_;
  std::vector<uint8_t> luma_;
  std::vector<uint8_t> u_;
  std::vector<uint8_t> v_;
};

void UploadRgb(const Picture& picture, SDL_Texture* texture) {
  const PixelReader reader(picture.format);
  std::vector<uint8_t> pixels(size_t{picture.format.width} * picture.format.height * 3);
  size_t at = 0;
  const auto byte = [](double unit) { return static_cast<uint8_t>(std::lround(unit * 255)); };
  for (uint32_t y = 0; y < picture.format.height; ++y) {
    for (uint32_t x = 0; x < picture.format.width; ++x) {
      const Rgba pixel = reader.At(picture.planes, picture.strides_bytes, x, y);
      pixels[at++] = byte(pixel.red);
      pixels[at++] = byte(pixel.green);
      pixels[at++] = byte(pixel.blue);
    }
  }
  SDL_UpdateTexture(texture, nullptr, pixels.data(), static_cast<int>(picture.format.width * 3));
}

SDL_YUV_CONVERSION_MODE ConversionOf(const VideoFormat& format) {
  const ResolvedColour colour = ResolveColour(format);
  if (colour.full_range) return SDL_YUV_CONVERSION_JPEG;
  return colour.matrix == kMatrixBt709 ? SDL_YUV_CONVERSION_BT709 : SDL_YUV_CONVERSION_BT601;
}

// Clockwise, to the nearest quarter, as SDL turns.
double ClockwiseDegrees(const DisplayMatrix& m) {
  if (m == DisplayMatrix{}) return 0;
  const double degrees = std::atan2(double{1} * m[1], double{1} * m[0]) * 180 / std::acos(-1.0);
  return std::round(degrees / 90) * 90;
}

SDL_AudioFormat ToSdl(SampleFormat format) {
  switch (format) {
    case SampleFormat::kU8:
      return AUDIO_U8;
    case SampleFormat::kS16:
      return AUDIO_S16LSB;
    case SampleFormat::kS32:
      return AUDIO_S32LSB;
    case SampleFormat::kF32:
    case SampleFormat::kS24In32:  // of these Samples makes floats
    case SampleFormat::kS64:
    case SampleFormat::kF64:
      return AUDIO_F32LSB;
  }
  return AUDIO_S16LSB;
}

// Of the formats that SDL does not have.
float FloatOf(SampleFormat format, const std::byte* from) {
  if (format == SampleFormat::kF64) {
    double sample;
    std::memcpy(&sample, from, sizeof(sample));
    return std::isnan(sample) ? 0.0f : static_cast<float>(std::clamp(sample, -1.0, 1.0));
  }
  if (format == SampleFormat::kS64) {
    int64_t sample;
    std::memcpy(&sample, from, sizeof(sample));
    return static_cast<float>(std::ldexp(static_cast<double>(sample), -63));
  }
  int32_t sample;
  std::memcpy(&sample, from, sizeof(sample));
  return static_cast<float>(std::ldexp(static_cast<double>(sample), -23));
}

class SdlPlayer final : public Player {
 public:
  explicit SdlPlayer(std::string title) : title_(std::move(title)) {}
  ~SdlPlayer() override;
  absl::Status OnPicture(const Picture& picture) override;
  absl::Status OnAudio(const AudioBlock& audio) override;
  absl::Status Hold(absl::Duration time) override;
  void SetNote(const std::string& note) override;

 private:
  absl::Status Show(const VideoFormat& format);
  // Answers the window system. False: the window was closed.
  bool ServeWindow();
  void Draw();
  absl::Status WaitUntil(int64_t pts_ns);
  std::string Title() const { return note_.empty() ? title_ : absl::StrCat(title_, ": ", note_); }

  const std::string title_;
  std::string note_;
  bool closed_ = false;
  bool has_picture_ = false;  // in texture_
  std::unique_ptr<SDL_Window, Closer> window_;
  std::unique_ptr<SDL_Renderer, Closer> renderer_;
  std::unique_ptr<SDL_Texture, Closer> texture_;
  VideoFormat format_;
  bool planar_ = true;
  double clockwise_ = 0;
  SDL_AudioDeviceID device_ = 0;
  AudioFormat audio_format_;
  // Interleaved, in a format that SDL has.
  void TakeSamples(const AudioBlock& audio);

  std::vector<std::byte> samples_;
  std::optional<int64_t> start_ns_;  // the monotonic time of pts 0
};

SdlPlayer::~SdlPlayer() {
  if (device_ != 0) {
    // The end of the sound, a second of it at most.
    for (int i = 0; i < 50 && SDL_GetQueuedAudioSize(device_) > 0; ++i) SDL_Delay(20);
    SDL_CloseAudioDevice(device_);
  }
  texture_.reset();
  renderer_.reset();
  window_.reset();
  SDL_Quit();
}

bool SdlPlayer::ServeWindow() {
  SDL_Event event;
  while (SDL_PollEvent(&event) == 1) {
    const bool escape = event.type == SDL_KEYDOWN && event.key.keysym.sym == SDLK_ESCAPE;
    if (event.type == SDL_QUIT || escape) closed_ = true;
    // What was covered, or has another size, is drawn again.
    if (event.type == SDL_WINDOWEVENT) Draw();
  }
  return !closed_;
}

absl::Status SdlPlayer::Hold(absl::Duration time) {
  const Deadline deadline = Deadline::After(time);
  while (ServeWindow()) {
    if (deadline.Expired()) return absl::OkStatus();
    SDL_Delay(10);
  }
  return absl::CancelledError("the window was closed");
}

void SdlPlayer::SetNote(const std::string& note) {
  note_ = note;
  if (window_ != nullptr) SDL_SetWindowTitle(window_.get(), Title().c_str());
}

void SdlPlayer::Draw() {
  if (!has_picture_) return;
  const int width = static_cast<int>(format_.width);
  const int height = static_cast<int>(format_.height);
  const bool swaps = std::lround(clockwise_ / 90) % 2 != 0;
  // Turned about its middle, which lies in the middle of what is shown.
  const SDL_Rect where = {swaps ? (height - width) / 2 : 0, swaps ? (width - height) / 2 : 0, width,
                          height};
  SDL_RenderClear(renderer_.get());
  SDL_RenderCopyEx(renderer_.get(), texture_.get(), nullptr, &where, clockwise_, nullptr,
                   SDL_FLIP_NONE);
  SDL_RenderPresent(renderer_.get());
}

absl::Status SdlPlayer::WaitUntil(int64_t pts_ns) {
  if (!start_ns_.has_value()) start_ns_ = MonotonicNowNs() - pts_ns;
  const int64_t due_ns = *start_ns_ + pts_ns;
  const int64_t give_up_ns = MonotonicNowNs() + kMaxWaitNs;
  while (true) {
    if (!ServeWindow()) return absl::CancelledError("the window was closed");
    const int64_t now_ns = MonotonicNowNs();
    if (now_ns >= due_ns) break;
    if (now_ns >= give_up_ns) {
      start_ns_ = now_ns - pts_ns;  // a jump in time: go on from here
      break;
    }
    SDL_Delay(static_cast<Uint32>(std::clamp<int64_t>((due_ns - now_ns) / 1000000, 1, 10)));
  }
  return absl::OkStatus();
}

absl::Status SdlPlayer::Show(const VideoFormat& format) {
  if (texture_ != nullptr && format == format_) return absl::OkStatus();
  const int width = static_cast<int>(format.width);
  const int height = static_cast<int>(format.height);
  if (window_ == nullptr) {
    window_.reset(SDL_CreateWindow(Title().c_str(), SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                                   std::min(width, 1600), std::min(height, 900),
                                   SDL_WINDOW_RESIZABLE));
    renderer_.reset(window_ == nullptr ? nullptr : SDL_CreateRenderer(window_.get(), -1, 0));
  }
  if (renderer_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot open a window: ", SDL_GetError()));
  }
  // Of a picture that is turned by a quarter, the sides change places.
  clockwise_ = ClockwiseDegrees(format.display_matrix);
  const bool swaps = std::lround(clockwise_ / 90) % 2 != 0;
  SDL_RenderSetLogicalSize(renderer_.get(), swaps ? height : width, swaps ? width : height);
  planar_ = IsPlanarYuv(format);
  SDL_SetYUVConversionMode(ConversionOf(format));
  has_picture_ = false;
  texture_.reset(SDL_CreateTexture(renderer_.get(),
                                   planar_ ? SDL_PIXELFORMAT_IYUV : SDL_PIXELFORMAT_RGB24,
                                   SDL_TEXTUREACCESS_STREAMING, width, height));
  if (texture_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot show the picture: ", SDL_GetError()));
  }
  format_ = format;
  return absl::OkStatus();
}

absl::Status SdlPlayer::OnPicture(const Picture& picture) {
  absl::Status status = Show(picture.format);
  if (!status.ok()) return status;
  // Its time first: until then the window has the picture before it.
  status = WaitUntil(picture.pts_ns);
  if (planar_) {
    I420(picture).Upload(texture_.get());
  } else {
    UploadRgb(picture, texture_.get());
  }
  has_picture_ = true;
  Draw();
  return status;
}

void SdlPlayer::TakeSamples(const AudioBlock& audio) {
  const SampleFormat format = audio.format.sample_format;
  const size_t in_bytes = BytesPerSample(format);
  const size_t channels = audio.format.channels;
  const bool as_float = ToSdl(format) == AUDIO_F32LSB && format != SampleFormat::kF32;
  const size_t out_bytes = as_float ? sizeof(float) : in_bytes;
  samples_.resize(size_t{audio.frames} * channels * out_bytes);
  std::byte* out = samples_.data();
  for (size_t i = 0; i < audio.frames; ++i) {
    for (size_t c = 0; c < channels; ++c) {
      const std::byte* in = audio.Sample(i, c);
      if (as_float) {
        const float sample = FloatOf(format, in);
        std::memcpy(out, &sample, sizeof(sample));
      } else {
        std::memcpy(out, in, in_bytes);
      }
      out += out_bytes;
    }
  }
  if (as_float || format == SampleFormat::kF32) SanitizeF32(absl::MakeSpan(samples_), 1.0f);
}

absl::Status SdlPlayer::OnAudio(const AudioBlock& audio) {
  // Once per format: a machine without a sound device is not asked again for each block.
  if (!(audio.format == audio_format_)) {
    if (device_ != 0) SDL_CloseAudioDevice(device_);
    SDL_AudioSpec wanted = {};
    wanted.freq = static_cast<int>(audio.format.rate_hz);
    wanted.format = ToSdl(audio.format.sample_format);
    wanted.channels = static_cast<Uint8>(std::min(audio.format.channels, uint32_t{255}));
    wanted.samples = 1024;
    device_ = SDL_OpenAudioDevice(nullptr, 0, &wanted, nullptr, 0);
    audio_format_ = audio.format;
    if (device_ != 0) SDL_PauseAudioDevice(device_, 0);
  }
  // A film without pictures is paced by its sound.
  if (texture_ == nullptr) {
    const absl::Status waited = WaitUntil(audio.pts_ns);
    if (!waited.ok()) return waited;
  }
  const uint64_t max_bytes =
      uint64_t{kMaxQueuedSeconds} * audio.format.rate_hz * BytesPerAudioFrame(audio.format);
  if (device_ == 0 || SDL_GetQueuedAudioSize(device_) > max_bytes) return absl::OkStatus();
  TakeSamples(audio);
  SDL_QueueAudio(device_, samples_.data(), static_cast<Uint32>(samples_.size()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Player>> Player::Create(const std::string& title) {
  // Asked before SDL is, which would say it in many words, or show the film to nobody.
  const auto is_set = [](const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread so far
    return value != nullptr && *value != '\0';
  };
  if (!is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") && !is_set("SDL_VIDEODRIVER")) {
    return absl::UnavailableError("there is no display to play on");
  }
  SDL_SetMainReady();
  // Ctrl-C stays ours.
  SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  if (SDL_Init(SDL_INIT_VIDEO) != 0) {
    return absl::UnavailableError(absl::StrCat("there is no display to play on: ", SDL_GetError()));
  }
  SDL_InitSubSystem(SDL_INIT_AUDIO);  // without a sound device the film is silent
  return std::make_unique<SdlPlayer>(title);
}

}  // namespace parley::film
