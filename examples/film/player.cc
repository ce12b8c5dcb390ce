#include "parley/examples/film/player.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
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

// 8-bit 4:2:0 of any of our formats, by taking the nearest sample: for the eye only.
class I420 {
 public:
  explicit I420(const Picture& picture)
      : width_(picture.format.width),
        height_(picture.format.height),
        luma_(size_t{width_} * height_),
        u_(chroma_size(), 128),
        v_(chroma_size(), 128) {
    const PictureShape shape = ShapeOf(picture.format);
    Fill(picture, shape, 0, width_, height_, luma_);
    if (shape.count < 3) return;
    Fill(picture, shape, 1, chroma_width(), chroma_height(), u_);
    Fill(picture, shape, 2, chroma_width(), chroma_height(), v_);
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

  static void Fill(const Picture& picture, const PictureShape& shape, size_t plane, uint32_t width,
                   uint32_t height, std::vector<uint8_t>& out) {
    const PlaneShape& from = shape.planes[plane];
    const bool wide = picture.format.pixel_format >= PixelFormat::kGray10;
    const uint32_t columns = from.row_bytes / (wide ? 2 : 1);
    for (uint32_t y = 0; y < height; ++y) {
      const auto row = picture.Row(plane, static_cast<uint32_t>(uint64_t{y} * from.rows / height),
                                   from.row_bytes);
      for (uint32_t x = 0; x < width; ++x) {
        const size_t at = static_cast<size_t>(uint64_t{x} * columns / width);
        uint16_t sample = std::to_integer<uint16_t>(row[wide ? at * 2 : at]);
        if (wide) {
          std::memcpy(&sample, row.data() + at * 2, sizeof(sample));
          sample = static_cast<uint16_t>(std::min<int>(sample, 1023) >> 2);
        }
        out[size_t{y} * width + x] = static_cast<uint8_t>(sample);
      }
    }
  }

  uint32_t width_;
  uint32_t height_;
  std::vector<uint8_t> luma_;
  std::vector<uint8_t> u_;
  std::vector<uint8_t> v_;
};

SDL_AudioFormat ToSdl(SampleFormat format) {
  switch (format) {
    case SampleFormat::kU8:
      return AUDIO_U8;
    case SampleFormat::kS16:
      return AUDIO_S16LSB;
    case SampleFormat::kS32:
      return AUDIO_S32LSB;
    case SampleFormat::kF32:
      return AUDIO_F32LSB;
  }
  return AUDIO_S16LSB;
}

class SdlPlayer final : public Player {
 public:
  explicit SdlPlayer(std::string title) : title_(std::move(title)) {}
  ~SdlPlayer() override;
  absl::Status OnPicture(const Picture& picture) override;
  absl::Status OnAudio(const AudioBlock& audio) override;

 private:
  absl::Status Show(const VideoFormat& format);
  absl::Status WaitUntil(int64_t pts_ns);

  std::string title_;
  std::unique_ptr<SDL_Window, Closer> window_;
  std::unique_ptr<SDL_Renderer, Closer> renderer_;
  std::unique_ptr<SDL_Texture, Closer> texture_;
  VideoFormat format_;
  SDL_AudioDeviceID device_ = 0;
  AudioFormat audio_format_;
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

absl::Status SdlPlayer::WaitUntil(int64_t pts_ns) {
  if (!start_ns_.has_value()) start_ns_ = MonotonicNowNs() - pts_ns;
  const int64_t due_ns = *start_ns_ + pts_ns;
  const int64_t give_up_ns = MonotonicNowNs() + kMaxWaitNs;
  while (true) {
    SDL_Event event;
    while (SDL_PollEvent(&event) == 1) {
      const bool escape = event.type == SDL_KEYDOWN && event.key.keysym.sym == SDLK_ESCAPE;
      if (event.type == SDL_QUIT || escape) return absl::CancelledError("the window was closed");
    }
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
    window_.reset(SDL_CreateWindow(title_.c_str(), SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                                   std::min(width, 1600), std::min(height, 900),
                                   SDL_WINDOW_RESIZABLE));
    renderer_.reset(window_ == nullptr ? nullptr : SDL_CreateRenderer(window_.get(), -1, 0));
  }
  if (renderer_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot open a window: ", SDL_GetError()));
  }
  SDL_RenderSetLogicalSize(renderer_.get(), width, height);
  texture_.reset(SDL_CreateTexture(renderer_.get(), SDL_PIXELFORMAT_IYUV,
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
  I420(picture).Upload(texture_.get());
  status = WaitUntil(picture.pts_ns);
  SDL_RenderClear(renderer_.get());
  SDL_RenderCopy(renderer_.get(), texture_.get(), nullptr, nullptr);
  SDL_RenderPresent(renderer_.get());
  return status;
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
  samples_.assign(audio.samples.begin(), audio.samples.end());
  if (audio.format.sample_format == SampleFormat::kF32) {
    SanitizeF32(absl::MakeSpan(samples_), 1.0f);
  }
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
