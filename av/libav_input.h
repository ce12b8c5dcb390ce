// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_LIBAV_INPUT_H_
#define PARLEY_AV_LIBAV_INPUT_H_

// How libav reads a file that is not trusted: from a ByteSource alone, and no other file with it.
//
// Trust: the bytes are the attacker's, and so is every name in them.
// Threads: one at a time for a SourceFile; the rest any.
//
//   WarmUpLibav(log);                               // before lock-down
//   FileReader reader;
//   switch (reader.Open(source)) { ... }            // after it
//   avformat_find_stream_info(reader.format(), nullptr);

#include <cstdarg>
#include <cstdint>

#include "parley/av/byte_source.h"
#include "parley/av/libav.h"

namespace parley::av {

// Everything of libav's that opens files or initialises tables on first use. `log` gets its
// messages from then on.
void WarmUpLibav(void (*log)(void*, int, const char*, va_list));

class FileReader {
 public:
  enum class Opened {
    kOk,
    kNoMemory,
    kUnknown,     // no demuxer takes it: error()
    kOtherFiles,  // a list of other files, by its demuxer(): none of them is opened
    kDamaged,     // its demuxer() cannot read it: error()
  };

  FileReader() = default;
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // Once. `source` outlives this.
  Opened Open(ByteSource& source);

  // After kOk.
  AVFormatContext* format() const { return format_.get(); }
  int error() const { return error_; }  // of libav's
  const char* demuxer() const { return demuxer_->name; }

 private:
  static int Read(void* opaque, uint8_t* into, int size);
  static int64_t Seek(void* opaque, int64_t offset, int whence);

  ByteSource* source_ = nullptr;
  uint64_t position_ = 0;
  AvIo io_;  // outlives format_
  AvFormatContext format_;
  const AVInputFormat* demuxer_ = nullptr;
  int error_ = 0;
};

}  // namespace parley::av

#endif  // PARLEY_AV_LIBAV_INPUT_H_
