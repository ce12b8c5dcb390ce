// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/sealed_blob.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/test_support.h"
#include "parley/testing/sanitizers.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::FillRaw;
using testing_support::InodeLockHolder;
using testing_support::LeakOf;
using testing_support::RawMemfd;
using testing_support::RunInChild;
using testing_support::SealRaw;

constexpr uint64_t kLimit = uint64_t{8} << 20;

absl::Span<const std::byte> BytesOf(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

std::string TextOf(const SealedBlob& blob) {
  return std::string(reinterpret_cast<const char*>(blob.bytes().data()), blob.size_bytes());
}

// Text in which each position differs from its neighbours.
std::string Pattern(size_t size_bytes) {
  std::string text(size_bytes, '\0');
  for (size_t i = 0; i < size_bytes; ++i) text[i] = static_cast<char>((i * 31 + i / 4096) & 0x7f);
  return text;
}

UniqueFd FileOf(const std::string& content) {
  std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/blobXXXXXX";
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  ::unlink(name.c_str());
  EXPECT_EQ(::pwrite(fd.get(), content.data(), content.size(), 0),
            static_cast<ssize_t>(content.size()));
  return fd;
}

UniqueFd Duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

TEST(SealedBlobTest, TheReaderSeesWhatWasWritten) {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{1000003}}) {
    const std::string content = Pattern(size);
    auto blob = SealedBlob::Create(BytesOf(content));
    ASSERT_TRUE(blob.ok()) << blob.status();
    EXPECT_TRUE(TextOf(*blob) == content);
    auto fd = blob->DuplicateFd();
    ASSERT_TRUE(fd.ok());
    EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
    auto adopted = SealedBlob::Adopt(std::move(*fd), size);
    ASSERT_TRUE(adopted.ok()) << adopted.status();
    EXPECT_EQ(adopted->identity(), blob->identity());
    EXPECT_TRUE(TextOf(*adopted) == content);
    EXPECT_EQ(adopted->bytes().size(), size);
  }
}

TEST(SealedBlobTest, BytesStayWhereTheyAreWhenTheBlobMoves) {
  auto blob = SealedBlob::Create(BytesOf("content"));
  ASSERT_TRUE(blob.ok());
  const std::byte* const where = blob->bytes().data();
  const SealedBlob moved = std::move(*blob);
  EXPECT_EQ(moved.bytes().data(), where);
  EXPECT_EQ(TextOf(moved), "content");
}

TEST(SealedBlobTest, PromiseP1NobodyChangesABlobNotEvenItsMaker) {
  const std::string content = Pattern(3 * 4096);
  auto blob = SealedBlob::Create(BytesOf(content));
  ASSERT_TRUE(blob.ok());
  EXPECT_EQ(
      RunInChild([&] {
        const int fd = blob->fd();
        EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
        void* const shared = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
        if (shared != MAP_FAILED) {  // since Linux 6.7
          EXPECT_NE(::mprotect(shared, 4096, PROT_READ | PROT_WRITE), 0);
          EXPECT_NE(::madvise(shared, 4096, MADV_REMOVE), 0);
        }
        EXPECT_EQ(::pwrite(fd, "x", 1, 0), -1);
        EXPECT_EQ(errno, EPERM);
        EXPECT_NE(::ftruncate(fd, 0), 0);
        EXPECT_NE(::ftruncate(fd, 1 << 20), 0);
        EXPECT_NE(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
        EXPECT_NE(::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
        const std::string path = "/proc/self/fd/" + std::to_string(fd);
        const UniqueFd again(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (again.ok()) {
          EXPECT_EQ(::pwrite(again.get(), "x", 1, 0), -1);
          EXPECT_EQ(::mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, again.get(), 0), MAP_FAILED);
        }
      }),
      "ok");
  EXPECT_TRUE(TextOf(*blob) == content);
}

TEST(SealedBlobTest, AdoptRefusesWhatItCantRelyOn) {
  const auto adopt = [](UniqueFd fd, uint64_t limit = kLimit) {
    return SealedBlob::Adopt(std::move(fd), limit).status().code();
  };
  EXPECT_EQ(LeakOf([&] {
              // M6: each seal is needed.
              for (SealSet one = 1; one <= F_SEAL_WRITE; one <<= 1) {
                UniqueFd fd = RawMemfd(4096);
                FillRaw(fd.get(), 4096);
                SealRaw(fd.get(), kBlobSeals & ~one);
                EXPECT_EQ(adopt(std::move(fd)), absl::StatusCode::kInvalidArgument) << one;
              }
              // A region's seals are not a blob's: its writer goes on writing.
              UniqueFd region = RawMemfd(4096);
              FillRaw(region.get(), 4096);
              SealRaw(region.get(), kRegionSeals);
              EXPECT_EQ(adopt(std::move(region)), absl::StatusCode::kInvalidArgument);
              // M10: pages missing; in plain sight, and hidden.
              UniqueFd sparse = RawMemfd(8192);
              SealRaw(sparse.get(), kBlobSeals);
              EXPECT_EQ(adopt(std::move(sparse)), absl::StatusCode::kInvalidArgument);
              const auto pages = static_cast<off_t>(2 * PageBytes());
              UniqueFd hidden = RawMemfd(static_cast<std::size_t>(pages));
              ASSERT_EQ(::fallocate(hidden.get(), FALLOC_FL_KEEP_SIZE, pages, pages), 0);
              SealRaw(hidden.get(), kBlobSeals);
              EXPECT_EQ(adopt(std::move(hidden)), absl::StatusCode::kInvalidArgument);
              // M4: huge pages.
              UniqueFd huge = RawMemfd(size_t{2} << 20, MFD_HUGETLB);
              if (huge.ok()) {
                SealRaw(huge.get(), kBlobSeals);
                EXPECT_EQ(adopt(std::move(huge)), absl::StatusCode::kInvalidArgument);
              }
              // M5: beyond the limit.
              UniqueFd large = RawMemfd(8192);
              FillRaw(large.get(), 8192);
              SealRaw(large.get(), kBlobSeals);
              EXPECT_EQ(adopt(Duplicate(large.get()), 8191), absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(adopt(Duplicate(large.get()), 8192), absl::StatusCode::kOk);
              // M9: no memfd at all.
              EXPECT_EQ(adopt(FileOf("x")), absl::StatusCode::kInvalidArgument);
              EXPECT_EQ(adopt(UniqueFd()), absl::StatusCode::kInvalidArgument);
            }),
            "nothing");
}

TEST(SealedBlobTest, PromiseP2APeerThatWritesForEverDoesNotHoldUpAdopt) {
  auto blob = SealedBlob::Create(BytesOf(Pattern(8192)));
  ASSERT_TRUE(blob.ok());
  // Where the kernel fetches the source before it looks at the seals, this holds the inode's lock.
  InodeLockHolder peer(blob->fd());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(RunInChild([&] {
              auto adopted = SealedBlob::Adopt(Duplicate(blob->fd()), kLimit);
              EXPECT_TRUE(adopted.ok()) << adopted.status();
            }),
            "ok");
}

TEST(SealedBlobFromFileTest, RegularFiles) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{300000}}) {
    const std::string content = Pattern(size);
    const UniqueFd file = FileOf(content);
    auto blob = SealedBlob::CreateFromFile(file.get(), size);
    ASSERT_TRUE(blob.ok()) << blob.status();
    EXPECT_TRUE(TextOf(*blob) == content);
  }
}

TEST(SealedBlobFromFileTest, FromThePresentPosition) {
  const UniqueFd file = FileOf("0123456789");
  ASSERT_EQ(::lseek(file.get(), 4, SEEK_SET), 4);
  auto blob = SealedBlob::CreateFromFile(file.get(), 6);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(TextOf(*blob), "456789");
  ASSERT_EQ(::lseek(file.get(), 100, SEEK_SET), 100);
  auto beyond = SealedBlob::CreateFromFile(file.get(), 6);
  ASSERT_TRUE(beyond.ok()) << beyond.status();
  EXPECT_EQ(beyond->size_bytes(), 0u);
}

TEST(SealedBlobFromFileTest, AFileThatSaysItIsEmptyAndIsNot) {
  const UniqueFd file(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  auto blob = SealedBlob::CreateFromFile(file.get(), kLimit);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_GT(blob->size_bytes(), 100u);
}

TEST(SealedBlobFromFileTest, PipesOfAnySize) {
  for (const size_t size : {size_t{0}, size_t{5}, size_t{65536}, size_t{65537}, size_t{1000003}}) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    const std::string content = Pattern(size);
    std::thread writer([&] {
      size_t at = 0;
      while (at < size) {
        const ssize_t wrote = ::write(write_end.get(), content.data() + at, size - at);
        if (wrote <= 0) break;
        at += static_cast<size_t>(wrote);
      }
      write_end.Reset();
    });
    auto blob = SealedBlob::CreateFromFile(read_end.get(), size);  // exactly the limit
    writer.join();
    ASSERT_TRUE(blob.ok()) << size << ": " << blob.status();
    EXPECT_TRUE(TextOf(*blob) == content);
  }
}

TEST(SealedBlobFromFileTest, PromiseP7TooLargeNamesTheLimit) {
  EXPECT_EQ(LeakOf([] {
              const UniqueFd file = FileOf("0123456789");
              auto blob = SealedBlob::CreateFromFile(file.get(), 9);
              EXPECT_EQ(blob.status().code(), absl::StatusCode::kResourceExhausted);
              EXPECT_NE(blob.status().ToString().find("limit of 9 bytes"), std::string::npos);

              int ends[2];
              ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
              const UniqueFd read_end(ends[0]);
              const UniqueFd write_end(ends[1]);
              ASSERT_EQ(::write(write_end.get(), "0123456789", 10), 10);
              EXPECT_EQ(SealedBlob::CreateFromFile(read_end.get(), 9).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
              EXPECT_EQ(SealedBlob::CreateFromFile(file.get(), 0).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "nothing");
}

TEST(SealedBlobFromFileTest, WhatIsNoFileIsNamed) {
  const UniqueFd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  absl::Status status = SealedBlob::CreateFromFile(directory.get(), kLimit).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "cannot read a directory: a regular file or a pipe is needed");
  const UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  status = SealedBlob::CreateFromFile(zero.get(), kLimit).status();
  EXPECT_EQ(status.message(), "cannot read a device: a regular file or a pipe is needed");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  status = SealedBlob::CreateFromFile(socket.get(), kLimit).status();
  EXPECT_EQ(status.message(), "cannot read a socket: a regular file or a pipe is needed");
  EXPECT_FALSE(SealedBlob::CreateFromFile(-1, kLimit).ok());
  std::string name = std::string(std::getenv("TEST_TMPDIR")) + "/linkXXXXXX";
  const UniqueFd file(::mkostemp(name.data(), O_CLOEXEC));
  const std::string link_name = name + "l";
  ASSERT_EQ(::symlink(name.c_str(), link_name.c_str()), 0);
  const UniqueFd link(::open(link_name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  status = SealedBlob::CreateFromFile(link.get(), kLimit).status();
  EXPECT_EQ(status.message(), "cannot read something else: a regular file or a pipe is needed");
  const UniqueFd write_only(::open(name.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_FALSE(SealedBlob::CreateFromFile(write_only.get(), kLimit).ok());
  ::unlink(link_name.c_str());
  ::unlink(name.c_str());
}

TEST(SealedBlobFromFileTest, ANonBlockingPipeWithoutDataIsAnError) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  EXPECT_EQ(SealedBlob::CreateFromFile(read_end.get(), kLimit).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(SealedBlobWriterTest, GrowsAndCutsAndWipesWhatIsCutOff) {
  auto writer = SealedBlobWriter::Create(4096);
  ASSERT_TRUE(writer.ok());
  std::memset(writer->buffer().data(), 'a', 4096);
  ASSERT_TRUE(writer->Grow(3 * 4096).ok());
  ASSERT_EQ(writer->buffer().size(), 3u * 4096);
  EXPECT_EQ(writer->buffer()[4095], std::byte{'a'});
  std::memset(writer->buffer().data(), 'b', 3 * 4096);
  auto blob = std::move(*writer).Seal(5000);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_TRUE(TextOf(*blob) == std::string(5000, 'b'));
  // P5: whoever maps the last page finds zeros behind the end.
  void* const pages = ::mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE, blob->fd(), 0);
  ASSERT_NE(pages, MAP_FAILED);
  const char* const bytes = static_cast<const char*>(pages);
  EXPECT_EQ(bytes[5000 - 1], 'b');
  for (size_t i = 5000; i < 8192; ++i) ASSERT_EQ(bytes[i], 0) << i;
  ::munmap(pages, 8192);
}

TEST(SealedBlobWriterTest, ARefusedGrowKeepsTheBuffer) {
  auto writer = SealedBlobWriter::Create(4);
  ASSERT_TRUE(writer.ok());
  std::memcpy(writer->buffer().data(), "abcd", 4);
  EXPECT_EQ(writer->Grow(uint64_t{64} << 40).code(), absl::StatusCode::kResourceExhausted);
  auto blob = std::move(*writer).Seal();
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(TextOf(*blob), "abcd");
}

TEST(SealedBlobWriterTest, PromiseP7AGrowWithoutAddressSpaceKeepsTheBuffer) {
  EXPECT_EQ(RunInChild([] {
              auto writer = SealedBlobWriter::Create(4);
              ASSERT_TRUE(writer.ok());
              std::memcpy(writer->buffer().data(), "abcd", 4);
              FailSystemCall(SYS_mmap, ENOMEM);
              EXPECT_EQ(writer->Grow(8192).code(), absl::StatusCode::kResourceExhausted);
              ASSERT_EQ(writer->buffer().size(), 4u);
              EXPECT_EQ(std::memcmp(writer->buffer().data(), "abcd", 4), 0);
            }),
            "ok");
}

// A limit that a regular file is beyond is found before anything is read.
TEST(SealedBlobFromFileTest, ARefusedFileIsWhereItWas) {
  const UniqueFd file = FileOf("0123456789");
  ASSERT_EQ(::lseek(file.get(), 3, SEEK_SET), 3);
  EXPECT_EQ(SealedBlob::CreateFromFile(file.get(), 6).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 3);
  auto blob = SealedBlob::CreateFromFile(file.get(), 7);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(TextOf(*blob), "3456789");
}

TEST(SealedBlobFromFileTest, EachFailureHasItsReason) {
  EXPECT_EQ(SealedBlob::CreateFromFile(-1, kLimit).status().message(),
            "cannot look at the file: Bad file descriptor");
  EXPECT_EQ(RunInChild([] {
              const UniqueFd file = FileOf("x");
              FailSystemCall(SYS_memfd_create, ENFILE);
              EXPECT_EQ(SealedBlob::CreateFromFile(file.get(), kLimit).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
  // A pipe that has as much as is asked for first, and nothing more as yet.
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const std::string first = Pattern(65536);
  if (::write(write_end.get(), first.data(), first.size()) == 65536) {
    EXPECT_EQ(SealedBlob::CreateFromFile(read_end.get(), kLimit).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

// What cannot grow any more is an error, and nothing is written beyond it.
TEST(SealedBlobFromFileTest, PromiseP7AGrowthThatIsRefusedIsAnError) {
  EXPECT_EQ(RunInChild([] {
              int ends[2];
              ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
              const UniqueFd read_end(ends[0]);
              UniqueFd write_end(ends[1]);
              std::thread writer([&] {
                const std::string content = Pattern(65537);
                size_t at = 0;
                while (at < content.size()) {
                  const ssize_t wrote =
                      ::write(write_end.get(), content.data() + at, content.size() - at);
                  if (wrote <= 0) break;
                  at += static_cast<size_t>(wrote);
                }
                write_end.Reset();
              });
              const rlimit limit = {100'000, 100'000};
              ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
              EXPECT_EQ(SealedBlob::CreateFromFile(read_end.get(), kLimit).status().code(),
                        absl::StatusCode::kResourceExhausted);
              writer.join();
            }),
            "ok");
}

TEST(SealedBlobTest, PromiseP7WithoutAddressSpaceNothingIsAdoptedOrMade) {
  if (PARLEY_HAS_SANITIZER) GTEST_SKIP() << "its runtime maps memory with the same call";
  EXPECT_EQ(RunInChild([] {
              auto blob = SealedBlob::Create(BytesOf("x"));
              ASSERT_TRUE(blob.ok());
              UniqueFd fd = Duplicate(blob->fd());
              FailSystemCall(SYS_mmap, ENOMEM);
              EXPECT_EQ(SealedBlob::Adopt(std::move(fd), kLimit).status().code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(SealedBlobWriter::Create(4).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
}

// The first memfd of ours that this process has.
int TheMemfd() {
  for (int fd = 3; fd < 100; ++fd) {
    char target[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (::readlink(link.c_str(), target, sizeof(target) - 1) > 0 &&
        std::string(target).find("memfd:parley") != std::string::npos) {
      return fd;
    }
  }
  return -1;
}

TEST(SealedBlobWriterTest, AFailureOnTheWayIsTheAnswer) {
  // A mapping of somebody else's is in the way of the seals.
  {
    auto writer = SealedBlobWriter::Create(4);
    ASSERT_TRUE(writer.ok());
    void* const other = ::mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, TheMemfd(), 0);
    ASSERT_NE(other, MAP_FAILED);
    EXPECT_EQ(std::move(*writer).Seal().status().code(), absl::StatusCode::kFailedPrecondition);
    ::munmap(other, 4);
  }
  EXPECT_EQ(RunInChild([] {
              auto writer = SealedBlobWriter::Create(4);
              ASSERT_TRUE(writer.ok());
              FailSystemCall(SYS_ftruncate, EACCES);
              EXPECT_EQ(std::move(*writer).Seal(2).status().code(),
                        absl::StatusCode::kPermissionDenied);
            }),
            "ok");
  // A growth that was refused leaves the file as long as it was.
  EXPECT_EQ(RunInChild([] {
              auto writer = SealedBlobWriter::Create(4);
              ASSERT_TRUE(writer.ok());
              const int fd = TheMemfd();
              FailSystemCall(SYS_mmap, ENOMEM);
              EXPECT_FALSE(writer->Grow(8192).ok());
              struct stat file = {};
              ASSERT_EQ(::fstat(fd, &file), 0);
              EXPECT_EQ(file.st_size, 4);
            }),
            "ok");
}

TEST(SealedBlobWriterTest, ToGrowToLessIsNothing) {
  auto writer = SealedBlobWriter::Create(8192);
  ASSERT_TRUE(writer.ok());
  std::memset(writer->buffer().data(), 'a', 8192);
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{8191}, uint64_t{8192}}) {
    EXPECT_TRUE(writer->Grow(size).ok());
    ASSERT_EQ(writer->buffer().size(), 8192u);
    EXPECT_EQ(writer->buffer()[8191], std::byte{'a'});
  }
  auto blob = std::move(*writer).Seal();
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(blob->size_bytes(), 8192u);
  // Nothing is left to be written to.
  EXPECT_TRUE(writer->buffer().empty());  // NOLINT(bugprone-use-after-move): it is empty
  EXPECT_DEATH(writer->Grow(10000).IgnoreError(), "used after Seal");
}

TEST(SealedBlobWriterDeathTest, SealingMoreThanTheBufferIsTheCallersBug) {
  EXPECT_DEATH(
      {
        auto writer = SealedBlobWriter::Create(4);
        std::move(*writer).Seal(5).IgnoreError();
      },
      "more than the capacity");
}

TEST(SealedBlobWriterDeathTest, SealingTwiceIsTheCallersBug) {
  EXPECT_DEATH(
      {
        auto writer = SealedBlobWriter::Create(4);
        std::move(*writer).Seal(4).IgnoreError();
        std::move(*writer).Seal(0).IgnoreError();
      },
      "used after Seal");
}

TEST(SealedBlobTest, PromiseP7RefusalsForLackOfRoomLeakNothing) {
  EXPECT_EQ(RunInChild([] {
              auto blob = SealedBlob::Create(BytesOf("x"));
              ASSERT_TRUE(blob.ok());
              const rlimit full = {3, 3};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &full), 0);
              EXPECT_EQ(blob->DuplicateFd().status().code(), absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(SealedBlob::Create(BytesOf("x")).status().code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
  EXPECT_EQ(LeakOf([] {
              auto blob = SealedBlob::Create(BytesOf(Pattern(100000)));
              ASSERT_TRUE(blob.ok());
              EXPECT_TRUE(SealedBlob::Adopt(Duplicate(blob->fd()), kLimit).ok());
            }),
            "nothing");
}

}  // namespace
}  // namespace parley
