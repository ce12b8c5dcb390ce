// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/digest.h"

#include <cstring>

#include "parley/examples/film/libav.h"
#include "parley/os/check.h"

namespace parley::film {
namespace {

template <typename T>
std::array<std::byte, sizeof(T)> Bytes(T value) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

}  // namespace

Digester::Digester() : sha_(av_sha_alloc()) {
  PARLEY_CHECK(sha_ != nullptr, "no memory for a SHA-256 state");
}

Digester::~Digester() { av_free(sha_); }

void Digester::Add(absl::Span<const std::byte> bytes) {
  // SAFETY: std::byte and uint8_t are both bytes.
  av_sha_update(sha_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

void Digester::Begin() { av_sha_init(sha_, 256); }

Digest Digester::End() {
  Digest digest;
  av_sha_final(sha_, digest.data());
  return digest;
}

void Digester::AddRows(const Picture& picture) {
  const PictureShape shape = ShapeOf(picture.format);
  for (size_t plane = 0; plane < shape.count; ++plane) {
    for (uint32_t row = 0; row < shape.planes[plane].rows; ++row) {
      Add(picture.Row(plane, row, shape.planes[plane].row_bytes));
    }
  }
}

Digest Digester::Of(const Picture& picture) {
  Begin();
  Add(EncodeFormat({picture.format, 0}));
  Add(Bytes(picture.pts_ns));
  AddRows(picture);
  return End();
}

Digest Digester::Of(const AudioBlock& audio) {
  Begin();
  Add(EncodeFormat({audio.format, 0}));
  Add(Bytes(audio.pts_ns));
  for (size_t i = 0; i < audio.planes.size(); ++i) Add(audio.Plane(i));
  return End();
}

Digest Digester::OfRows(const Picture& picture) {
  Begin();
  AddRows(picture);
  return End();
}

Digest Digester::OfSamples(const AudioBlock& audio) {
  Begin();
  for (size_t i = 0; i < audio.planes.size(); ++i) Add(audio.Plane(i));
  return End();
}

Digest Digester::OfBytes(absl::Span<const std::byte> bytes) {
  Begin();
  Add(bytes);
  return End();
}

}  // namespace parley::film
