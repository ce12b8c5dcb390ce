// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/camera/picture_source.h"

#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"

namespace parley::camera {
namespace {

constexpr uint32_t kDeviceBuffers = 4;
constexpr int kPatienceMs = 5000;

class Pattern final : public PictureSource {
 public:
  Pattern(uint32_t width, uint32_t height, double rate_hz)
      : width_(width), height_(height), interval_(absl::Seconds(1) / rate_hz), due_(absl::Now()) {}
  uint32_t width() const override { return width_; }
  uint32_t height() const override { return height_; }
  absl::Status Next(uint64_t number, absl::Span<std::byte> into) override {
    due_ += interval_;
    absl::SleepFor(due_ - absl::Now());
    for (std::size_t at = 0; at < into.size(); ++at) into[at] = PatternByte(number, at);
    return absl::OkStatus();
  }

 private:
  const uint32_t width_;
  const uint32_t height_;
  const absl::Duration interval_;
  absl::Time due_;
};

// One of the device's buffers, as it is mapped here.
struct DeviceBuffer {
  DeviceBuffer(void* at, std::size_t bytes) : memory(at), size_bytes(bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : memory(std::exchange(other.memory, MAP_FAILED)), size_bytes(other.size_bytes) {}
  DeviceBuffer& operator=(DeviceBuffer&&) = delete;
  ~DeviceBuffer() {
    if (memory != MAP_FAILED) ::munmap(memory, size_bytes);
  }
  void* memory;
  std::size_t size_bytes;
};

class VideoDevice final : public PictureSource {
 public:
  explicit VideoDevice(UniqueFd fd) : fd_(std::move(fd)) {}
  uint32_t width() const override { return format_.width; }
  uint32_t height() const override { return format_.height; }

  absl::Status Start() {
    v4l2_capability capability = {};
    absl::Status status = Ask(VIDIOC_QUERYCAP, &capability, "ask what it can do");
    if (!status.ok()) return status;
    if ((capability.device_caps & V4L2_CAP_VIDEO_CAPTURE) == 0 ||
        (capability.device_caps & V4L2_CAP_STREAMING) == 0) {
      return absl::UnimplementedError("the device gives no stream of pictures");
    }
    v4l2_format format = {};
    format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    format.fmt.pix.width = 640;
    format.fmt.pix.height = 480;
    format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    format.fmt.pix.field = V4L2_FIELD_NONE;
    if (status = Ask(VIDIOC_S_FMT, &format, "set its format"); !status.ok()) return status;
    // What it gives instead of what was asked for.
    format_ = format.fmt.pix;
    if (format_.pixelformat != V4L2_PIX_FMT_YUYV || format_.width == 0 || format_.height == 0 ||
        format_.width > 8192 || format_.height > 8192 || format_.bytesperline < format_.width * 2) {
      return absl::UnimplementedError("the device has no pictures in YUYV");
    }
    v4l2_requestbuffers request = {};
    request.count = kDeviceBuffers;
    request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    request.memory = V4L2_MEMORY_MMAP;
    if (status = Ask(VIDIOC_REQBUFS, &request, "ask for buffers"); !status.ok()) return status;
    for (uint32_t index = 0; index < request.count; ++index) {
      v4l2_buffer buffer = Buffer(index);
      if (status = Ask(VIDIOC_QUERYBUF, &buffer, "look at a buffer"); !status.ok()) return status;
      void* const memory =
          ::mmap(nullptr, buffer.length, PROT_READ, MAP_SHARED, fd_.get(), buffer.m.offset);
      if (memory == MAP_FAILED) return ErrnoStatus(errno, "map a buffer");
      buffers_.emplace_back(memory, buffer.length);
      if (status = Ask(VIDIOC_QBUF, &buffer, "hand out a buffer"); !status.ok()) return status;
    }
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    return Ask(VIDIOC_STREAMON, &type, "start it");
  }

  absl::Status Next(uint64_t /*number*/, absl::Span<std::byte> into) override {
    pollfd polled = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&polled, 1, kPatienceMs);
    if (ready < 0 && errno == EINTR) return absl::CancelledError("interrupted");
    if (ready <= 0) return absl::DeadlineExceededError("the device gives no picture");
    v4l2_buffer buffer = Buffer(0);
    absl::Status status = Ask(VIDIOC_DQBUF, &buffer, "take a picture");
    if (!status.ok()) return status;
    const std::size_t row_bytes = std::size_t{format_.width} * 2;
    if (buffer.index >= buffers_.size() ||
        buffers_[buffer.index].size_bytes <
            std::size_t{format_.bytesperline} * (format_.height - 1) + row_bytes) {
      return absl::DataLossError("the device gives a picture that is too short");
    }
    const auto* rows = static_cast<const std::byte*>(buffers_[buffer.index].memory);
    for (std::size_t y = 0; y < format_.height; ++y) {
      std::memcpy(into.data() + y * row_bytes, rows + y * format_.bytesperline, row_bytes);
    }
    return Ask(VIDIOC_QBUF, &buffer, "hand a buffer back");
  }

 private:
  static v4l2_buffer Buffer(uint32_t index) {
    v4l2_buffer buffer = {};
    buffer.index = index;
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_MMAP;
    return buffer;
  }
  absl::Status Ask(unsigned long request, void* argument, const char* what) const {
    int result = -1;
    do {
      result = ::ioctl(fd_.get(), request, argument);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? ErrnoStatus(errno, what) : absl::OkStatus();
  }

  UniqueFd fd_;
  v4l2_pix_format format_ = {};
  std::vector<DeviceBuffer> buffers_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PictureSource>> OpenVideoDevice(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.ok()) {
    if (errno == ENOENT) return absl::NotFoundError("there is no such device");
    return ErrnoStatus(errno, "open the device");
  }
  auto device = std::make_unique<VideoDevice>(std::move(fd));
  if (absl::Status started = device->Start(); !started.ok()) return started;
  return device;
}

std::unique_ptr<PictureSource> MakePattern(uint32_t width, uint32_t height, double rate_hz) {
  return std::make_unique<Pattern>(width, height, rate_hz);
}

std::byte PatternByte(uint64_t number, std::size_t at) {
  return static_cast<std::byte>(number + at / 64);
}

}  // namespace parley::camera
