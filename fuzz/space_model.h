// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FUZZ_SPACE_MODEL_H_
#define PARLEY_FUZZ_SPACE_MODEL_H_

// How much of a ring an honest sender may use, where the receiver is one of ours: a receiver that
// knows of more records keeps back what is less than an eighth of the ring (docs/SPEC.md, section
// 7), and nothing otherwise. It knows of what was published when it last looked, and looks when it
// has taken all that it knows of.
//
// Threads: one.

#include <cstddef>

namespace parley::fuzz {

class SpaceModel {
 public:
  explicit SpaceModel(std::size_t capacity_bytes) : capacity_(capacity_bytes) {}

  // A record's header and padding are part of its bytes, here and below.
  bool HasFreeSpace(std::size_t record_bytes) const { return capacity_ - used_ >= record_bytes; }
  bool drained() const { return used_ == 0; }
  // A record was written, published or not.
  void Write(std::size_t record_bytes) { used_ += record_bytes; }
  // The receiver asks for a record. `published_bytes`: of those that were not taken.
  void Look(std::size_t published_bytes) {
    if (known_ == 0) known_ = published_bytes;
  }
  // It got one.
  void Take(std::size_t record_bytes) {
    known_ -= record_bytes;
    taken_ += record_bytes;
  }
  // It releases what it took.
  void Release() {
    if (known_ != 0 && taken_ * 8 < capacity_) return;
    used_ -= taken_;
    taken_ = 0;
  }

 private:
  std::size_t capacity_;
  std::size_t used_ = 0;   // as the sender sees it
  std::size_t known_ = 0;  // to the receiver, and not taken
  std::size_t taken_ = 0;  // and kept back
};

}  // namespace parley::fuzz

#endif  // PARLEY_FUZZ_SPACE_MODEL_H_
