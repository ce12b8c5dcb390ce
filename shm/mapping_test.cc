// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/mapping.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/test_support.h"

namespace parley {
namespace {

using testing_support::LeakOf;
using testing_support::RunInChild;

constexpr RegionGeometry kGeometry = {.data_bytes = 65536};
const std::string kSegv = "signal " + std::to_string(SIGSEGV);

UniqueFd NewFile(RegionGeometry geometry) {
  auto fd = CreateMemfd(FileBytes(geometry));
  EXPECT_TRUE(fd.ok()) << fd.status();
  return std::move(*fd);
}

std::string Read(const PeerMemory& memory, size_t at, size_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  memory.CopyOut(at, absl::MakeSpan(bytes));
  return std::string(reinterpret_cast<const char*>(bytes.data()), size_bytes);
}

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

TEST(MappingTest, ARecordAcrossTheWrapIsContiguousOnBothSides) {
  const UniqueFd fd = NewFile(kGeometry);
  auto outgoing = OutgoingMapping::Map(fd.get(), kGeometry);
  auto incoming = IncomingMapping::Map(fd.get(), kGeometry);
  ASSERT_TRUE(outgoing.ok() && incoming.ok());
  OwnMemory ours = outgoing->data();
  const PeerMemory theirs = incoming->data();
  EXPECT_EQ(ours.size_bytes(), 2 * kGeometry.data_bytes);
  EXPECT_EQ(theirs.size_bytes(), 2 * kGeometry.data_bytes);
  ours.CopyIn(kGeometry.data_bytes - 3, BytesOf("abcdef"));
  EXPECT_EQ(Read(theirs, kGeometry.data_bytes - 3, 6), "abcdef");
  EXPECT_EQ(Read(theirs, 0, 3), "def");
  EXPECT_EQ(Read(theirs, 2 * kGeometry.data_bytes - 3, 3), "abc");
  // A write in the second half arrives in the first one.
  ours.CopyIn(kGeometry.data_bytes + 100, BytesOf("mirror"));
  EXPECT_EQ(Read(theirs, 100, 6), "mirror");
}

TEST(MappingTest, ControlAndDataAreWhereTheFileSaysAndDontOverlap) {
  const UniqueFd fd = NewFile(kGeometry);
  auto outgoing = OutgoingMapping::Map(fd.get(), kGeometry);
  ASSERT_TRUE(outgoing.ok());
  OwnMemory control = outgoing->control();
  EXPECT_EQ(control.size_bytes(), ControlBytes());
  control.CopyIn(ControlBytes() - 1, BytesOf("c"));
  outgoing->data().CopyIn(0, BytesOf("d"));
  outgoing->data().CopyIn(kGeometry.data_bytes - 1, BytesOf("e"));
  const off_t control_end = static_cast<off_t>(ControlBytes());
  char found[2] = {};
  ASSERT_EQ(::pread(fd.get(), found, 2, control_end - 1), 2);
  EXPECT_EQ(std::string(found, 2), "cd");
  ASSERT_EQ(::pread(fd.get(), found, 2, control_end + 65535), 1);
  EXPECT_EQ(found[0], 'e');
}

TEST(MappingTest, FramesLieBetweenTheControlPageAndTheData) {
  const uint64_t page = ControlBytes();
  const RegionGeometry geometry = {.data_bytes = 65536, .frames_bytes = 3 * page};
  const UniqueFd fd = NewFile(geometry);
  auto outgoing = OutgoingMapping::Map(fd.get(), geometry);
  auto incoming = IncomingMapping::Map(fd.get(), geometry);
  ASSERT_TRUE(outgoing.ok() && incoming.ok());
  OwnMemory frames = outgoing->frames();
  EXPECT_EQ(frames.size_bytes(), 3 * page);
  EXPECT_EQ(incoming->frames().size_bytes(), 3 * page);
  outgoing->control().CopyIn(page - 1, BytesOf("c"));
  frames.CopyIn(0, BytesOf("f"));
  frames.CopyIn(3 * page - 1, BytesOf("g"));
  outgoing->data().CopyIn(0, BytesOf("d"));
  outgoing->data().CopyIn(geometry.data_bytes - 3, BytesOf("mirror"));
  char found[2] = {};
  ASSERT_EQ(::pread(fd.get(), found, 2, static_cast<off_t>(page - 1)), 2);
  EXPECT_EQ(std::string(found, 2), "cf");
  ASSERT_EQ(::pread(fd.get(), found, 2, static_cast<off_t>(4 * page - 1)), 2);
  EXPECT_EQ(std::string(found, 1), "g");
  EXPECT_EQ(Read(incoming->data(), 0, 3), "ror");
  EXPECT_EQ(Read(incoming->data(), geometry.data_bytes, 3), "ror");
  EXPECT_EQ(Read(incoming->frames(), 3 * page - 1, 1), "g");
}

TEST(MappingTest, ADirectionWithoutDataHasItsControlPage) {
  const RegionGeometry none = {.data_bytes = 0};
  const UniqueFd fd = NewFile(none);
  auto outgoing = OutgoingMapping::Map(fd.get(), none);
  auto incoming = IncomingMapping::Map(fd.get(), none);
  ASSERT_TRUE(outgoing.ok() && incoming.ok());
  outgoing->control().StoreRelease64(8, 5);
  EXPECT_EQ(Read(incoming->control(), 8, 1), std::string("\x05"));
  EXPECT_EQ(outgoing->data().size_bytes(), 0u);
  EXPECT_EQ(incoming->data().size_bytes(), 0u);
}

// A load in place, `at` bytes from the first data byte, by a process with a mapping of its own.
std::string LoadAt(ptrdiff_t at) {
  return RunInChild([=] {
    const UniqueFd fd = NewFile(kGeometry);
    auto incoming = IncomingMapping::Map(fd.get(), kGeometry);
    ASSERT_TRUE(incoming.ok());
    const volatile std::byte* const data =
        incoming->data().ViewOf(0, 1).BytesThatThePeerMayRewriteAtAnyTime();
    static_cast<void>(data[at]);
  });
}

TEST(MappingTest, PromiseP1GuardsOnBothSides) {
  const auto mirrored = static_cast<ptrdiff_t>(2 * kGeometry.data_bytes);
  const auto control = static_cast<ptrdiff_t>(ControlBytes());
  EXPECT_EQ(LoadAt(mirrored - 1), "ok");
  EXPECT_EQ(LoadAt(mirrored), kSegv);
  EXPECT_EQ(LoadAt(-control), "ok");
  EXPECT_EQ(LoadAt(-control - 1), kSegv);
}

TEST(MappingTest, WhatThePeerWritesCantBeWrittenHere) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = NewFile(kGeometry);
              auto incoming = IncomingMapping::Map(fd.get(), kGeometry);
              ASSERT_TRUE(incoming.ok());
              // SAFETY: the write that must hit the read-only mapping and die.
              auto* const data = const_cast<std::byte*>(
                  incoming->data().ViewOf(0, 1).BytesThatThePeerMayRewriteAtAnyTime());
              *static_cast<volatile std::byte*>(data) = std::byte{1};
            }),
            kSegv);
}

// So no access of a Try call waits for one, in slices or in one go.
TEST(MappingTest, AllPagesAreMappedWhenMapReturns) {
  using testing_support::MappedBytes;
  for (const RegionGeometry& geometry :
       {RegionGeometry{.data_bytes = 0}, kGeometry,
        RegionGeometry{.data_bytes = uint64_t{1} << 20, .frames_bytes = 3 * ControlBytes()}}) {
    const uint64_t all_bytes = FileBytes(geometry) + geometry.data_bytes;
    const UniqueFd fd = NewFile(geometry);
    {
      const auto outgoing = OutgoingMapping::Map(fd.get(), geometry);
      ASSERT_TRUE(outgoing.ok());
      EXPECT_EQ(MappedBytes(), all_bytes);
    }
    {
      const auto incoming = IncomingMapping::Map(fd.get(), geometry);
      ASSERT_TRUE(incoming.ok());
      EXPECT_EQ(MappedBytes(), all_bytes);
    }
    auto sliced = IncomingMapping::MapWithoutPages(fd.get(), geometry);
    ASSERT_TRUE(sliced.ok());
    EXPECT_EQ(MappedBytes(), 0u);
    for (uint64_t mapped = 0; mapped < all_bytes;) {
      const auto done = sliced->Populate(Deadline::AtMonotonicNs(0));
      ASSERT_TRUE(done.ok()) << done.status();
      mapped = std::min(mapped + IncomingMapping::kSliceBytes, all_bytes);
      EXPECT_EQ(MappedBytes(), mapped);
      EXPECT_EQ(*done, mapped == all_bytes);
    }
  }
}

// A part that the file has not cannot be brought in: an error, and no SIGBUS later.
TEST(MappingTest, AFileThatIsTooShortIsAnError) {
  for (const RegionGeometry& geometry :
       {kGeometry, RegionGeometry{.data_bytes = uint64_t{1} << 20}}) {
    auto fd = CreateMemfd(FileBytes(geometry) - ControlBytes());
    ASSERT_TRUE(fd.ok());
    EXPECT_EQ(RunInChild([&] {
                EXPECT_FALSE(OutgoingMapping::Map(fd->get(), geometry).ok());
                EXPECT_FALSE(IncomingMapping::Map(fd->get(), geometry).ok());
              }),
              "ok");
  }
}

TEST(MappingTest, PromiseP7FailureLeaksNothing) {
  EXPECT_EQ(LeakOf([] {
              EXPECT_FALSE(OutgoingMapping::Map(-1, kGeometry).ok());
              EXPECT_FALSE(IncomingMapping::Map(-1, kGeometry).ok());
              const UniqueFd fd = NewFile(kGeometry);
              EXPECT_TRUE(IncomingMapping::Map(fd.get(), kGeometry).ok());
              EXPECT_EQ(IncomingMapping::Map(fd.get(), {uint64_t{1} << 47}).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "nothing");
}

}  // namespace
}  // namespace parley
