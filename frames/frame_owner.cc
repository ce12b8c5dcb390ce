// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/internal/frame_owner.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "parley/os/check.h"
#include "parley/shm/arena_layout.h"

namespace parley {

namespace internal {

OutFrame FrameOwner::Handle(uint32_t extent, std::size_t size_bytes) {
  OutFrame made;
  made.owner_ = this;
  made.extent_ = extent;
  made.bytes_ =
      arena.Writable(kFrameTableBytes + extents->allocator().offset_bytes(extent), size_bytes);
  ++handles;
  return made;
}

void FrameOwner::TakeOver(OutFrame* frame) {
  frame->owner_ = nullptr;
  frame->bytes_ = {};
  --handles;
}

}  // namespace internal

absl::Span<std::byte> OutFrame::bytes() const {
  if (owner_ == nullptr) return {};
  PARLEY_CHECK(!owner_->extents->WasSent(extent_),
               "a frame that was sent is only read: read_only_bytes()");
  return bytes_;
}

OutFrame OutFrame::Share() const {
  OutFrame other;
  if (owner_ == nullptr) return other;
  owner_->extents->Share(extent_);
  ++owner_->handles;
  other.owner_ = owner_;
  other.extent_ = extent_;
  other.bytes_ = bytes_;
  return other;
}

void OutFrame::Reset() {
  if (owner_ == nullptr) return;
  auto* owner = std::exchange(owner_, nullptr);
  bytes_ = {};
  owner->extents->LetGo(extent_);
  owner->LetGo();
}

}  // namespace parley
